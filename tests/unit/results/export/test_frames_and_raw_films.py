"""Prediction with declared steps: stacks are refused, and raw films go to models of raw films alone."""

from pathlib import Path

import numpy as np
import pytest
from dicom_files import PROCESSING, dicom, film

from orchestrator.api.prepared_sets import prepare_set
from results.errors import ExportError
from results.export.image_reading import read_image
from results.export.model_input import ModelInput
from trainables.common.errors import ConfigError, DataError
from trainables.data.mammogram.preparation import Preparation

WANTED = ModelInput(
    name="image", dtype="int32", channels=1, max_value=4095, trained_shape=(48, 32), how_to_feed=""
)
RAW = {"SOPClassUID": PROCESSING, "PresentationIntentType": "FOR PROCESSING"}


def exams(folder: Path) -> Path:
    """Four raw films and a table of their labels."""
    lines = ["file,label"]
    for number in range(4):
        dicom(folder / f"{number}.dcm", film(seed=number), bits=12, **RAW)
        lines.append(f"{number}.dcm,{('benign', 'malignant')[number % 2]}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_a_stack_of_frames_is_refused_with_and_without_steps(tmp_path: Path) -> None:
    stack = dicom(tmp_path / "tomo.dcm", np.stack([film(seed=seed) for seed in range(3)]), bits=12)
    for steps in (None, Preparation(size=(48, 32))):
        with pytest.raises(ExportError, match=r"tomo\.dcm holds 3 frames; one image a file is needed"):
            read_image(stack, WANTED, steps)
    rows = tmp_path / "films.npy"
    np.save(rows, np.stack([film(seed=seed) for seed in range(2)]))
    with pytest.raises(ExportError, match=r"films\.npy holds 2 frames"):
        read_image(rows, WANTED, Preparation(size=(48, 32)))


def test_a_model_of_raw_films_takes_raw_films(tmp_path: Path) -> None:
    folder = exams(tmp_path / "films")
    prepared = prepare_set(
        "dicom", folder, tmp_path / "set", size=(48, 32), for_processing=True, workers=1
    ).prepared
    stored = prepared.as_patches().preparation
    assert stored is not None
    steps = Preparation.from_dict(stored)
    assert "raw films (FOR PROCESSING) allowed" in steps.sentence
    for row, name in enumerate(prepared.table["file"]):
        read = read_image(folder / name, WANTED, steps)
        np.testing.assert_array_equal(read.pixels, prepared.images[row])


def test_other_models_refuse_them_and_advise_no_option_that_predict_lacks(tmp_path: Path) -> None:
    folder = exams(tmp_path / "films")
    for steps in (None, Preparation(size=(48, 32))):
        with pytest.raises(ExportError, match=r"is FOR PROCESSING, .* of the same view$"):
            read_image(folder / "0.dcm", WANTED, steps)
    with pytest.raises(DataError, match=r"of the same view, or allow it \(--for-processing\)"):
        prepare_set("dicom", folder, tmp_path / "set", workers=1)


def test_steps_of_films_for_presentation_are_written_as_before() -> None:
    assert "allows_for_processing" not in Preparation().as_dict()
    raw = Preparation(allows_for_processing=True)
    assert Preparation.from_dict(raw.as_dict()) == raw
    assert raw.digest != Preparation().digest
    assert Preparation().digest == "4cf08d7c2375d33ea5f7fb6bb2455c63cc2fd5e02385054889196ce0ca451f29"


def test_raw_films_are_no_step_that_is_given_by_itself(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="allows_for_processing is an option of its own, not a step"):
        prepare_set("dicom", tmp_path, tmp_path / "set", steps={"allows_for_processing": True})
