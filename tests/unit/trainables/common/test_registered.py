"""Objects that a program registers: found by name, refused where the name is taken, sent to workers."""

import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn

from orchestrator.preflight.asked_backbones import asked_backbones
from orchestrator.preflight.initial_points import choose_initial_points
from search_spaces.registry import space_named
from trainables.common.errors import ConfigError, UnknownNameError
from trainables.common.registered import forget, missing_names, names_in_use, packed, register, registered
from trainables.models.drop_path import stages_with_branches
from trainables.models.registry import (
    DEFAULT_BACKBONES,
    OPTIONAL_BACKBONES,
    backbone_named,
    default_backbones,
    register_backbone,
)
from trainables.models.stages import Backbone
from trainables.models.taps import feature_shapes


@pytest.fixture(autouse=True)
def _nothing_registered() -> Iterator[None]:
    yield
    for name in list(registered("backbone")):
        forget("backbone", name)


def build(channels: int) -> "OrderedDict[str, nn.Module]":
    return OrderedDict(block1=nn.Conv2d(channels, 4, 3))


def tiny(name: str = "tiny", **changes: object) -> Backbone:
    known = {"stage_names": ("block1",), "levels": ("block1",), "min_size_px": 16, "size_px": 32}
    given = {"build": build} | known | changes
    return Backbone(name, source="a test", **given)  # type: ignore[arg-type]  # fields vary by case


def test_a_registered_backbone_is_found_by_its_name() -> None:
    assert backbone_named(register_backbone(tiny()).name) is registered("backbone")["tiny"]
    with pytest.raises(UnknownNameError, match="did you mean 'tiny'"):
        backbone_named("tiney")


def test_a_name_that_is_taken_is_refused_unless_it_is_replaced() -> None:
    register_backbone(tiny())
    with pytest.raises(ConfigError, match=r"'tiny' is registered already.*replace=True"):
        register_backbone(tiny())
    other = tiny(size_px=64)
    assert backbone_named(register_backbone(other, replace=True).name) is other


def with_a_branch(channels: int) -> "OrderedDict[str, nn.Module]":
    block = nn.Conv2d(channels, 8, 3, stride=2)
    block.drop_path = nn.Identity()
    return OrderedDict(block1=block)


def test_what_is_remembered_of_a_net_is_not_that_of_the_one_whose_place_it_takes() -> None:
    register_backbone(tiny())
    assert feature_shapes("tiny", 1, 32) == {"block1": (4, 30, 30)}
    assert stages_with_branches("tiny") == frozenset()
    register_backbone(tiny(build=with_a_branch), replace=True)
    assert feature_shapes("tiny", 1, 32) == {"block1": (8, 15, 15)}
    assert stages_with_branches("tiny") == frozenset({"block1"})


def test_a_backbone_may_be_described_with_lists() -> None:
    register_backbone(tiny(stage_names=["block1"], levels=["block1"], mean=[0.5]))
    assert feature_shapes("tiny", 1, 32) == {"block1": (4, 30, 30)}


@pytest.mark.parametrize("name", ["vgg16", "table"])
def test_names_of_the_package_stay_its_own(name: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}' is one of this package's own"):
        register_backbone(tiny(name), replace=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage_names": ("block2",)}, "builds the stages block1, but its stage_names are block2"),
        ({"levels": ("top",)}, "levels must name stages that it has.*found top beside block1"),
        ({"levels": ()}, "levels must name stages"),
        ({"name": "timm:mine"}, "a name without a colon"),
        ({"name": " "}, "a name without a colon"),
    ],
)
def test_a_backbone_that_does_not_fit_together_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        register_backbone(tiny(**changes))  # type: ignore[arg-type]  # fields vary by case


def test_what_is_no_backbone_is_refused() -> None:
    with pytest.raises(ConfigError, match="a Backbone is needed, found 'vgg16'"):
        register_backbone("vgg16")  # type: ignore[arg-type]  # the wrong type is what is tested


def test_what_cannot_be_sent_to_a_worker_is_refused() -> None:
    lock = threading.Lock()

    def locked(channels: int) -> "OrderedDict[str, nn.Module]":
        with lock:
            return build(channels)

    with pytest.raises(ConfigError, match="cannot be sent to the workers"):
        register_backbone(tiny(build=locked))


def test_one_with_a_rank_is_tried_by_a_search_that_names_none() -> None:
    register_backbone(tiny(default_rank=0))
    register_backbone(tiny("other"))
    assert default_backbones() == (*DEFAULT_BACKBONES, *OPTIONAL_BACKBONES, "tiny")
    first = choose_initial_points((), "benign_malignant", space_named("benign_malignant"))
    assert asked_backbones({}, first, is_table=False)[-1] == "tiny"


def test_names_in_use_and_missing_ones_are_told_by_kind() -> None:
    register_backbone(tiny())
    assert names_in_use(backbone=("vgg16", "tiny"), metric=("auc",)) == {"backbone": ("tiny",)}
    assert missing_names({"backbone": ("tiny", "gone"), "space": ("__main__:space",)}) == {
        "backbone": ("gone",),
        "space": ("__main__:space",),
    }


def test_another_process_gets_them_though_it_cannot_import_them(tmp_path: Path) -> None:
    def nested(channels: int) -> "OrderedDict[str, nn.Module]":
        return OrderedDict(block1=nn.Conv2d(channels, 4, 3))

    nested.__module__ = "__main__"  # as in a notebook
    register_backbone(tiny(build=nested))
    register("space", "__main__:space", threading.Lock())  # a space stays where it is
    (tmp_path / "packed").write_bytes(packed())
    forget("space", "__main__:space")
    code = """
from pathlib import Path
from trainables.common.registered import unpack, registered
from trainables.models.registry import backbone_named
unpack(Path("packed").read_bytes())
print(list(backbone_named("tiny").build(1)), dict(registered("space")))
"""
    environment = {"PYTHONPATH": str(Path(__file__).parents[4])}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert done.stdout == "['block1'] {}\n"
