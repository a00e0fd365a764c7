"""Prediction of files with a bundle: it needs the folder and ONNX Runtime, but neither the search nor torch.

Files are read and predicted batch by batch, so that memory does not grow with their number, and a file that
cannot be used is named at the end and costs the others nothing.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.errors import ExportError
from results.export.exported_model import Bundle, load_bundle
from results.export.file_reading import read_for
from results.export.image_reading import NOTES
from results.export.input_checks import check_given, check_sizes, check_units
from results.export.likeness import UNLIKE_NOTES
from results.export.view_and_side import Stated, check_stated, each_of
from results.novelty.reference import is_at_most
from trainables.common.errors import DataError, OrchestrateError
from trainables.common.text import count_text
from trainables.config.unit_config import PLURALS
from trainables.data.dicom.reading import is_dicom, read_headers

_HELD_FILES: Final = 64  # images that are read before they are predicted, and
_HELD_PIXELS: Final = 1 << 25  # their pixels, unless a single image has more: both bound the memory
_NAMED: Final = 3  # files that a note lists by name

__all__ = [
    "Bundle",
    "FileFault",
    "Prediction",
    "Predictions",
    "load_bundle",
    "predict_files",
]


@dataclass(frozen=True, slots=True)
class Prediction:
    """Prediction of a model for one file, or for one unit.

    Attributes:
        file: Path of the file as given; of a unit, its name.
        probabilities: Probability of each class, in the bundle's order; they sum to 1.
        probability: Probability of the positive class; beyond two classes, of the predicted one.
        predicted_class: Name of the class that is called.
        threshold: Smallest probability that is called positive; None beyond two classes.
        images: Number of images that were predicted; 1 for a single file.
        triage: Outcome of the rule of two thresholds; empty for a bundle without one.
        novelty_p: Share of training images, of patients that were left out, that are as unlike the others as
            this one; of a unit that of its most unlike image, times their number. None for a model without a
            novelty score.
        place: Place of the file among those given, 0-based; of a unit, that of its first image which was
            predicted. A file may be given twice, with another type, view or baseline.
        left_out: Paths of the images of a unit that could not be used, so that it was predicted without
            them; empty for a single file.
    """

    file: str
    probabilities: tuple[float, ...]
    probability: float
    predicted_class: str
    threshold: float | None
    images: int = 1
    triage: str = ""
    novelty_p: float | None = None
    place: int = 0
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileFault:
    """A file that was not predicted.

    Attributes:
        file: Path of the file as given.
        reason: Reason, in a sentence that names it.
        place: Place of the file among those given, 0-based.
    """

    file: str
    reason: str
    place: int = 0


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions of files.

    Attributes:
        predictions: Predictions in the order of the files.
        notes: Sentences on what was done to files.
        faults: Files left out.
        not_reached: Number of files that an interruption came before.
    """

    predictions: tuple[Prediction, ...]
    notes: tuple[str, ...]
    faults: tuple[FileFault, ...] = ()
    not_reached: int = 0


@dataclass(frozen=True, slots=True)
class _Given:
    """What belongs to one image: its place among those given, its files, and what is stated of it."""

    place: int
    files: tuple[Path, ...]  # the image, and its baseline
    types: tuple[str, ...]
    stated: Stated  # of the film that they are of


@dataclass(frozen=True, slots=True)
class _Loaded:
    """Pixels of an image and its baseline, and keys of notes for each of both."""

    given: _Given
    pixels: tuple[NDArray[Any], ...]
    changes: tuple[tuple[str, ...], ...]


