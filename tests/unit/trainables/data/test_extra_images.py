"""Extra images train in every fold, and are never scored."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from results.scores.metrics import scores
from trainables.common.errors import DataError, SplitError
from trainables.config.tasks import task_named
from trainables.config.trial_config import decode
from trainables.data.patches import PatchSet, TaskRows, fingerprint_of, open_patch_set, select_rows
from trainables.data.source import Stated
from trainables.data.sources import load_patch_set
from trainables.data.sources.npz import load_npz
from trainables.data.split_checks import split_warnings
from trainables.data.split_record import TEST, TRAINING, read_split, write_split
from trainables.data.splits import make_split
from trainables.data.training_data import TrainingData, training_data_of
from trainables.models.weights import take_inventory
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.validation.factory import open_validation

TASK = task_named("benign_malignant")
IMAGES, EXTRA = 48, 12


def arrays(**changes: Any) -> dict[str, Any]:
    """60 images of 30 patients, of which the last 12, of 6 patients, are extra."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.tile([0, 1], (IMAGES + EXTRA) // 4), 2)
    images = random.integers(0, 120, (IMAGES + EXTRA, 32, 32)).astype(np.uint8)
    images[labels == 1, 10:20, 10:20] += 100
    split = np.array(["train"] * IMAGES + ["extra"] * EXTRA)
    patient = np.array([f"p{row // 2:02d}" for row in range(IMAGES + EXTRA)])
    return {"images": images, "labels": labels, "patient": patient, "split": split} | changes


def patch_set(folder: Path, **changes: Any) -> tuple[PatchSet, list[str]]:
    np.savez(folder / "set.npz", **arrays(**changes))
    return load_patch_set(str(folder / "set.npz"), task=TASK, label_codes="task", store=folder)


@pytest.fixture
def with_extra(tmp_path: Path) -> PatchSet:
    return patch_set(tmp_path)[0]


def cut(rows: TaskRows, patches: PatchSet, **options: Any) -> Any:
    settings = {"folds": 3, "test_share": 0.25, "seed": 0} | options
    return make_split(rows, fingerprint=patches.fingerprint, task=TASK.name, **settings)


@pytest.mark.parametrize("holdout", [None, 0.3])
def test_extra_images_are_in_no_fold_and_not_in_the_test_part(
    holdout: float | None, with_extra: PatchSet, tmp_path: Path
) -> None:
    rows = select_rows(with_extra, TASK)
    split = cut(rows, with_extra, holdout=holdout)
    folds = split.folds_of(rows)
    assert set(folds[IMAGES:].tolist()) == {TRAINING}
    assert (folds[:IMAGES] == TEST).sum() == pytest.approx(IMAGES / 4, abs=2)
    if holdout is None:
        assert set(folds[:IMAGES].tolist()) == {TEST, 0, 1, 2}
        assert split.counts["extra"] == {"patients": 6, "benign": 6, "malignant": 6}
    write_split(tmp_path / "split.json", split)
    assert read_split(tmp_path / "split.json") == split
    assert not any("uneven" in said for said in split_warnings(rows, split, TASK.classes))


def test_the_other_images_are_cut_as_if_the_extra_ones_were_not_there(
    with_extra: PatchSet, tmp_path: Path
) -> None:
    alone, _ = patch_set(tmp_path, **{name: array[:IMAGES] for name, array in arrays().items()})
    both = cut(select_rows(with_extra, TASK), with_extra)
    without = cut(select_rows(alone, TASK), alone)
    assert {group: both.fold_of_group[group] for group in without.fold_of_group} == dict(
        without.fold_of_group
    )


def test_a_patient_with_extra_images_and_others_is_refused(tmp_path: Path) -> None:
    patients = arrays()["patient"].copy()
    patients[-2:] = "p00"
    patches, _ = patch_set(tmp_path, patient=patients)
    message = "1 patient both among the extra images and among those that are scored: p00; leave their extra"
    with pytest.raises(SplitError, match=message):
        cut(select_rows(patches, TASK), patches)


