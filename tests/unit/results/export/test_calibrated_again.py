"""Patients that a bundle was calibrated on after its export, in other sets and after further calibrations."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from finished_run import CONFIGS, make_run, pixels

from orchestrator.api.claims import evaluate_bundle, recalibrate_bundle
from orchestrator.postprocessing import recalibrating
from results.errors import ExportError
from results.export.bundle import export_bundle
from results.export.exported_model import load_bundle
from results.export.outside_data import predict_outside
from results.export.training_reference import read_reference
from trainables.config.tasks import task_named
from trainables.data.declared_steps import AS_THEY_ARE
from trainables.data.mammogram.preparation import Preparation
from trainables.data.patches import PatchSet, RawPatches, store_patch_set

pytestmark = pytest.mark.slow

IMAGES = 64


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bundle")
    run = make_run(place, {0: CONFIGS[0]}, backbones=("scratch4",))
    export_bundle(run, place / "bundle", trial=0, held_out_limit=4)
    return place / "bundle"


@pytest.fixture
def options(tmp_path: Path) -> dict[str, str]:
    return {"store": str(tmp_path / "store"), "label_codes": "task"}


def of_months(place: Path, *months: int) -> str:
    """Labelled images of some months as an .npz file, two a patient; returns its path."""
    path = place / f"{'-'.join(map(str, months))}.npz"
    np.savez(
        path,
        images=np.concatenate([pixels("uint16", images=IMAGES, seed=month) for month in months]),
        labels=np.tile(np.arange(IMAGES) % 2, len(months)),
        patient=np.array([f"M{month}-{row // 4}-{row % 2}" for month in months for row in range(IMAGES)]),
    )
    return str(path)


def test_patients_of_a_calibration_are_left_out_of_a_larger_set_and_named(
    bundle: Path, tmp_path: Path, options: dict[str, str]
) -> None:
    recalibrate_bundle(bundle, of_months(tmp_path, 1), tmp_path / "local", **options)
    found = evaluate_bundle(tmp_path / "local", of_months(tmp_path, 1, 2), **options)
    assert (found.images, found.left_out) == (IMAGES, IMAGES)
    assert any("among those that this bundle was calibrated on (M1-0-0, " in note for note in found.notes)
    plain = evaluate_bundle(bundle, of_months(tmp_path, 1, 2), **options)
    assert plain.left_out == 0


def test_patients_of_every_calibration_are_known_to_the_last_one(
    bundle: Path, tmp_path: Path, options: dict[str, str]
) -> None:
    for month, before in ((1, bundle), (2, tmp_path / "1")):
        recalibrate_bundle(before, of_months(tmp_path, month), tmp_path / str(month), **options)
    reference = read_reference(tmp_path / "2")
    assert reference is not None
    assert len(reference.calibrated) == 2 * IMAGES
    for month in (1, 2):
        with pytest.raises(ExportError, match="is the set that this bundle was calibrated on"):
            evaluate_bundle(tmp_path / "2", of_months(tmp_path, month), **options)
    assert evaluate_bundle(tmp_path / "2", of_months(tmp_path, 1, 2, 3), **options).images == IMAGES


def test_a_set_of_an_earlier_calibration_is_refused_where_no_reference_is_kept(
    bundle: Path, tmp_path: Path, options: dict[str, str]
) -> None:
    for month, before in ((1, bundle), (2, tmp_path / "1")):
        recalibrate_bundle(before, of_months(tmp_path, month), tmp_path / str(month), **options)
    (tmp_path / "2" / "training_reference.json").unlink()
    with pytest.raises(ExportError, match="is the set that this bundle was calibrated on"):
        evaluate_bundle(tmp_path / "2", of_months(tmp_path, 1), **options)


def prepared(place: Path, steps: Preparation) -> PatchSet:
    """A set that was made ready by steps, in a store."""
    raw = RawPatches(
        pixels("uint16", images=IMAGES, seed=5),
        np.arange(IMAGES) % 2,
        "task",
        patients=np.array([f"P{row // 4}-{row % 2}" for row in range(IMAGES)]),
        source="prepared",
        preparation=steps.as_dict(),
    )
    return store_patch_set(raw, place)


def test_a_set_of_steps_that_the_model_does_not_know_is_named_and_not_calibrated_on(
    bundle: Path, tmp_path: Path, options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, task, data = (
        load_bundle(bundle),
        task_named("benign_malignant"),
        prepared(tmp_path, Preparation()),
    )
    found = predict_outside(opened, data, task, read_reference(bundle))
    (note,) = (note for note in found.notes if "was not made ready as the training images were" in note)
    assert "no steps (training) and steps (these)" in note
    monkeypatch.setattr(recalibrating, "read_outside", lambda request, notify: data)
    with pytest.raises(ExportError, match="was not made ready as the training images were"):
        recalibrate_bundle(bundle, of_months(tmp_path, 1), tmp_path / "local", **options)
    assert not (tmp_path / "local").exists()


def test_raw_films_that_no_step_changes_are_no_set_of_other_steps(bundle: Path, tmp_path: Path) -> None:
    data = prepared(tmp_path, replace(AS_THEY_ARE, allows_for_processing=True))
    found = predict_outside(
        load_bundle(bundle), data, task_named("benign_malignant"), read_reference(bundle), is_fitted_on=True
    )
    assert not any("made ready" in note for note in found.notes)
