"""Files in a lower precision: what is converted, what was lost, and when it is refused."""

import json
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from finished_run import CONFIGS, make_run

from orchestrator.cli.main import main
from results.errors import ExportError, ModelChangedError
from results.export import bundle, within_time
from results.export.allowed_change import AllowedChange, ExportChanges
from results.export.bundle import export_bundle
from results.export.model_card import model_card
from results.export.onnx_predictor import load_bundle
from results.export.precision_check import Precision, lower_precision, spread_places, write_with_folds
from results.export.precision_record import LowerPrecision, gain_text, precision_named
from results.predictors.loading import open_model
from results.run.prediction_costs import PredictionTime, read_costs
from results.run.records import OutOfFold
from results.run.run_folder import RunFolder
from results.scores.interval import Interval
from results.scores.operating_point import Operation
from trainables.common.errors import UnknownNameError

pytestmark = pytest.mark.slow

ANY_CHANGE = AllowedChange(auc_loss=1.0, changed_calls=1.0)
COST = PredictionTime(core_ms=1.0, megabytes=1.0)
HEAD = {"model.backbone": "texture", "classical.name": "logistic", "training.augmentation": "none"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    backbones = ("scratch4", "texture", "efficientnet_lite0")
    return make_run(tmp_path_factory.mktemp("run"), {0: CONFIGS[0], 1: HEAD}, epochs=2, backbones=backbones)


@pytest.fixture(scope="module")
def halved(run, tmp_path_factory):
    place = tmp_path_factory.mktemp("half") / "bundle"
    return export_bundle(run, place, trial=0, held_out_limit=4, precision=Precision("fp16", ANY_CHANGE))


@pytest.fixture(scope="module")
def quantised(run, tmp_path_factory):
    place = tmp_path_factory.mktemp("int8") / "bundle"
    assert main(["export", str(run.path), "--trial", "0", "--out", str(place), *_allowing_all("int8")]) == 0
    return load_bundle(place)


def _allowing_all(precision):
    return ("--precision", precision, "--max-auc-loss", "1", "--max-changed-calls", "1")


def types_of_weights(path):
    """Number type -> bytes of the arrays with more than one dimension in a file."""
    arrays = [onnx.numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer]
    found = Counter()
    for array in arrays:
        found[str(array.dtype)] += array.nbytes if array.ndim > 1 else 0
    return found


# -- the time limit


def test_the_time_limit_is_asked_of_the_graph_at_the_precision(run, tmp_path, monkeypatch):
    copied = RunFolder(tmp_path / "run")  # whose costs are those that are pretended here
    shutil.copytree(run.path, copied.path)
    times = iter([30.0, 25.0, 30.0, 9.0, 30.0, 25.0])  # in float32 and at the precision, in turn
    monkeypatch.setattr(bundle, "candidates_within", lambda run, max_ms: [("best", 0)] * 2)
    monkeypatch.setattr(
        bundle,
        "measure_prediction_time",
        lambda *_: PredictionTime(core_ms=next(times), megabytes=1.0),
    )
    said = []
    asked = {
        "precision": Precision("fp16", ANY_CHANGE),
        "max_ms": 10.0,
        "held_out_limit": 2,
        "operation": Operation.of(at="sensitivity=0.8"),
    }
    report = export_bundle(copied, tmp_path / "bundle", say=said.append, **asked)
    assert report.manifest.cost.core_ms == 9.0
    assert "trial 0 takes 25.0 ms at fp16, more than is allowed" in said
    monkeypatch.setattr(bundle, "candidates_within", lambda run, max_ms: [("best", 0)])
    with pytest.raises(ExportError, match=r"within 10 ms .* at fp16; the last .* takes 25\.0 ms"):
        export_bundle(copied, tmp_path / "other", **asked)
    assert not (tmp_path / "other").exists()


def test_models_that_no_precision_makes_fast_enough_are_not_tried(run, monkeypatch):
    times = {(0,): 70.0, (1,): 30.0, (2,): None, (3,): 5.0}
    found = [("best", members[0], members) for members in times]
    monkeypatch.setattr(within_time, "_candidates", lambda run: iter(found))

    def measured(run, models):
        return {one: PredictionTime(core_ms=times[one], megabytes=1.0) for one in models if times[one]}

    monkeypatch.setattr(within_time, "measure_models", measured)
    assert list(within_time.candidates_within(run, 10.0)) == [("best", 1), ("best", 3)]


# -- the file


def test_the_weights_of_the_network_are_halves_and_the_last_layer_of_each_head_is_not(halved):
    types = types_of_weights(halved.path / "model.onnx")
    assert types["float16"] > 5 * types["float32"] > 0
    before = halved.manifest.precision.cost_before
    assert halved.manifest.cost.megabytes < 0.7 * before.megabytes
    assert halved.manifest.precision.converted > 4


def test_pixels_are_scaled_before_they_are_halved(halved):
    graph = onnx.load(halved.path / "model.onnx").graph
    onnx.checker.check_model(halved.path / "model.onnx")
    first = next(node for node in graph.node if "raw" in node.input and node.op_type == "Cast")
    assert first.attribute[0].i == onnx.TensorProto.FLOAT  # a half ends at 65504, below a bright raw pixel
    assert [(port.name, port.type.tensor_type.elem_type) for port in (*graph.input, *graph.output)] == [
        ("raw", onnx.TensorProto.INT32),
        ("probabilities", onnx.TensorProto.FLOAT),
    ]


def test_a_half_predicts_nearly_the_same(run, halved):
    precision = halved.manifest.precision
    assert precision.largest_difference < 0.01
    assert precision.images == 32
    assert precision.how == "out of fold"
    assert abs(precision.auc_change.estimate) < 0.02
    bright = np.full((64, 64), 65535, dtype=np.uint16)
    (row,) = load_bundle(halved.path).predict([bright])
    assert np.isfinite(row).all()
    assert row.sum() == pytest.approx(1.0)


@pytest.mark.long
def test_8_bits_are_a_quarter_and_say_what_they_were_measured_on(quantised):
    manifest = quantised.manifest
    assert manifest.precision.calibration_images == 32
    assert manifest.cost.megabytes < manifest.precision.cost_before.megabytes
    assert quantised.predict([np.zeros((64, 64), dtype=np.uint16)]).shape == (1, 2)


def test_the_figures_of_the_run_stay_those_of_float32(run, halved):
    kept = read_costs(run).of((0,))
    assert kept.megabytes > 1.3 * halved.manifest.cost.megabytes


def test_card_and_report_say_what_was_gained_and_lost(halved):
    precision, cost = halved.manifest.precision, halved.manifest.cost
    said, card = "\n".join(halved.messages()), model_card(halved.manifest)
    for sentence in precision.sentences(cost):
        assert sentence in said
        assert sentence[1:] in card
    assert "The file, before its precision was lowered, was compared on" in card
    assert "held-out images, before the precision was lowered: ONNX Runtime within" in said
    assert json.loads((halved.path / "manifest.json").read_text())["precision"]["name"] == "fp16"


def test_a_manifest_that_hides_the_precision_is_refused(halved, tmp_path):
    place = tmp_path / "bundle"
    place.mkdir()
    for file in halved.path.iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    content = json.loads((place / "manifest.json").read_text())
    content["precision"]["name"] = "int8"
    (place / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(ExportError, match='precision is "fp16" in the model and "int8" in the manifest'):
        load_bundle(place)


# -- refused


@pytest.mark.long
def test_a_call_that_changes_is_refused_where_none_may_and_the_file_stays(run, tmp_path):
    opened, out_of_fold, file = open_model(run, trial=0), run.out_of_fold(0), tmp_path / "model.onnx"
    inputs = opened.inputs(out_of_fold.rows)
    written = write_with_folds(opened, None, inputs, tmp_path, file)
    asked = {"written": written, "kept": out_of_fold, "file": file, "cost_before": COST}
    before = predicted_by(file, inputs)
    lower_precision(opened, wanted=Precision("int8", ANY_CHANGE), **asked)
    after, kept_file = predicted_by(file, inputs), file.read_bytes()
    place = np.abs(before - after).argmax()
    between = opened.chosen.rule.model_copy(update={"threshold": float(before[place] + after[place]) / 2})
    moved = replace(opened, chosen=replace(opened.chosen, rule=between))
    strict = Precision("int8", AllowedChange(auc_loss=1.0, changed_calls=0.0))
    with pytest.raises(
        ModelChangedError, match=r"trial 0 too much: .* of 32 calls changed, .* allows 0\.00%"
    ):
        lower_precision(moved, wanted=strict, **asked)
    assert file.read_bytes() == kept_file


def predicted_by(file, inputs):
    session = onnxruntime.InferenceSession(file)
    batches = [{name: tensor.numpy() for name, tensor in one.tensors().items()} for one in inputs.batches()]
    return np.concatenate([session.run(None, feed)[0][:, 1] for feed in batches])


@pytest.mark.long
def test_a_model_without_a_network_is_refused(run, tmp_path):
    with pytest.raises(ExportError, match="no layer of this model can be converted to fp16"):
        export_bundle(run, tmp_path / "b", trial=1, held_out_limit=4, precision=Precision("fp16", ANY_CHANGE))


def test_bounds_and_names_are_checked(run, tmp_path, capsys):
    with pytest.raises(ExportError, match="--max-auc-loss must lie between 0 and 1, found -1"):
        ExportChanges("fp16", max_auc_loss=-1).of_precision()
    with pytest.raises(ExportError, match="--max-changed-calls must lie between 0 and 1, found 2"):
        AllowedChange(changed_calls=2)
    with pytest.raises(UnknownNameError, match="unknown precision 'fp61'; did you mean 'fp16'"):
        precision_named("fp61")
    with pytest.raises(SystemExit):
        main(["export", str(run.path), "--out", str(tmp_path / "b"), "--precision", "fp61"])
    assert "fp61" in capsys.readouterr().err


def change_of(*, auc, calls):
    return LowerPrecision(
        images=100,
        how="out of fold",
        auc_before=0.9,
        auc_change=Interval(auc, auc - 0.01, auc + 0.01),
        changed_calls=calls,
        largest_difference=0.1,
        max_auc_loss=0.005,
        max_changed_calls=0.01,
        name="int8",
        converted=3,
    )


@pytest.mark.parametrize(
    ("auc", "calls", "faults"),
    [(-0.005, 0.01, 0), (-0.0051, 0.01, 1), (-0.0051, 0.011, 2), (0.2, 0.0, 0), (0.2, 0.011, 1)],
)
def test_a_fall_of_the_auc_and_changed_calls_are_faults_beyond_their_bounds(auc, calls, faults):
    change = change_of(auc=auc, calls=calls)
    assert len(change.faults(change.allowed)) == faults


def test_what_is_no_faster_says_so():
    before = PredictionTime(core_ms=10.0, megabytes=4.0)
    slower, same, faster = (PredictionTime(core_ms=ms, megabytes=2.0) for ms in (12.0, 9.8, 5.0))
    assert gain_text(before, slower).endswith("on this machine's processor it is slower")
    assert gain_text(before, same).endswith("on this machine's processor it is no faster")
    assert gain_text(before, faster) == "4.00 -> 2.00 MB, 10.00 -> 5.00 ms an image on one core"


# -- the images


def kept(images, labels, groups):
    probabilities = np.full((images, 2), 0.5)
    return OutOfFold(np.arange(images) * 2, labels, np.arange(images) % 3, groups.astype(str), probabilities)


def test_images_to_measure_on_are_of_each_class_and_of_many_patients():
    labels = (np.arange(60) >= 50).astype(np.int64)
    own = kept(60, labels, np.arange(60) // 5)  # ten patients of one class, two of the other
    chosen = spread_places(own, 12, is_balanced=True)
    assert np.bincount(labels[chosen]).tolist() == [6, 6]
    assert len(set(own.groups[chosen])) == 6 + 2
    assert (np.diff(chosen) > 0).all()


def test_images_to_compare_on_keep_the_shares_of_classes_and_folds():
    labels = (np.arange(90) % 10 == 0).astype(np.int64)
    own = kept(90, labels, np.arange(90))
    chosen = spread_places(own, 30, is_balanced=False)
    assert labels[chosen].sum() == 3
    assert np.bincount(own.folds[chosen]).tolist() == [10, 10, 10]
    assert len(spread_places(own, 1000, is_balanced=False)) == 90