def test_an_extra_image_with_the_pixels_of_a_scored_one_is_refused(tmp_path: Path) -> None:
    images = arrays()["images"].copy()
    images[-1] = images[1]  # both malignant or both benign does not matter
    patches, _ = patch_set(tmp_path, images=images)
    with pytest.raises(SplitError, match="both among the extra images and among those that are scored: p00"):
        cut(select_rows(patches, TASK), patches)


def test_an_extra_image_that_is_in_the_test_part_too_is_left_out(tmp_path: Path) -> None:
    given = arrays()
    split, images = given["split"].copy(), given["images"].copy()
    split[:12] = "test"
    images[-1] = images[0]
    patches, said = patch_set(tmp_path, split=split, images=images)
    assert len(patches.labels) == IMAGES + EXTRA - 1
    assert patches.is_extra is not None
    assert patches.is_extra.sum() == EXTRA - 1
    assert any("left out of training" in one for one in said)


def test_extra_images_are_stored_and_are_part_of_the_fingerprint(
    with_extra: PatchSet, tmp_path: Path
) -> None:
    again = open_patch_set(tmp_path / "data", with_extra.fingerprint)
    assert again.is_extra is not None
    assert again.is_extra.tolist() == [False] * IMAGES + [True] * EXTRA
    raw, said = load_npz(str(tmp_path / "set.npz"), TASK, Stated(label_codes="task"))
    assert "the 12 images that split marks as extra train in every fold and are never scored" in said
    assert isinstance(raw.labels, np.ndarray)
    plain, _ = patch_set(tmp_path, split=np.array(["train"] * (IMAGES + EXTRA)))
    assert plain.is_extra is None
    assert plain.fingerprint != with_extra.fingerprint
    assert fingerprint_of(raw) != plain.fingerprint


def test_a_set_of_extra_images_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="split marks all images as extra, so that none is left"):
        patch_set(tmp_path, split=np.array(["extra"] * (IMAGES + EXTRA)))


def test_a_folder_called_extra_beside_train_holds_extra_images(tmp_path: Path) -> None:
    given = arrays()
    root = tmp_path / "films"
    for row, (image, label, part) in enumerate(
        zip(given["images"], given["labels"], given["split"], strict=True)
    ):
        place = root / part / TASK.classes[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{row:02d}.png")
    patches, said = load_patch_set(str(root), task=TASK, label_codes=None, store=tmp_path)
    assert patches.is_extra is not None
    assert patches.is_extra.sum() == EXTRA
    assert (
        "the 12 images that the layout of folders marks as extra train in every fold and are never scored"
        in said
    )


@pytest.mark.parametrize("head", [{"model.head.hidden": "8"}, {"classical.name": "logistic"}])
def test_every_fold_trains_on_extra_images_and_none_is_scored_on_them(
    head: dict[str, Any], with_extra: PatchSet, tmp_path: Path
) -> None:
    rows = select_rows(with_extra, TASK)
    training_data = training_data_of(with_extra, TASK, cut(rows, with_extra))
    inventory = take_inventory(("efficientnet_lite0",), weights_dir=None, may_download=False)
    runtime = TrialRuntime(tmp_path / "store", torch.device("cpu"), inventory.usable)
    config = decode(
        {
            "model.backbone": "efficientnet_lite0",
            "input.size_px": 32,
            "training.augmentation": "none",
            "training.average_views": False,
            "training.epochs": 1,
            **head,
        }
    )

    def outcome(data: TrainingData) -> np.ndarray:
        run = open_validation(config, data, runtime, seed=0, score=scores, metric="auc")
        while not run.is_over:
            run.epoch()
        assert run.best is not None
        return run.best.probabilities

    extra = training_data.folds == TRAINING
    assert extra.sum() == EXTRA
    found = outcome(training_data)
    assert not found[extra].any()  # nobody predicts them
    assert (found[~extra].sum(axis=1) > 0.99).all()
    labels = training_data.labels.copy()
    labels[extra] = 1 - labels[extra]
    turned = outcome(type(training_data)(**{**_fields(training_data), "labels": labels}))
    for fold in range(3):  # other labels of theirs change the models of every fold
        own = training_data.folds == fold
        assert np.abs(turned[own] - found[own]).max() > 1e-4


def _fields(data: TrainingData) -> dict[str, Any]:
    return {name: getattr(data, name) for name in data.__slots__}
