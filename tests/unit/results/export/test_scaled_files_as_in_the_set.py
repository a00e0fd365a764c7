"""A file that no step but its scale changes, or that is a raw film, equals the row of the prepared set."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import PROCESSING, dicom, film
from source_files import noise, write

from orchestrator import join_sets, prepare_set
from results.errors import ExportError
from results.export.image_reading import read_image
from results.export.model_input import ModelInput
from trainables.common.errors import DataError
from trainables.data.declared_steps import agreed_steps, difference, steps_of
from trainables.data.mammogram.preparation import Preparation
from trainables.data.prepared_set import PreparedSet

pytestmark = pytest.mark.slow

SPACINGS = (0.1, 0.2)
RAW = {"SOPClassUID": PROCESSING, "PresentationIntentType": "FOR PROCESSING"}


def films(folder: Path, *, box: str = "", **changes: object) -> Path:
    """Four films of two spacings and several sizes, with a table of labels and, where asked for, a box."""
    lines = ["file,label,patient" + (",box_left,box_top,box_width,box_height" if box else "")]
    for number in range(4):
        spacing = SPACINGS[number % 2]
        image = film(seed=number, side=(96 + 8 * number, 64))
        dicom(folder / f"{number}.dcm", image, bits=12, ImagerPixelSpacing=[spacing, spacing], **changes)
        lines.append(f"{number}.dcm,{('benign', 'malignant')[number // 2]},P{number}{box}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def steps(prepared: PreparedSet) -> Preparation | None:
    declared = prepared.as_patches().preparation
    return None if declared is None else Preparation.from_dict(declared)


def wanted(prepared: PreparedSet) -> ModelInput:
    return ModelInput(
        name="image",
        dtype="int32",
        channels=1,
        max_value=float(prepared.facts["max_value"]),
        trained_shape=prepared.images.shape[1:3],
        how_to_feed="",
    )


@pytest.mark.parametrize("size", [None, (56, 40), (32, 24)])
@pytest.mark.parametrize("asked", [{"is_prepared": False}, {"options": {"mammograms": "no"}}])
def test_a_file_is_brought_to_the_scale_of_a_set_without_steps(
    tmp_path: Path, asked: dict[str, object], size: tuple[int, int] | None
) -> None:
    tree = films(tmp_path / "films")
    prepared = prepare_set(
        "dicom", tree, tmp_path / "set", mm_per_px=0.2, size=size, workers=1, **asked
    ).prepared
    assert prepared.table["mm_per_row"] == pytest.approx([0.2] * 4, rel=0.02)
    declared = steps(prepared)
    assert declared is not None
    assert declared.size == prepared.images.shape[1:3]
    for row, name in enumerate(prepared.table["file"]):
        read = read_image(tree / name, wanted(prepared), declared)
        np.testing.assert_array_equal(read.pixels, prepared.images[row], err_msg=name)


def test_the_file_of_a_region_is_brought_to_the_scale_of_the_regions(tmp_path: Path) -> None:
    tree = films(tmp_path / "films", box=",4,20,40,30")
    prepared = prepare_set("dicom", tree, tmp_path / "set", mm_per_px=0.2, size=(40, 40), workers=1).prepared
    assert (prepared.table["box_left"][0], prepared.table["box_height"][0]) == (4, 30)
    declared = steps(prepared)
    assert declared is not None
    assert declared.mm_per_px == 0.2
    for row, spacing in enumerate(SPACINGS * 2):
        region = film(seed=row, side=(96 + 8 * row, 64))[20:50, 4:44]
        file = dicom(tmp_path / f"region {row}.dcm", region, bits=12, ImagerPixelSpacing=[spacing, spacing])
        read = read_image(file, wanted(prepared), declared)
        np.testing.assert_array_equal(read.pixels, prepared.images[row])
    write(tmp_path / "plain.png", noise(1, side=40))
    with pytest.raises(ExportError, match="states no pixel spacing"):
        read_image(tmp_path / "plain.png", wanted(prepared), declared)


def test_a_coloured_image_has_no_scale_in_millimetres(tmp_path: Path) -> None:
    tree = films(tmp_path / "films")
    colour = np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    dicom(tree / "3.dcm", colour, ImagerPixelSpacing=[0.1, 0.1])
    done = prepare_set("dicom", tree, tmp_path / "set", mm_per_px=0.2, is_prepared=False, workers=1)
    (problem,) = done.problems
    assert problem.what == "3.dcm"
    assert problem.reason == "is coloured, and --mm-per-px is for grey images alone; give --size in its place"


@pytest.mark.parametrize("box", ["", ",4,20,40,30"])
def test_a_model_of_raw_films_without_steps_takes_raw_films_as_they_are(tmp_path: Path, box: str) -> None:
    tree = films(tmp_path / "films", box=box, **RAW)
    prepared = prepare_set(
        "dicom", tree, tmp_path / "set", size=(96, 64), is_prepared=False, for_processing=True, workers=1
    ).prepared
    assert prepared.facts["settings"]["steps"] is None
    read = read_image(tree / "0.dcm", wanted(prepared), steps(prepared))
    np.testing.assert_array_equal(read.pixels, film(seed=0, side=(96, 64)))
    assert (read.changes, read.place) == ((), None)
    with pytest.raises(ExportError, match="is FOR PROCESSING"):
        read_image(tree / "0.dcm", wanted(prepared), None)


def test_sets_of_two_scales_are_not_joined(tmp_path: Path) -> None:
    tree, other = films(tmp_path / "films"), films(tmp_path / "others")
    sets = {
        name: prepare_set(
            "dicom", place, tmp_path / name, mm_per_px=scale, size=(48, 40), is_prepared=False, workers=1
        ).prepared
        for name, place, scale in (("fine", tree, 0.1), ("coarse", other, 0.2))
    }
    plain = prepare_set("dicom", other, tmp_path / "plain", size=(48, 40), is_prepared=False, workers=1)
    with pytest.raises(DataError, match=r"found mm_per_px 0\.1 \(fine\) and 0\.2 \(coarse\): prepare them"):
        join_sets([tmp_path / "fine", tmp_path / "coarse"], tmp_path / "joined")
    with pytest.raises(DataError, match=r"found mm_per_px 0\.1 \(fine\) and None \(plain\): prepare"):
        join_sets([tmp_path / "fine", tmp_path / "plain"], tmp_path / "joined")
    assert difference("a", steps_of(plain.prepared.facts), "b", None) == ""
    assert difference("a", steps_of(sets["fine"].facts), "b", steps_of(sets["fine"].facts)) == ""


def test_which_films_may_be_read_keeps_no_sets_apart(tmp_path: Path) -> None:
    facts = {}
    for name, is_raw in (("usual", False), ("raw", True)):
        tree = films(tmp_path / f"{name} films", **(RAW if is_raw else {}))
        prepared = prepare_set(
            *("dicom", tree, tmp_path / name),
            size=(48, 40),
            is_prepared=False,
            for_processing=is_raw,
            workers=1,
        ).prepared
        facts[name] = prepared.facts
    assert difference("usual", steps_of(facts["usual"]), "raw", steps_of(facts["raw"])) == ""
    for order in (facts, dict(reversed(facts.items()))):
        assert (agreed_steps(order) or {})["allows_for_processing"] is True


@pytest.mark.parametrize(
    ("declared", "changes"),
    [
        ({"mm_per_px": 0.2, "spacing_mm": (0.1, 0.1)}, ("spacing",)),
        ({"size": (32, 24), "spacing_mm": (0.1, 0.2)}, ("spacing",)),
        ({"size": (32, 24), "spacing_mm": (0.1, 0.1)}, ()),
        ({"size": (32, 24)}, ()),
    ],
)
def test_a_spacing_that_is_assumed_is_said(
    tmp_path: Path, declared: dict[str, Any], changes: tuple[str, ...]
) -> None:
    tree = films(tmp_path / "films")
    asked = wanted(prepare_set("dicom", tree, tmp_path / "set", size=(32, 24), workers=1).prepared)
    steps = Preparation(crop_breast=False, blank_background=False, chest_wall=None, **declared)
    silent = dicom(tmp_path / "silent.dcm", film(seed=1, side=(96, 64)), bits=12)
    assert read_image(silent, asked, steps).changes == changes
    assert read_image(tree / "0.dcm", asked, steps).changes == ()


def test_films_without_a_breast_are_counted(tmp_path: Path) -> None:
    tree = films(tmp_path / "films")
    dicom(tree / "3.dcm", np.zeros((96, 64), np.uint16), bits=12)
    done = prepare_set(
        "dicom", tree, tmp_path / "set", options={"mammograms": "yes"}, size=(48, 40), workers=1
    )
    assert "1 image of 4 shows no breast that could be found, and was kept whole" in done.notes
