"""Tables of measurements in place of images: stored, split, refused where they do not belong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.background import KnownConnection
from cluster.connect import Connection
from orchestrator.cli.main import main
from orchestrator.estimate.simulation import estimate_search
from orchestrator.preflight.preflight import Preflight, run_preflight
from orchestrator.request import SearchRequest
from search_spaces.classical_models import MODELS
from trainables.common.errors import ConfigError, DataError, OrchestrateError, UnknownNameError
from trainables.config.tasks import task_named
from trainables.data.patches import RawPatches, fingerprint_of, store_patch_set
from trainables.data.sources import load_patch_set, source_of
from trainables.models.registry import BACKBONES, DEFAULT_BACKBONES, backbone_named
from trainables.models.weights import take_inventory

pytestmark = pytest.mark.slow


def table(values: Any = None) -> RawPatches:
    measured = np.arange(12, dtype=np.float32).reshape(4, 3) if values is None else values
    return RawPatches(measured, np.array([0, 1, 0, 1]), "task", source="scales")


def preflight_of(tmp_path: Path, **fields: Any) -> Preflight:
    request = SearchRequest(
        **{"task": "wisconsin", "data": "wisconsin", "runs": tmp_path / "runs", "minutes": 1.0, **fields}
    )
    return run_preflight(
        request, KnownConnection(Connection("", True, 2.0, 0.0, 1, "")), lambda sentence: None
    )


def test_a_table_is_stored_as_it_is(tmp_path: Path) -> None:
    stored = store_patch_set(table(), tmp_path)
    assert (stored.is_table, stored.channels, stored.max_value) == (True, 1, 1.0)
    np.testing.assert_array_equal(stored.images, table().images)
    changed = table(table().images + np.float32(1))
    assert fingerprint_of(changed) != stored.fingerprint


def test_images_are_no_table(tmp_path: Path) -> None:
    grey = table(np.zeros((4, 5, 5), np.uint8))
    assert not store_patch_set(grey, tmp_path).is_table


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros((4, 3), np.uint8), r"float32 with at least one column, found \(4, 3\) of uint8"),
        (np.zeros((4, 0), np.float32), r"at least one column, found \(4, 0\)"),
        (
            np.array([[1.0], [np.nan], [2.0], [np.inf]], np.float32),
            "2 of 4 rows do not, the first is row 1",
        ),
    ],
)
def test_a_table_with_gaps_or_of_other_numbers_is_refused(values: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        store_patch_set(table(values), tmp_path)


def test_wisconsin_is_turned_so_that_malignant_is_positive(tmp_path: Path) -> None:
    from sklearn.datasets import load_breast_cancer

    task, published = task_named("wisconsin"), load_breast_cancer()
    found, notes = load_patch_set("wisconsin", task=task, label_codes=None, store=tmp_path)
    assert found.images.shape == (569, 30)
    np.testing.assert_array_equal(found.labels, 1 - published.target)
    assert [task.classes[label] for label in found.labels[:2]] == ["malignant", "malignant"]
    np.testing.assert_allclose(found.images, published.data, rtol=1e-6)
    assert found.patients is not None
    assert len(set(found.patients.tolist())) == 569
    assert (found.source, found.is_synthetic, source_of("wisconsin")) == ("wisconsin", False, "wisconsin")
    assert notes == [
        "Breast Cancer Wisconsin (diagnostic), from scikit-learn: 569 masses, 30 measurements each, no images"
    ]


@pytest.mark.parametrize(
    ("data", "task", "codes", "said"),
    [
        ("wisconsin", "benign_malignant", None, "takes images, but wisconsin is a table of 30 measurements"),
        ("phantom:size_px=32", "wisconsin", None, "takes a table of measurements, but phantom holds images"),
        ("wisconsin", "wisconsin", "pisa", "label codes are task, not pisa"),
    ],
)
def test_data_of_the_wrong_kind_are_refused(
    data: str, task: str, codes: Any, said: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=said):
        load_patch_set(data, task=task_named(task), label_codes=codes, store=tmp_path)
    assert not (tmp_path / "data").exists()


def test_the_place_of_a_backbone_is_held_by_a_name_that_is_no_net() -> None:
    backbone = backbone_named("table")
    assert backbone.name not in BACKBONES
    assert backbone.name not in DEFAULT_BACKBONES
    assert take_inventory(("table",), weights_dir=None, may_download=False).usable == {"table": None}
    with pytest.raises(ConfigError, match=r"passes no stages: set classical\.name"):
        backbone.build(1)


def test_a_search_on_a_table_measures_nothing_and_proposes_every_model(tmp_path: Path) -> None:
    found = preflight_of(tmp_path)
    assert found.feasible.context.backbones == ("table",)
    assert found.feasible.costs == {}
    drawn = found.points[len(found.initial_points) :]
    assert len(drawn) >= 64
    assert {config.classical.name for config in drawn} == set(MODELS)
    assert {config.model.backbone for config in drawn} == {"table"}
    assert {config.classical.standardize for config in drawn} == {True, False}
    assert {config.training.epochs for config in drawn} == {1}
    assert {config.classical.c for config in drawn if config.classical.name == "knn"} == {1.0}


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        (
            {"fixed_params": {"model.backbone": "vgg16"}},
            UnknownNameError,
            "unknown backbone of this search 'vgg16'",
        ),
        (
            {"fixed_params": {"classical.name": "none"}},
            ConfigError,
            "wisconsin is a table, which no net takes",
        ),
        (
            {
                "task": "benign_malignant",
                "data": "phantom:size_px=32,patients=20",
                "fixed_params": {"model.backbone": "table"},
            },
            ConfigError,
            "backbone=table is for tables of measurements; these data are images",
        ),
    ],
)
def test_nets_on_tables_and_tables_for_nets_are_refused(
    fields: dict[str, Any], error: type[OrchestrateError], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        preflight_of(tmp_path, **fields)


def test_frozen_features_of_images_are_a_space_of_their_own(tmp_path: Path) -> None:
    found = preflight_of(
        tmp_path,
        task="normal_abnormal",
        data="phantom:size_px=32,patients=20",
        space="search_spaces.classical_models:frozen_features",
        fixed_params={"model.backbone": "efficientnet_lite0"},
    )
    assert {config.classical.name for config in found.points} == set(MODELS)
    assert {config.model.head.pooling for config in found.points} == {"gap", "flatten"}
    assert {config.model.trained_stages for config in found.points} == {0}
    assert len({config.model.cut for config in found.points}) > 1


def test_there_is_no_plan_for_a_table(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a table has none: a classical model is fitted in about a second"):
        estimate_search(preflight_of(tmp_path))


def test_the_task_wisconsin_takes_its_table_by_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["plan", "wisconsin", "--runs", str(tmp_path)]
    assert main(arguments) == 2
    assert "569 masses, 30 measurements each" in " ".join(capsys.readouterr().err.split())
    assert main([*arguments, "--data", "phantom"]) == 2
    assert "leave --data out, or write --data wisconsin" in " ".join(capsys.readouterr().err.split())
    meta = [json.loads(path.read_text()) for path in tmp_path.rglob("meta.json")]
    assert [one["source"] for one in meta] == ["wisconsin"]
