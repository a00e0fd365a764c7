"""Prediction from a bundle: files of every kind in full depth, clear refusals, and no torch."""

import csv
import io
import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from finished_run import CONFIGS, make_run, pixels
from PIL import Image
from rich.console import Console

from results.errors import ExportError
from results.export import exported_model
from results.export.bundle import export_bundle
from results.export.image_reading import read_image
from results.export.onnx_predictor import (
    Bundle,
    load_bundle,
    predict_files,
)
from results.export.prediction_formats import predictions_as_csv, predictions_as_json, predictions_table

DEEP = np.arange(48 * 40, dtype=np.uint16).reshape(48, 40) * 31 + 3
FLAT = (DEEP >> 8).astype(np.uint8)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    run = make_run(folder, {0: CONFIGS[0]})
    export_bundle(run, folder / "bundle", trial=0, held_out_limit=2)
    return folder / "bundle"


@pytest.fixture(scope="module")
def bundle(runtime):
    return load_bundle(runtime)


@pytest.fixture(scope="module")
def wanted(bundle):
    return bundle.manifest.input


@pytest.fixture
def colour_input(wanted):
    return wanted.model_copy(update={"channels": 3, "max_value": 255.0})


def save(path, array):
    Image.fromarray(array).save(path)
    return path


# -- reading


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bits_are_read_in_full_depth(name, wanted, tmp_path):
    read = read_image(save(tmp_path / name, DEEP), wanted)
    np.testing.assert_array_equal(read.pixels, DEEP)
    assert read.pixels.dtype == np.int32
    assert read.changes == ()


def test_a_big_endian_tiff_is_read_in_full_depth(wanted, tmp_path):
    read = read_image(save(tmp_path / "a.tif", DEEP.astype(">u2")), wanted)
    np.testing.assert_array_equal(read.pixels, DEEP)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm", "a.bmp"])
def test_eight_bits_are_spread_over_sixteen(name, wanted, tmp_path):
    read = read_image(save(tmp_path / name, FLAT), wanted)
    np.testing.assert_array_equal(read.pixels, FLAT.astype(np.int32) * 257)
    assert read.changes == ("depth",)


def test_sixteen_bits_are_rounded_to_eight(colour_input, tmp_path):
    grey = colour_input.model_copy(update={"channels": 1})
    read = read_image(save(tmp_path / "a.png", DEEP), grey)
    np.testing.assert_array_equal(read.pixels, np.rint(DEEP / 257))
    assert read.changes == ("depth",)


def test_a_jpeg_is_read(wanted, tmp_path):
    read = read_image(save(tmp_path / "a.jpg", np.full((48, 40), 100, np.uint8)), wanted)
    assert np.abs(read.pixels - 25700).max() <= 2 * 257


def test_floats_are_read_for_a_model_of_floats(wanted, tmp_path):
    floats = wanted.model_copy(update={"dtype": "float32", "max_value": 1.0})
    values = (DEEP / 65535).astype(np.float32)
    read = read_image(save(tmp_path / "a.tif", values), floats)
    np.testing.assert_array_equal(read.pixels, values)
    assert read.changes == ()
    read = read_image(save(tmp_path / "b.png", FLAT), floats)
    np.testing.assert_allclose(read.pixels, FLAT / 255, rtol=1e-6)


def test_grey_that_is_stored_as_colour_is_grey(wanted, tmp_path):
    read = read_image(save(tmp_path / "a.png", np.stack([FLAT] * 3, axis=-1)), wanted)
    np.testing.assert_array_equal(read.pixels, FLAT.astype(np.int32) * 257)
    assert read.changes == ("depth",)


def test_colour_becomes_its_luma_for_a_grey_model(wanted, tmp_path):
    colour = np.zeros((48, 40, 3), np.uint8)
    colour[..., 1] = 200
    read = read_image(save(tmp_path / "a.png", colour), wanted)
    assert (read.pixels == np.rint(200 * 0.587 * 257)).all()
    assert read.changes == ("grey", "depth")


def test_grey_is_copied_for_a_colour_model(colour_input, tmp_path):
    read = read_image(save(tmp_path / "a.png", FLAT), colour_input)
    np.testing.assert_array_equal(read.pixels, np.stack([FLAT] * 3, axis=-1))
    assert read.changes == ("colour",)


def test_colours_keep_their_order(colour_input, tmp_path):
    colour = np.zeros((8, 8, 3), np.uint8)
    colour[..., 0] = 250
    assert read_image(save(tmp_path / "a.png", colour), colour_input).pixels[0, 0].tolist() == [250, 0, 0]


def test_a_palette_and_transparency_are_resolved(colour_input, tmp_path):
    colour = np.zeros((8, 8, 3), np.uint8)
    colour[..., 2] = 255
    Image.fromarray(colour).quantize(4).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", colour_input).pixels[0, 0].tolist() == [0, 0, 255]
    clear = save(tmp_path / "b.png", np.full((8, 8, 4), 100, np.uint8))
    assert read_image(clear, colour_input).changes == ("alpha",)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.ppm"])