def predict_files(
    bundle: Bundle,
    paths: Sequence[Path],
    *,
    baselines: Sequence[Path] = (),
    types: Sequence[str] = (),
    units: Sequence[str] = (),
    stated: Sequence[Stated] = (),
    keeps_interrupted: bool = False,
) -> Predictions:
    """Predict image files, or the units that they make up.

    Args:
        bundle: An opened bundle.
        paths: DICOM, PNG, JPEG, TIFF, PGM or BMP files, 8 or 16 bit, grey or colour, of any size that is not
            far from that of the training images; whole mammograms for a model of prepared ones.
        baselines: Files of the healthy baselines, in the same order, if the model takes them.
        types: `mass` or `calcification`, one for all or one each, if the model takes the type.
        units: Name of the breast, exam or patient of each file, if the model predicts those. A unit of which
            some file cannot be used is predicted from the others, and a note says so.
        stated: View and side of mammograms that a model makes ready, one for all or one each; they go before
            those of the files.
        keeps_interrupted: Once a file is predicted, Ctrl-C ends the work and not the call: what is predicted
            is returned, without units of which a file was not reached.

    Returns:
        One prediction for each file that can be used, or for each unit with such files, in order; notes on
        changes that made files fit; and the files that cannot be used, with their reasons.

    Raises:
        ExportError: If the model takes other baselines or types, or no view or side, or no file can be used.
    """
    check_given(bundle.manifest, images=len(paths), baselines=len(baselines), types=types)
    check_units(bundle.manifest, images=len(paths), units=units)
    check_stated(bundle.preparation, images=len(paths), stated=stated)
    predicted: dict[int, tuple[NDArray[Any], float | None]] = {}
    faults: dict[int, FileFault] = {}
    changed: list[tuple[Path, tuple[str, ...]]] = []
    try:
        for batch in _batches(bundle, _given(paths, baselines, types, stated), faults):
            rows_of_batch = _predicted(bundle, batch, faults)
            changed += [pair for one in batch for pair in zip(one.given.files, one.changes, strict=True)]
            predicted |= rows_of_batch
    except KeyboardInterrupt:
        if not keeps_interrupted:
            raise
    not_reached = [place for place in range(len(paths)) if place not in predicted and place not in faults]
    if units:
        torn = {units[place] for place in not_reached}
        predicted = {place: row for place, row in predicted.items() if units[place] not in torn}
    if not_reached and not predicted:
        raise KeyboardInterrupt
    ordered_faults = tuple(faults[place] for place in sorted(faults))
    if ordered_faults and not predicted:
        named = "; ".join(fault.reason for fault in ordered_faults[:_NAMED])
        raise ExportError(named + _rest(ordered_faults))
    places = sorted(predicted)
    rows, novelty = (
        np.stack([predicted[place][0] for place in places]),
        [predicted[place][1] for place in places],
    )
    if units:
        found = _of_units(bundle, rows, novelty, {place: units[place] for place in places})
        found = _without_left_out(found, ordered_faults, units)
    else:
        found = _predictions(bundle, [str(paths[place]) for place in places], rows)
        found = tuple(
            replace(one, novelty_p=p, place=place)
            for one, p, place in zip(found, novelty, places, strict=True)
        )
    notes = (*_notes(changed), *novelty_notes(bundle, found))
    if units:
        given = each_of(stated, len(paths))
        notes += torn_notes(
            bundle, found, [(units[one.place], one, given[one.place]) for one in ordered_faults]
        )
    return Predictions(found, notes, ordered_faults, len(not_reached))


def _of_units(
    bundle: Bundle, rows: NDArray[Any], novelty: Sequence[float | None], unit_at: Mapping[int, str]
) -> tuple[Prediction, ...]:
    """Predictions of units, from those of their images; `unit_at` has the unit of each by its place."""
    units = list(unit_at.values())
    counts = Counter(units)
    lowest: dict[str, float] = {}
    for name, p in zip(units, novelty, strict=True):
        if p is not None:
            lowest[name] = min(p * counts[name], lowest.get(name, 1.0))
    first = {name: place for place, name in reversed(list(unit_at.items()))}
    found = _predictions(bundle, list(dict.fromkeys(units)), bundle.combine(rows, units))
    return tuple(
        replace(one, images=counts[one.file], novelty_p=lowest.get(one.file), place=first[one.file])
        for one in found
    )


def _without_left_out(
    found: Sequence[Prediction], faults: Sequence[FileFault], units: Sequence[str]
) -> tuple[Prediction, ...]:
    """Predictions of units, with the files that they lack."""
    lacking: dict[str, list[str]] = {}
    for fault in faults:
        lacking.setdefault(units[fault.place], []).append(fault.file)
    return tuple(replace(one, left_out=tuple(lacking.get(one.file, ()))) for one in found)


def torn_notes(
    bundle: Bundle, predictions: Sequence[Prediction], faults: Sequence[tuple[str, FileFault, Stated]]
) -> tuple[str, ...]:
    """Return sentences on the units whose images could not all be used; none where all could.

    Args:
        bundle: The model, of units.
        predictions: Its predictions.
        faults: Unit of each file that could not be used, the fault, and what was stated of the film.
    """
    plural = PLURALS[bundle.manifest.unit]
    missing: dict[str, list[str]] = {}
    for unit, fault, stated in faults:
        missing.setdefault(unit, []).append(_with_view(Path(fault.file), stated))
    torn = [f"{one.file} without {', '.join(missing[one.file])}" for one in predictions if one.left_out]
    lost = [unit for unit in missing if unit not in {one.file for one in predictions}]
    notes = []
    if torn:
        notes.append(
            f"{len(torn)} of {len(predictions)} {plural} are predicted from a part of their images: "
            f"{'; '.join(torn[:_NAMED])}{'; ...' if len(torn) > _NAMED else ''}"
        )
    if lost:
        notes.append(f"{count_text(len(lost), 'unit')} without a file that can be used: {_named_few(lost)}")
    return tuple(notes)


def _with_view(path: Path, stated: Stated) -> str:
    """The name of a file with the side and view that are stated of it, by the user or its own header."""
    side, view = stated.side, stated.view
    if (side is None or view is None) and is_dicom(path):
        with contextlib.suppress(DataError):  # a header may be as damaged as the pixels
            header = read_headers(path)
            side, view = side or header.laterality, view or header.view
    known = " ".join(word for word in (side, view) if word)
    return f"{path.name} ({known})" if known else path.name


