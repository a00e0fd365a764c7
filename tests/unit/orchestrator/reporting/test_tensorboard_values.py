"""Values of TensorBoard's plugins, read back with TensorBoard's own reader."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from google.protobuf import text_format
from sklearn.metrics import precision_score, recall_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from tensorboard.util import tensor_util

from orchestrator.reporting.inner_plots import contrast_picture, kernels_picture
from orchestrator.reporting.tensorboard import TensorBoardLog
from orchestrator.reporting.tensorboard_values import (
    graph_event,
    histogram_value,
    pr_curve_value,
    sprite_sheet,
    write_projector,
)
from results.predictors.inner_view import Layer


@pytest.fixture
def log(tmp_path: Path) -> TensorBoardLog:
    return TensorBoardLog(tmp_path, clock=lambda: 1000.0)


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    found.Reload()
    return found


def test_the_curve_has_the_precision_and_recall_of_sklearn(log: TensorBoardLog) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 80)
    scores = random.uniform(size=80)
    log.values(3, [pr_curve_value("pr", labels, scores)])
    found = read(log.trial_folder(3))
    assert found.PluginTagToContent("pr_curves")
    rows = tensor_util.make_ndarray(found.Tensors("pr")[0].tensor_proto)
    assert rows.shape == (6, 101)
    for place, threshold in enumerate(np.linspace(0, 1, 101)[:-1]):
        called = scores >= threshold
        assert rows[:4, place].sum() == 80
        assert rows[5, place] == pytest.approx(recall_score(labels, called))
        assert rows[4, place] == pytest.approx(precision_score(labels, called, zero_division=0))


def test_a_histogram_counts_every_finite_number(log: TensorBoardLog) -> None:
    values = np.append(np.random.default_rng(0).normal(size=500), np.nan)
    log.values(0, [histogram_value("weights/head", values)])
    found = read(log.trial_folder(0))
    assert list(found.PluginTagToContent("histograms")) == ["weights/head"]
    buckets = tensor_util.make_ndarray(found.Tensors("weights/head")[0].tensor_proto)
    assert buckets[:, 2].sum() == 500
    assert buckets[0, 0] == pytest.approx(np.nanmin(values))


def test_the_graph_has_the_layers_in_their_order(log: TensorBoardLog) -> None:
    layers = [Layer("frozen/conv", "Conv2d", 432, (16, 8, 8)), Layer("fold/head", "Linear", 34, (2,))]
    log.event(1, graph_event(layers, seconds=1000.0))
    nodes = read(log.trial_folder(1)).Graph().node
    assert [(node.name, node.op, list(node.input)) for node in nodes] == [
        ("frozen/conv", "Conv2d", []),
        ("fold/head", "Linear", ["frozen/conv"]),
    ]
    assert nodes[0].attr["weights"].s == b"432 weights"


def test_the_curve_of_the_search_counts_its_steps_from_one(log: TensorBoardLog) -> None:
    for values in ([0.5, 0.6], [0.5, 0.6, 0.7]):  # the later one takes the place of the earlier
        log.write_search_events(
            "average",
            scalars=[("average_of_best_trials/auc", step, own) for step, own in enumerate(values, start=1)],
        )
    scalars = read(log.folder / "search").Scalars("average_of_best_trials/auc")
    assert [(one.step, round(one.value, 3)) for one in scalars] == [(1, 0.5), (2, 0.6), (3, 0.7)]


def test_points_have_coordinates_names_and_pictures(tmp_path: Path) -> None:
    features = np.arange(12, dtype=np.float32).reshape(4, 3)
    sheet = sprite_sheet([np.full((8, 8), 60 * place, np.uint8) for place in range(4)], 8)
    columns = {"row": [5, 6, 7, 8], "class": ["benign", "a\tb", "", "malignant"]}
    write_projector(tmp_path, "trial 1", features, columns, (sheet, 8))
    config = text_format.Parse((tmp_path / "projector_config.pbtxt").read_text(), ProjectorConfig())
    (points,) = config.embeddings
    assert list(points.sprite.single_image_dim) == [8, 8]
    np.testing.assert_allclose(np.loadtxt(tmp_path / points.tensor_path), features)
    lines = (tmp_path / points.metadata_path).read_text().splitlines()
    assert lines[:3] == ["row\tclass", "5\tbenign", "6\ta b"]
    assert len(lines) == 5
    picture = cv2.imread(str(tmp_path / points.sprite.image_path))
    assert picture.shape == (16, 16, 3)
    assert picture[12, 12, 0] == 180


def test_kernels_and_contrasts_are_drawn_as_png() -> None:
    random = np.random.default_rng(0)
    for channels in (1, 3):
        content = kernels_picture(random.normal(size=(10, 3, 3, channels)))
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        assert max(picture.shape[:2]) <= 480
        assert picture.ndim == (3 if channels == 3 else 2)
    shares = random.uniform(size=(2, 3))
    shares[0, 0] = np.nan
    content = contrast_picture(shares, shares, (1.0, 1.5), (0.2, 0.5, 0.8), 40)
    assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).shape == (360, 1000, 3)