def test_colour_of_sixteen_bits_is_read_in_full_depth(name, wanted, tmp_path):
    cv2.imwrite(str(tmp_path / name), np.stack([DEEP, DEEP // 2, DEEP // 3], axis=-1))
    deep = wanted.model_copy(update={"channels": 3})
    read = read_image(tmp_path / name, deep)
    np.testing.assert_array_equal(read.pixels, np.stack([DEEP // 3, DEEP // 2, DEEP], axis=-1))
    assert read.changes == ()


def test_a_pgm_of_twelve_bits_is_said_to_be_scaled(wanted, tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 40 48 4095\n" + (DEEP % 4096).astype(">u2").tobytes())
    assert read_image(tmp_path / "a.pgm", wanted).changes == ("maxval",)


# -- refusals


def test_a_folder_is_no_image(bundle, tmp_path):
    with pytest.raises(ExportError, match="is a folder; name the image files in it"):
        predict_files(bundle, [tmp_path])


def test_a_missing_file_is_named(bundle, tmp_path):
    with pytest.raises(ExportError, match=r"there is no file .*gone\.png"):
        predict_files(bundle, [tmp_path / "gone.png"])


def test_a_file_that_is_no_image_is_named(bundle, tmp_path):
    (tmp_path / "notes.png").write_text("no picture")
    with pytest.raises(ExportError, match=r"notes\.png is not an image that can be read; DICOM, PNG, JPEG"):
        predict_files(bundle, [tmp_path / "notes.png"])


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm", "a.jpg", "a.bmp"])
def test_a_truncated_file_is_named(name, bundle, tmp_path):
    path = save(tmp_path / name, np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(ExportError, match=rf"{name} (cannot be read whole|is not an image)"):
        predict_files(bundle, [path])


def test_an_empty_file_is_named(bundle, tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(ExportError, match=r"a\.png is not an image"):
        predict_files(bundle, [tmp_path / "a.png"])


def test_a_tiff_of_several_pages_is_refused(bundle, tmp_path):
    page = Image.fromarray(FLAT)
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page, page])
    with pytest.raises(ExportError, match="holds 3 pages; one image a file is needed"):
        predict_files(bundle, [tmp_path / "a.tif"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((8, 8), 2.0, np.float32), r"floating-point values outside \[0, 1\]"),
        (np.full((8, 8), 70000, np.int32), "holds values from 70000 to 70000; 16 bit images hold 0 to 65535"),
    ],
)
def test_values_of_no_known_depth_are_refused(values, message, wanted, tmp_path):
    with pytest.raises(ExportError, match=message):
        read_image(save(tmp_path / "a.tif", values), wanted)


def test_a_missing_bundle_is_refused(tmp_path):
    with pytest.raises(ExportError, match=r"no bundle at .*; a bundle is the folder that"):
        load_bundle(str(tmp_path / "gone"))


def test_a_path_is_no_array_and_is_refused_with_a_sentence(bundle, tmp_path):
    with pytest.raises(
        ExportError, match="image 0 must be an array of raw pixels, found PosixPath; files are"
    ):
        bundle.predict([tmp_path / "a.png"])


def test_a_folder_without_manifest_is_no_bundle(tmp_path):
    with pytest.raises(ExportError, match=r"is not a bundle: it holds no manifest\.json"):
        load_bundle(tmp_path)


def test_a_bundle_without_model_is_not_whole(runtime, tmp_path):
    shutil.copy(runtime / "manifest.json", tmp_path)
    with pytest.raises(ExportError, match=r"is not a whole bundle: it holds no model\.onnx"):
        load_bundle(tmp_path)


def test_a_model_that_was_changed_is_refused(runtime, tmp_path):
    copy = shutil.copytree(runtime, tmp_path / "copy")
    with (copy / "model.onnx").open("ab") as file:
        file.write(b"0")
    with pytest.raises(ExportError, match="is not the file that was exported: its SHA-256 is"):
        load_bundle(copy)


def test_a_companion_that_was_changed_is_refused_and_one_that_is_gone_is_not(runtime, tmp_path):
    copy = shutil.copytree(runtime, tmp_path / "copy")
    (copy / "training_reference.json").unlink()
    load_bundle(copy)  # it still predicts
    shutil.copyfile(runtime / "manifest.json", copy / "training_reference.json")
    with pytest.raises(ExportError, match=r"training_reference\.json is not the file that was exported"):
        load_bundle(copy)


def test_a_model_is_opened_only_after_its_digest_was_compared(runtime, tmp_path, monkeypatch):
    copy = shutil.copytree(runtime, tmp_path / "copy")
    (copy / "model.onnx").write_bytes(b"whatever would make a parser fail")
    opened = []
    monkeypatch.setattr(exported_model.onnxruntime, "InferenceSession", lambda *a, **b: opened.append(a))
    with pytest.raises(ExportError, match="is not the file that was exported"):
        load_bundle(copy)
    assert opened == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "has format 2, this version reads format 1"),
        (
            {"classes": ["one"]},
            "is not the manifest of a bundle: classes: Tuple should have at least 2 items",
        ),
    ],
)
def test_a_manifest_that_cannot_be_read_is_refused(runtime, tmp_path, changes, message):
    copy = shutil.copytree(runtime, tmp_path / "copy")
    content = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**content, **changes}))
    with pytest.raises(ExportError, match=message):
        load_bundle(copy)