def is_unlike(bundle: Bundle, one: Prediction) -> bool | None:
    """Tell whether an image, or a unit, is unlike the training images; None without a novelty score."""
    novelty = bundle.manifest.novelty
    if novelty is None or one.novelty_p is None:
        return None
    return bool(is_at_most(one.novelty_p, novelty.level))


def novelty_notes(bundle: Bundle, predictions: Sequence[Prediction]) -> tuple[str, ...]:
    """Return a sentence on the images that are unlike the training images; none where all are like them."""
    novelty = bundle.manifest.novelty
    names = [Path(one.file).name for one in predictions if is_unlike(bundle, one)]
    if novelty is None or not names:
        return ()
    what = "images are" if bundle.manifest.unit == "image" else f"{PLURALS[bundle.manifest.unit]} are"
    return (
        f"{len(names)} of {len(predictions)} {what} unlike the training images (novelty p of "
        f"{novelty.level:g} or less): {_named_few(names)}. What the model says of them may mean nothing",
    )


def _given(
    paths: Sequence[Path], baselines: Sequence[Path], types: Sequence[str], stated: Sequence[Stated]
) -> list[_Given]:
    each = list(types) if len(types) == len(paths) else list(types) * len(paths)
    return [
        _Given(place, (path, *baselines[place : place + 1]), tuple(each[place : place + 1]), own)
        for place, (path, own) in enumerate(zip(paths, each_of(stated, len(paths)), strict=True))
    ]


def _batches(
    bundle: Bundle, given: Sequence[_Given], faults: dict[int, FileFault]
) -> Iterator[list[_Loaded]]:
    """Read images until enough are held; a file that cannot be read becomes a fault."""
    held: list[_Loaded] = []
    for one in given:
        try:
            held.append(_load(bundle, one))
        except Exception as error:  # of any reader: the file is named, and the others go on
            faults[one.place] = _fault(one, error)
        pixels = sum(image.size for loaded in held for image in loaded.pixels)
        if len(held) >= _HELD_FILES or pixels >= _HELD_PIXELS:
            yield held
            held = []
    if held:
        yield held


def _load(bundle: Bundle, given: _Given) -> _Loaded:
    pixels, changes = zip(*(read_for(bundle, path, given.stated) for path in given.files), strict=True)
    if bundle.manifest.input.resized is None:  # else both are brought to one size
        check_sizes(pixels[:1], pixels[1:])
    return _Loaded(given, pixels, changes)


def _predicted(
    bundle: Bundle, batch: Sequence[_Loaded], faults: dict[int, FileFault]
) -> dict[int, tuple[NDArray[Any], float | None]]:
    """Predict a batch; if it fails, one by one, so that only those that fail are left out."""
    try:
        found, novelty = bundle.predict_with_novelty(
            [one.pixels[0] for one in batch],
            baselines=[one.pixels[1] for one in batch if len(one.pixels) > 1],
            types=[name for one in batch for name in one.given.types],
        )
    except (OrchestrateError, MemoryError) as error:
        if len(batch) > 1:
            alone = [_predicted(bundle, [one], faults) for one in batch]
            return {place: row for each in alone for place, row in each.items()}
        faults[batch[0].given.place] = _fault(batch[0].given, error)
        return {}
    each = [None] * len(found) if novelty is None else novelty.tolist()
    return {one.given.place: (row, p) for one, row, p in zip(batch, found, each, strict=True)}


def _predictions(
    bundle: Bundle, names: Sequence[str], probabilities: NDArray[np.float32]
) -> tuple[Prediction, ...]:
    called = bundle.decide(probabilities).tolist()
    return tuple(
        _prediction(bundle, name, row, index, outcome)
        for name, row, index, outcome in zip(
            names, probabilities, called, bundle.triage(probabilities), strict=True
        )
    )


def _prediction(bundle: Bundle, name: str, row: NDArray[np.float32], index: int, outcome: str) -> Prediction:
    threshold = bundle.manifest.threshold
    return Prediction(
        file=name,
        probabilities=tuple(row.tolist()),
        probability=float(row[index] if threshold is None else row[1]),
        predicted_class=bundle.manifest.classes[index],
        threshold=threshold,
        triage=outcome,
    )


def _fault(given: _Given, error: Exception) -> FileFault:
    path = given.files[0]
    said = " ".join(str(error).split()) or type(error).__name__
    if not any(str(file) in said for file in given.files):
        said = f"{path} cannot be used: {said}"
    return FileFault(str(path), said, given.place)


def _rest(faults: Sequence[FileFault]) -> str:
    return f"; and {count_text(len(faults) - _NAMED, 'more file')}" if len(faults) > _NAMED else ""


def _notes(changed: Sequence[tuple[Path, tuple[str, ...]]]) -> tuple[str, ...]:
    notes = []
    for kind, sentence in (NOTES | UNLIKE_NOTES).items():
        names = [path.name for path, done in changed if kind in done]
        if names:
            notes.append(f"{len(names)} of {len(changed)} images {sentence}: {_named_few(names)}")
    return tuple(notes)


def _named_few(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
