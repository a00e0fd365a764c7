"""Comparing with a healthy baseline is asked for, since people seldom have one of every image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.background import KnownConnection
from cluster.connect import Connection
from orchestrator.preflight.initial_points import choose_initial_points
from orchestrator.preflight.preflight import Preflight, asks_for_pairs, run_preflight
from orchestrator.request import parse_request
from results.run.records import SearchRecord
from search_spaces.registry import space_named
from trainables.common.errors import OrchestrateError
from trainables.data.patches import PatchSet

CHEAP = {"model.backbone": "efficientnet_lite0", "model.trained_stages": 0}
TASK = "benign_malignant"
OF_PAIRS = "E001-11"


def preflight(tmp_path: Path, said: list[str], **options: Any) -> Preflight:
    request = parse_request(
        {
            "task": TASK,
            "data": "phantom",
            "runs": tmp_path,
            "fixed_params": CHEAP,
            "may_download": False,
            **options,
        }
    )
    return run_preflight(request, KnownConnection(Connection("", True, 1.0, 0.0, 1, "")), said.append)


@pytest.mark.long
def test_a_search_on_data_in_pairs_compares_only_if_it_is_asked_to(tmp_path: Path) -> None:
    said: list[str] = []
    found = preflight(tmp_path, said)
    assert {config.model.pair for config in found.points} == {"none"}
    assert not found.feasible.context.has_pairs
    assert any("with --pairs trials may compare" in sentence for sentence in said)
    found = preflight(tmp_path, said, pairs=True)
    assert len({config.model.pair for config in found.points}) > 1
    assert found.feasible.context.has_pairs
    assert any("such models ask for one when they predict" in sentence for sentence in said)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, False),
        ({"pairs": True}, True),
        ({"fixed_params": {"model.pair": "diff"}}, True),
        ({"fixed_params": {"model.pair": "none"}}, False),
        ({"recipes": (OF_PAIRS,)}, True),
        ({"recipes": ("E001-6",)}, False),
        ({"recipes": ("all",)}, False),
    ],
)
def test_who_names_a_recipe_of_pairs_asks_for_pairs(options: dict[str, Any], expected: bool) -> None:
    request = parse_request({"task": TASK, **options})
    first = choose_initial_points(request.recipes, TASK, space_named(TASK))
    assert asks_for_pairs(request, first) is expected


def test_pairs_that_the_data_do_not_have_are_refused(tmp_path: Path, bright_patches: PatchSet) -> None:
    data = tmp_path / "a.npz"
    np.savez(
        data, images=bright_patches.images, labels=bright_patches.labels, patient=bright_patches.patients
    )
    with pytest.raises(OrchestrateError, match="baseline"):
        preflight(tmp_path, [], data=str(data), pairs=True)


@pytest.mark.parametrize("has_pairs", [True, False])
def test_a_search_of_an_earlier_version_compared_wherever_its_space_could(has_pairs: bool) -> None:
    from records import search_record

    values = search_record().model_dump(mode="json")
    assert SearchRecord.model_validate(values).request.pairs is False
    del values["request"]["pairs"]
    values["space_context"] = {"has_pairs": has_pairs}
    assert SearchRecord.model_validate(values).request.pairs is has_pairs
