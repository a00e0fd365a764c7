"""Labelled images of another set, checked against the training images and predicted by an exported model."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.errors import ExportError
from results.export.exported_model import Bundle
from results.export.input_checks import FINDING_TYPES
from results.export.likeness import UNLIKE_NOTES, too_unlike, unlike
from results.export.training_reference import TrainingReference, digest_of, model_pixels, pixel_figures
from results.scores.set_shift import FeatureNovelty, SetShift, set_shift
from trainables.common.errors import DataError
from trainables.common.text import count_text
from trainables.common.types import FloatArray, IntArray
from trainables.config.tasks import LEFT_OUT, TASKS, Task
from trainables.data.columns import Columns, take_rows
from trainables.data.declared_steps import difference
from trainables.data.extra_rows import without_extra
from trainables.data.group_names import group_unit, of_groups
from trainables.data.patches import PatchSet, TaskRows, select_rows
from trainables.data.units import scored_units, units_of

_AT_ONCE: Final = 64  # images that are held in memory
_NAMED: Final = 3  # patients that a note names


@dataclass(frozen=True, slots=True)
class OutsideData:
    """Predictions of a model for labelled data that it never saw.

    Attributes:
        labels: Class indices, shape (n,), of images or of the units that they make up.
        groups: Patient of each, shape (n,).
        probabilities: Calibrated probabilities, shape (n, classes).
        columns: What is known about each image, or about the first image of each unit.
        shift: Shift of pixels and features against the training images; None where nothing is kept of them.
        left_out: Number of images that were left out with their patients, since they were in the training
            set.
        notes: Sentences on what was left out or converted.
        has_patients: The groups are patients.
        digests: Digest of each image that was predicted, by which a bundle that is calibrated on them knows
            them again.
    """

    labels: IntArray
    groups: NDArray[Any]
    probabilities: FloatArray
    columns: Columns
    shift: SetShift | None
    left_out: int
    notes: tuple[str, ...]
    has_patients: bool = True
    digests: tuple[str, ...] = ()


def predict_outside(
    bundle: Bundle,
    patch_set: PatchSet,
    task: Task,
    reference: TrainingReference | None,
    *,
    is_fitted_on: bool = False,
) -> OutsideData:
    """Check and predict the images of another set.

    Patients with an image that the model was trained or calibrated on, or that is sealed for its test, are
    left out, and so are extra images, whose labels may be guessed.

    Args:
        bundle: The model.
        patch_set: The other set.
        task: Task of the model.
        reference: What is kept of the model's training images; None where it is not known.
        is_fitted_on: The model is calibrated on these images, so that they must be made ready as the training
            images were; elsewhere a note says what differs where the model itself has no steps.

    Raises:
        ExportError: If all images were in the training set, its sealed part or what the model was calibrated
            on, or are extra ones, or they are unlike those that the model takes.
        DataError: If labels, baselines, types or units of the images are missing.
        OneClassError: If the set has fewer than two classes.
    """
    made_otherwise = _check_alike(bundle, patch_set, is_fitted_on=is_fitted_on)
    rows, notes = _scored_rows(patch_set, task)
    notes += made_otherwise
    digests, figures = _looked_at(bundle, patch_set, rows.rows)
    kept = np.ones(len(digests), dtype=np.bool_)
    notes += _said_of_recognition(bundle, patch_set, reference)
    for what, known in (
        ()
        if reference is None
        else (
            ("among the training images", reference.digests),
            ("sealed for the test of this model, which orchestrate evaluate RUN opens", reference.sealed),
            ("among those that this bundle was calibrated on", reference.calibrated),
        )
    ):
        is_copy = np.isin(digests, known)
        others = ~np.isin(rows.groups, rows.groups[is_copy])
        if is_copy.any():
            notes.append(_said_of_copies(rows, is_copy, others, what))
        kept &= others
    if not kept.any():
        unit = group_unit(rows.groups)
        are = "are images" if unit == "image" else f"are of {unit}s"
        raise ExportError(
            f"all {len(kept)} images of {patch_set.source} {are} that the model was trained or calibrated "
            "on, or that are sealed for its test; give data that it never saw"
        )
    rows = _only(rows, kept)
    units = units_of(patch_set, rows, bundle.manifest.unit, task)
    scored = scored_units(rows.rows, rows.labels, np.zeros(len(rows.rows), np.int64), rows.groups, units)
    probabilities, novelty = _predicted(bundle, patch_set, rows, units)
    return OutsideData(
        labels=scored.labels,
        groups=scored.groups,
        probabilities=probabilities,
        columns=take_rows(patch_set.columns, scored.rows) or {},
        shift=None
        if reference is None and novelty is None
        else set_shift(
            {} if reference is None else reference.figures,
            {name: values[kept] for name, values in figures.items()},
            rows.groups,
            novelty=novelty,
        ),
        left_out=int((~kept).sum()),
        notes=(
            *notes,
            *_said_of_sizes(bundle, patch_set),
            *([_NO_NOVELTY] if novelty is None else []),
        ),
        has_patients=rows.is_grouped,
        digests=tuple(digest for digest, is_kept in zip(digests, kept.tolist(), strict=True) if is_kept),
    )


_NO_REFERENCE: Final = (
    "this bundle has no training_reference.json and so keeps nothing of its training images: whether some of "
    "these were among them, and how far these lie from them, cannot be said; export it again"
)
_NO_NOVELTY: Final = (
    "this model has no novelty score (no frozen stages, too few data, or an earlier version), so the "
    "shift is told from the pixels alone, not from the network's features"
)


def _said_of_recognition(
    bundle: Bundle, patch_set: PatchSet, reference: TrainingReference | None
) -> list[str]:
    """Why training images cannot be known again; nothing where they can.

    They are known by their pixels, which differ where the same file was brought to another size.
    """
    if reference is None:
        return [_NO_REFERENCE]
    here, there = patch_set.images.shape[1:3], bundle.manifest.input.trained_shape
    if tuple(here) == tuple(there[:2]):
        return []
    return [
        f"WARNING: these images are {here[0]}x{here[1]} pixels and those of the model's search "
        f"{there[0]}x{there[1]}, so that training images, and those sealed for its test, cannot be known "
        "again by their pixels: whether some of these were among them is not checked, and scores are too "
        "high if so; prepare the set with the same size to have it checked"
    ]


def _check_alike(bundle: Bundle, patch_set: PatchSet, *, is_fitted_on: bool) -> list[str]:
    """Refuse a set that the model cannot take; sentences on how it was made otherwise.

    A model without steps may still be scored on images that were cut, blanked or mirrored, since that is what
    such a set can show, but not be fitted on them: the files that it predicts come as they are.
    """
    manifest = bundle.manifest
    if patch_set.is_table:
        raise ExportError(f"this model takes images, and {patch_set.source} is a table of measurements")
    if patch_set.fingerprint == manifest.data.fingerprint:
        raise ExportError(
            f"{patch_set.source} is the set that the model was trained on; its sealed test part is scored by "
            "orchestrate evaluate RUN, without --data"
        )
    local = manifest.recalibration
    if local is not None and patch_set.fingerprint in (local.fingerprint, *local.earlier):
        raise ExportError(
            f"{patch_set.source} is the set that this bundle was calibrated on; give data that it never saw"
        )
    if reason := too_unlike(patch_set.images.shape[1:3], manifest.input.trained_shape):
        raise ExportError(f"{patch_set.source} is unlike the training images: {reason}")
    made_ready = None if patch_set.preparation is None else dict(patch_set.preparation)
    said = difference("training", manifest.preparation, "these", made_ready)
    if not said:
        return []
    otherwise = f"{patch_set.source} was not made ready as the training images were, {said}"
    if manifest.preparation is None and not is_fitted_on:
        return [f"WARNING: {otherwise}; its scores are not those of files that the model is given"]
    raise ExportError(
        f"{otherwise}; prepare it with the same steps and size (orchestrate data prepare), or predict whole "
        "mammograms with orchestrate predict"
    )


def _scored_rows(patch_set: PatchSet, task: Task) -> tuple[TaskRows, list[str]]:
    """Rows of the task without extra ones, and what is to be said of those."""
    every = select_rows(patch_set, task)
    rows = without_extra(every)
    extra = len(every.rows) - len(rows.rows)
    if not len(rows.rows):
        raise ExportError(
            f"all {extra} images of {patch_set.source} that have a part in the task are extra ones, and "
            "those are never scored; give data with others"
        )
    if not extra:
        return rows, []
    is_one = extra == 1
    return rows, [
        f"{count_text(extra, 'extra image')} of {patch_set.source} {'is' if is_one else 'are'} left out: "
        f"extra images are never scored, since {'its label' if is_one else 'their labels'} may "
        "be guessed"
    ]


def _looked_at(
    bundle: Bundle, patch_set: PatchSet, rows: IntArray
) -> tuple[list[str], dict[str, FloatArray]]:
    """Digest and figures of each image."""
    digests: list[str] = []
    figures: list[dict[str, FloatArray]] = []
    for _, images in _batches(bundle, patch_set, rows):
        digests += [digest_of(image) for image in images]
        figures.append(pixel_figures(images, bundle.manifest.input))
    return digests, {name: np.concatenate([one[name] for one in figures]) for name in figures[0]}


def _batches(
    bundle: Bundle, patch_set: PatchSet, rows: IntArray
) -> Iterator[tuple[IntArray, list[NDArray[Any]]]]:
    """Rows and their images in the form that the model takes, some at a time."""
    for start in range(0, len(rows), _AT_ONCE):
        chosen = rows[start : start + _AT_ONCE]
        yield chosen, _images(bundle, patch_set, chosen)


def _images(bundle: Bundle, patch_set: PatchSet, rows: IntArray) -> list[NDArray[Any]]:
    wanted = bundle.manifest.input
    return [model_pixels(np.asarray(patch_set.images[row]), patch_set.max_value, wanted) for row in rows]


def _only(rows: TaskRows, kept: NDArray[np.bool_]) -> TaskRows:
    return TaskRows(rows.rows[kept], rows.labels[kept], rows.groups[kept], None, rows.is_grouped)


def _predicted(
    bundle: Bundle, patch_set: PatchSet, rows: TaskRows, units: IntArray | None
) -> tuple[FloatArray, FeatureNovelty | None]:
    """Probabilities of the images, or of their units in the order of `scored_units`, shape (n, classes).

    And what the features say of the images; None for a model without a novelty score.
    """
    baselines, types = _baselines(bundle, patch_set, rows.rows), _types(bundle, patch_set, rows.rows)
    found, p_values = [], []
    for start, (_, images) in zip(
        range(0, len(rows.rows), _AT_ONCE), _batches(bundle, patch_set, rows.rows), strict=True
    ):
        own = slice(start, start + _AT_ONCE)
        pairs = [] if baselines is None else _images(bundle, patch_set, baselines[own])
        rows_of_images, own_p = bundle.predict_with_novelty(images, baselines=pairs, types=types[own])
        found.append(rows_of_images)
        p_values.append(np.zeros(0) if own_p is None else own_p)
    facts = bundle.manifest.novelty
    novelty = None if facts is None else FeatureNovelty(np.concatenate(p_values), facts.patients)
    predicted = np.concatenate(found)
    if units is not None:
        predicted = bundle.combine(predicted, [str(unit) for unit in units])
    return predicted.astype(np.float64), novelty


def _baselines(bundle: Bundle, patch_set: PatchSet, rows: IntArray) -> IntArray | None:
    if not bundle.manifest.takes("baseline"):
        return None
    lacking = len(rows) if patch_set.partners is None else int((patch_set.partners[rows] < 0).sum())
    if patch_set.partners is None or lacking:
        raise DataError(
            f"this model compares each image with a healthy baseline; {lacking} of {len(rows)} images of "
            f"{patch_set.source} have none. Give data in pairs"
        )
    return np.asarray(patch_set.partners[rows])


def _types(bundle: Bundle, patch_set: PatchSet, rows: IntArray) -> list[str]:
    if not bundle.manifest.takes("finding_type"):
        return []
    if patch_set.label_codes in ("task", "own"):
        raise DataError(
            f"this model is told the type of each finding, and the labels of {patch_set.source} do not say "
            "it; give data with finding codes"
        )
    kinds = TASKS["mass_calcification"].classify(patch_set.labels[rows], patch_set.label_codes)
    if (kinds == LEFT_OUT).any():
        raise DataError(
            f"this model is told the type of each finding; {int((kinds == LEFT_OUT).sum())} of {len(rows)} "
            f"images of {patch_set.source} are neither a mass nor a calcification: leave them out"
        )
    return [FINDING_TYPES[kind] for kind in kinds.tolist()]


def _said_of_copies(rows: TaskRows, is_copy: NDArray[np.bool_], kept: NDArray[np.bool_], what: str) -> str:
    names = list(dict.fromkeys(rows.groups[is_copy].tolist()))
    named = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
    unit, copies = group_unit(rows.groups), int(is_copy.sum())
    whose = of_groups(len(names), unit)
    return (
        f"{count_text(copies, 'image')}{whose} {'was' if copies == 1 else 'were'} {what} ({named}): "
        f"these {unit}s are left out, with {count_text(int((~kept).sum()), 'image')} in all"
    )


def _said_of_sizes(bundle: Bundle, patch_set: PatchSet) -> list[str]:
    kinds = unlike(patch_set.images.shape[1:3], bundle.manifest.input.trained_shape)
    return [f"the images {UNLIKE_NOTES[kind]}" for kind in kinds]
