"""A manifest that does not belong to its model is refused, and the model holds no trace of its exporter."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
from finished_run import CONFIGS, make_run

from results.errors import ExportError
from results.export.bundle import export_bundle
from results.export.manifest import Manifest
from results.export.model_file import facts_of, replace_notes, sha256_of
from results.export.onnx_predictor import load_bundle

ROOT = Path(__file__).parents[4]
NOVELTY = {
    "output": "novelty_p",
    "trial": 0,
    "backbone": "efficientnet_lite0",
    "tap": "block2.gap",
    "features": 40,
    "images": 32,
    "patients": 32,
    "level": 0.05,
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    export_bundle(make_run(folder, {0: CONFIGS[0]}), folder / "bundle", trial=0, held_out_limit=2)
    return folder / "bundle"


def content_of(bundle: Path) -> dict[str, Any]:
    return dict(json.loads((bundle / "manifest.json").read_text()))


def edited(bundle: Path, tmp_path: Path, **changes: Any) -> Path:
    """A copy of a bundle with another manifest."""
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    content = content_of(bundle)
    for name, value in changes.items():
        is_part = isinstance(value, dict) and isinstance(content[name], dict)
        content[name] = content[name] | value if is_part else value
    (copy / "manifest.json").write_text(json.dumps(content))
    return copy


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ["malignant", "benign"]}, "positive must be the last class, benign, found malignant"),
        (
            {"classes": ["malignant", "benign"], "positive": "benign"},
            r'classes is \["benign", "malignant"\] in the model and \["malignant", "benign"\] in',
        ),
        ({"classes": ["a", "b"], "positive": "b"}, "classes is .* in the model"),
        ({"classes": ["a", "a"], "positive": "a"}, "classes must differ, found a, a"),
        ({"positive": "benign"}, "positive must be the last class, malignant, found benign"),
        ({"threshold": 9.0}, "threshold must lie between 0 and 1, found 9"),
        ({"threshold": -0.1}, "threshold must lie between 0 and 1, found -0.1"),
        ({"threshold": None}, "a threshold is for two classes and only for them, found None for 2 classes"),
        ({"threshold": 0.123}, r"threshold is 0\.\d+ in the model and 0.123 in the manifest"),
        (
            {"classes": ["a", "b", "c"], "positive": "c", "threshold": None},
            "the model knows 2 classes, the manifest 3|classes is ",
        ),
        ({"classes": ["a", "b", "c"], "positive": "c"}, "a threshold is for two classes and only for them"),
        ({"calibration": {"slope": 1.0, "intercept": 3.0}}, "calibration is .* in the model"),
        ({"input": {"name": "pixels"}}, r"the model takes raw tensor\(int32\), the manifest says pixels"),
        ({"input": {"dtype": "float32", "max_value": 1.0}}, r"the manifest says raw tensor\(float\)"),
        ({"input": {"channels": 3, "trained_shape": [64, 64, 3]}}, "have 3 dimensions, the manifest says 3"),
        ({"input": {"max_value": 0}}, "max_value: Input should be greater than 0"),
        ({"input": {"max_value": 255.0}}, "max_value is 65535.0 in the model and 255.0 in the manifest"),
        ({"input": {"max_value": 1e9}}, "max_value must be a whole number up to 65535 for int32"),
        ({"input": {"trained_shape": [64]}}, "trained_shape must be"),
        ({"input": {"trained_shape": [0, 64]}}, "trained_shape.0: Input should be greater than 0"),
        ({"task": "five_class"}, "task is "),
        ({"sha256": "0"}, "sha256: String should match pattern"),
        (
            {"extra_inputs": [{"name": "baseline", "dtype": "int32", "how_to_feed": "b"}]},
            "the manifest says raw .*, baseline",
        ),
        ({"input": {"whites_of_16": [1]}}, r"whites_of_16 is \[\] in the model and \[1.0\] in the manifest"),
        ({"is_synthetic": False}, "is_synthetic is true in the model and false in the manifest"),
        ({"novelty": NOVELTY}, "novelty is null in the model and"),
        ({"unit": "breast"}, "unit is |the model knows"),
    ],
)
def test_a_manifest_that_does_not_fit_its_model_is_refused(
    bundle: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ExportError, match=message):
        load_bundle(edited(bundle, tmp_path, **changes))


def test_a_pipe_in_the_place_of_the_manifest_is_not_waited_for(bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    (copy / "manifest.json").unlink()
    os.mkfifo(copy / "manifest.json")
    with pytest.raises(ExportError, match=r"manifest\.json is not a file; export the bundle again"):
        load_bundle(copy)


def test_a_manifest_that_is_nested_too_deeply_is_none(bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    (copy / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(ExportError, match="is not the manifest of a bundle; export it again"):
        load_bundle(copy)


def saying(facts: dict[str, str], bundle: Path, tmp_path: Path) -> Path:
    """A copy of a bundle whose model says something else of itself, with the manifest as it is."""
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    replace_notes(copy / "model.onnx", facts)
    content = content_of(bundle) | {"sha256": sha256_of(copy / "model.onnx")}
    (copy / "manifest.json").write_text(json.dumps(content))
    return copy


LATER = ("unit", "triage", "precision", "novelty", "is_synthetic", "whites_of_16", "from_files")


@pytest.mark.parametrize("said", ["nothing", "less"])
def test_a_bundle_of_an_earlier_version_says_nothing_about_itself_or_less_and_still_loads(
    bundle: Path, tmp_path: Path, said: str
) -> None:
    facts = facts_of(Manifest.model_validate(content_of(bundle)))
    for name in LATER:
        del facts[f"orchestrate.{name}"]
    copy = saying({} if said == "nothing" else facts, bundle, tmp_path)
    assert load_bundle(copy).manifest.classes == ("benign", "malignant")


def test_what_warns_of_a_prediction_cannot_be_taken_out_of_the_manifest(bundle: Path, tmp_path: Path) -> None:
    with_score = Manifest.model_validate(content_of(bundle) | {"novelty": NOVELTY})
    with pytest.raises(ExportError, match=r"novelty is \{.*\} in the model and null in the manifest"):
        load_bundle(saying(facts_of(with_score), bundle, tmp_path))


def test_what_the_model_says_about_itself_is_what_its_manifest_says(bundle: Path) -> None:
    held = {one.key: one.value for one in onnx.load(bundle / "model.onnx").metadata_props}
    assert held == facts_of(Manifest.model_validate(content_of(bundle)))
    assert {"orchestrate.classes", "orchestrate.threshold", "orchestrate.calibration"} <= set(held)


def test_a_model_holds_no_path_of_the_machine_that_exported_it(bundle: Path) -> None:
    stored = (bundle / "model.onnx").read_bytes()
    assert str(ROOT).encode() not in stored
    assert b"site-packages" not in stored
    assert b".py" not in stored
    model = onnx.load(bundle / "model.onnx")
    assert len(model.graph.node) > 10
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
