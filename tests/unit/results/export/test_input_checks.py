"""Prediction from bundles that take healthy baselines and types of findings, and every wrong input."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from paired_run import SCRATCH, place_in, split_of, store_pairs, train_run
from PIL import Image

from orchestrator.api.frames import files_predicted
from orchestrator.cli.main import main
from results.errors import ExportError
from results.export.bundle import export_bundle
from results.export.input_checks import as_numbers
from results.export.manifest import Manifest
from results.export.onnx_predictor import load_bundle, predict_files
from results.predictors.loading import open_row_predictor

pytestmark = pytest.mark.slow

PAIRED = {**SCRATCH, "model.pair": "diff"}
TOLD = {**SCRATCH, "model.type_input": "human"}
TRIALS = {0: {**PAIRED, "model.type_input": "human", "training.epochs": 12}, 1: PAIRED, 2: TOLD, 3: SCRATCH}
ROWS = np.array([1, 7, 5])
TYPES = ["mass", "calcification", "calcification"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("pairs")


@pytest.fixture(scope="module")
def patches(place):
    return store_pairs(place)


@pytest.fixture(scope="module")
def run(place, patches):
    return train_run(place, patches, split_of(patches), TRIALS, place_in(place))


@pytest.fixture(scope="module")
def folders(place, run):
    """A bundle of each trial: takes both, baselines, types, neither."""
    for number in TRIALS:
        export_bundle(run, place / f"bundle{number}", trial=number, held_out_limit=2)
    return [place / f"bundle{number}" for number in TRIALS]


@pytest.fixture(scope="module")
def both(folders):
    return load_bundle(folders[0])


@pytest.fixture(scope="module")
def files(place, patches):
    """16-bit files of three images and of their baselines."""
    found = ([], [])
    for row in ROWS:
        for kind, (name, number) in enumerate((("image", row), ("healthy", row - 1))):
            path = place / f"{name}{row}.png"
            Image.fromarray(patches.images[number]).save(path)
            found[kind].append(path)
    return found


def test_a_file_that_is_given_twice_has_an_answer_for_each_type(both, files, tmp_path):
    (image, *_), (baseline, *_) = files
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    with pytest.warns(UserWarning, match="1 file of 3 could not be predicted"):
        table = files_predicted(
            both, [image] * 3, [baseline, baseline, broken], ["mass", "calcification", "mass"]
        )
    each = [
        predict_files(both, [image], baselines=[baseline], types=[own]).predictions[0] for own in TYPES[:2]
    ]
    assert each[0].probability != pytest.approx(each[1].probability, abs=1e-6)
    classes = list(both.manifest.classes)
    np.testing.assert_allclose(table[classes].to_numpy()[:2], [one.probabilities for one in each], atol=1e-6)
    assert table["fault"].notna().tolist() == [False, False, True]
    found = predict_files(both, [image] * 3, baselines=[baseline, broken, baseline], types=["mass"])
    assert ([one.place for one in found.predictions], [one.place for one in found.faults]) == ([0, 2], [1])


def test_files_are_predicted_with_their_baselines_and_types(run, both, files):
    images, baselines = files
    found = predict_files(both, images, baselines=baselines, types=TYPES).predictions
    expected = open_row_predictor(run, trial=0)(ROWS)
    np.testing.assert_allclose([one.probabilities for one in found], expected, atol=1e-4)
    swapped = predict_files(both, baselines, baselines=images, types=TYPES).predictions
    other = predict_files(both, images, baselines=baselines, types=["mass"]).predictions
    assert other[0].probability == pytest.approx(found[0].probability, abs=1e-6)
    for changed in (swapped, other):
        assert np.abs([one.probability for one in changed] - expected[:, 1]).max() > 1e-2


def test_pairs_of_several_sizes_are_predicted_in_their_order(both):
    random = np.random.default_rng(0)
    shapes = [(32, 32), (20, 40), (32, 32)]
    images, baselines = ([random.integers(0, 65536, shape) for shape in shapes] for _ in range(2))
    together = both.predict(images, baselines=baselines, types=TYPES)
    alone = [
        both.predict([image], baselines=[baseline], types=[finding_type])[0]
        for image, baseline, finding_type in zip(images, baselines, TYPES, strict=True)
    ]
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_one_type_stands_for_all_images():
    assert as_numbers(["mass"], 2).tolist() == [0.0, 0.0]
    assert as_numbers(["mass", "calcification"], 2).tolist() == [0.0, 1.0]
    assert as_numbers([], 2).tolist() == []


def test_notes_name_baselines_too(both, files, tmp_path):
    shallow = tmp_path / "shallow.png"
    Image.fromarray(np.full((32, 32), 90, np.uint8)).save(shallow)
    notes = predict_files(both, files[0][:1], baselines=[shallow], types=["mass"]).notes
    assert notes == (
        "1 of 2 images have another depth than the model's images and were rescaled: shallow.png",
    )


def test_a_baseline_that_cannot_be_read_is_named(both, files):
    with pytest.raises(ExportError, match=r"there is no file gone\.png"):
        predict_files(both, files[0][:1], baselines=[Path("gone.png")], types=["mass"])


def test_a_pair_of_two_sizes_is_refused(both):
    images, baselines = [np.zeros((32, 32))], [np.zeros((30, 32))]
    with pytest.raises(ExportError, match="one size; image 0 is 32x32, its baseline 30x32"):
        both.predict(images, baselines=baselines, types=["mass"])


def test_a_baseline_of_another_range_is_refused(both):
    with pytest.raises(ExportError, match="baseline 0 holds values from 70000 to 70000"):
        both.predict([np.zeros((8, 8))], baselines=[np.full((8, 8), 70000)], types=["mass"])


def test_bundles_from_before_pairs_are_read(folders):
    content = json.loads((folders[3] / "manifest.json").read_text())
    del content["extra_inputs"]
    for member in content["members"]:
        del member["told_by"], member["started_from"]
    old = Manifest.model_validate(content)
    assert not old.takes("baseline")
    assert old.command() == ("orchestrate", "predict", "BUNDLE", "IMAGE...")


# -- the command line

USAGE = {
    0: "orchestrate predict BUNDLE IMAGE... --baseline HEALTHY_IMAGE... --type mass",
    1: "orchestrate predict BUNDLE IMAGE... --baseline HEALTHY_IMAGE...",
    2: "orchestrate predict BUNDLE IMAGE... --type mass",
    3: "orchestrate predict BUNDLE IMAGE...",
}


def command(folder, files, *, images=3, baselines=0, types=()):
    found = ["predict", str(folder), *map(str, files[0][:images])]
    if baselines:
        found += ["--baseline", *map(str, files[1][:baselines])]
    return [*found, "--type", *types] if types else found


@pytest.mark.parametrize(
    ("number", "given", "message"),
    [
        (0, {"types": TYPES}, r"3 image\(s\) need as many baselines in the same order, 0 found"),
        (0, {"baselines": 3}, r"must be told whether .* as many as the 3 image\(s\) .*; 0 found"),
        (0, {"baselines": 2, "types": TYPES}, "need as many baselines in the same order, 2 found"),
        (0, {"baselines": 3, "types": TYPES[:2]}, r"as many as the 3 image\(s\) in the same order; 2 found"),
        (0, {"baselines": 3, "types": ["lump"]}, "type of a finding is mass or calcification, found lump"),
        (1, {"images": 2, "baselines": 3}, r"2 image\(s\) need as many baselines .*, 3 found"),
        (1, {"baselines": 3, "types": ["mass"]}, "is not told the type of a finding, 1 found"),
        (2, {"baselines": 3, "types": ["mass"]}, "takes no baselines, 3 found"),
        (3, {"baselines": 3}, "takes no baselines, 3 found"),
        (3, {"types": ["mass"]}, "is not told the type of a finding, 1 found"),
    ],
)
def test_wrong_inputs_are_answered_with_what_the_bundle_needs(number, given, message, folders, files, capsys):
    assert main(command(folders[number], files, **given)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    sentence = printed.err.strip().splitlines()[-1]
    assert sentence.endswith(USAGE[number])
    with pytest.raises(ExportError, match=message):
        raise ExportError(sentence)


@pytest.mark.parametrize(
    ("number", "given"),
    [
        (0, {"baselines": 3, "types": TYPES}),
        (0, {"baselines": 3, "types": ["calcification"]}),
        (1, {"baselines": 3}),
        (2, {"types": TYPES}),
        (3, {}),
    ],
)
def test_the_verb_prints_the_same_form_whatever_the_model_takes(number, given, folders, files, capsys):
    assert main([*command(folders[number], files, **given), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["file"] for row in rows] == [str(path) for path in files[0]]
    assert list(rows[0]) == [
        "file",
        "predicted_class",
        "probability",
        "threshold",
        "probability_benign",
        "probability_malignant",
    ]


def test_export_says_how_to_predict(run, tmp_path, capsys):
    arguments = ["export", str(run.path), "--trial", "0", "--out", str(tmp_path / "b")]
    assert main(arguments) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert (
        f"next: orchestrate predict {tmp_path / 'b'} IMAGE... --baseline HEALTHY_IMAGE... --type mass" in said
    )