def test_a_manifest_that_is_no_json_is_refused(runtime, tmp_path):
    copy = shutil.copytree(runtime, tmp_path / "copy")
    (copy / "manifest.json").write_text("{")
    with pytest.raises(ExportError, match="is not the manifest of a bundle; export it again"):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((2, 8, 8)), r"image 0 must have shape \(H, W\), but has \(2, 8, 8\)"),
        (np.zeros((0, 8)), r"must have shape \(H, W\), but has \(0, 8\)"),
        (np.full((8, 8), 70000), "values from 70000 to 70000; this model takes raw pixels from 0 to 65535"),
        (np.full((8, 8), np.nan), "values from nan to nan"),
    ],
)
def test_arrays_that_the_model_does_not_take_are_refused(bundle, image, message):
    with pytest.raises(ExportError, match=message):
        bundle.predict([image])


# -- predicting


def test_images_of_several_sizes_are_predicted_in_their_order(bundle):
    images = [pixels(images=2, side=64)[1], pixels(images=2, side=50)[0], pixels(images=2, side=64)[0]]
    together = bundle.predict(images)
    alone = np.concatenate([bundle.predict([image]) for image in images])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-6)


def test_many_images_are_predicted_in_batches_as_alone(bundle):
    images = list(pixels(images=10))
    np.testing.assert_allclose(bundle.predict(images)[9:], bundle.predict(images[9:]), atol=1e-6)


def test_no_images_give_no_predictions(bundle):
    assert bundle.predict([]).shape == (0, 2)


def test_files_are_predicted_as_their_pixels_and_decided_by_the_threshold(bundle, tmp_path):
    images = list(pixels(images=4))
    paths = [save(tmp_path / f"{number}.png", image) for number, image in enumerate(images)]
    found = predict_files(bundle, paths).predictions
    probabilities = bundle.predict(images)[:, 1]
    assert [one.file for one in found] == [str(path) for path in paths]
    np.testing.assert_allclose([one.probability for one in found], probabilities)
    threshold = bundle.manifest.threshold
    called = ["malignant" if value >= threshold else "benign" for value in probabilities]
    assert [one.predicted_class for one in found] == called


def test_the_threshold_itself_is_called_positive(bundle):
    threshold = bundle.manifest.threshold
    positive = np.array([threshold - 1e-6, threshold, 1.0])
    assert bundle.decide(np.stack([1 - positive, positive], axis=1)).tolist() == [0, 1, 1]


def test_beyond_two_classes_the_most_probable_is_called(bundle):
    manifest = bundle.manifest.model_copy(update={"threshold": None})
    probabilities = np.array([[0.2, 0.3, 0.5], [0.4, 0.3, 0.3]])
    assert Bundle(manifest, bundle.session).decide(probabilities).tolist() == [2, 0]


def test_what_was_done_to_files_is_said_once_for_all_of_them(bundle, tmp_path):
    paths = [save(tmp_path / f"{number}.png", FLAT) for number in range(5)]
    paths.append(save(tmp_path / "deep.png", DEEP))
    notes = predict_files(bundle, paths).notes
    assert notes == (
        "5 of 6 images have another depth than the model's images and were rescaled: "
        "0.png, 1.png, 2.png, ...",
        "6 of 6 images have another size than the model's training images, and are resized within the model, "
        "since it is not known how those came to theirs: 0.png, 1.png, 2.png, ...",
    )


def test_rows_and_table_say_the_same(bundle, tmp_path):
    path = save(tmp_path / f"{'long_name_' * 12}.png", DEEP)
    found = predict_files(bundle, [path]).predictions
    (row,) = predictions_as_json(bundle, found)
    json.dumps(row, allow_nan=False)
    (line,) = csv.DictReader(io.StringIO(predictions_as_csv(bundle, found)))
    assert float(line["probability"]) == row["probability"] == row["probabilities"]["malignant"]
    assert line["predicted_class"] == row["predicted_class"]
    console = Console(width=80, file=io.StringIO())
    console.print(predictions_table(bundle, found))
    shown = console.file.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    assert f"{row['probability']:.3f}" in shown
    assert "not a medical device" in shown


def test_prediction_needs_no_torch_ray_optuna_or_opencv(runtime, tmp_path):
    path = save(tmp_path / "a.png", DEEP)
    code = (
        "import sys; from pathlib import Path\n"
        "from results.export.onnx_predictor import load_bundle, predict_files\n"
        f"print(len(predict_files(load_bundle(Path({str(runtime)!r})), [Path({str(path)!r})]).predictions))\n"
        "heavy = {'torch', 'torchvision', 'timm', 'ray', 'optuna', 'cv2', 'sklearn'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["1", "[]", ""]
