"""What a data set holds: counts, histograms, sizes, samples of each class, and odd images."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat

from orchestrator.audit.digests import BINS, ImageDigests, digest_images
from orchestrator.audit.examined_set import ExaminedSet, is_known
from orchestrator.audit.origin import CATEGORIES, categories_of, unknown_origins
from orchestrator.description.odd_images import odd_images
from trainables.common.frozen import FrozenModel
from trainables.common.text import printable
from trainables.common.types import IntArray
from trainables.data.columns import PLACES

SAMPLES: Final = 12  # images of a class that are shown
_SHOWN_ODD: Final = 12  # of each reason
_MOST_IMAGES: Final = 20_000  # that are looked at
_MOST_BYTES: Final = 8e9
_MOST_VALUES: Final = 12  # of a column; rarer ones are counted together
_SEED: Final = 0
_DECADE: Final = 10
_QUANTILES: Final = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


class Count(FrozenModel):
    """Number of images and patients that share a value.

    Attributes:
        value: The value, in words; `unknown` where the set does not say it.
        images: Number of images of each class, in order of the classes.
        patients: Number of patients; None where patients are not known.
    """

    value: str
    images: tuple[int, ...]
    patients: int | None


class Sizes(FrozenModel):
    """Sizes of what the images show.

    Attributes:
        what: What was measured, such as `box_width`.
        quantiles: 0, 5, 25, 50, 75, 95 and 100 % of all images, in pixels.
    """

    what: str
    quantiles: tuple[FiniteFloat, ...]


class Odd(FrozenModel):
    """Images that do not look like the others, for one reason.

    Attributes:
        reason: Name of the reason, such as `blank`.
        count: Number of images.
        names: Names of the first of them.
        rows: Their rows in the set.
    """

    reason: str
    count: int
    names: tuple[str, ...]
    rows: tuple[int, ...]


class Sample(FrozenModel):
    """Images of one class, drawn at random, at most one a patient where there are enough.

    Attributes:
        name: Name of the class.
        names: Names of the images.
        rows: Their rows in the set.
    """

    name: str
    names: tuple[str, ...]
    rows: tuple[int, ...]


class SetDescription(FrozenModel):
    """A data set in numbers.

    Attributes:
        source: Name of the data source.
        is_synthetic: True where the images are generated.
        fingerprint: Hash of the content.
        task: Name of the task.
        question: The task as a question.
        classes: Names of the classes.
        images: Number of images that have a part in the task.
        looked_at: Number of images whose pixels were looked at.
        patients: Number of patients; None where not known.
        shape: Shape of an image.
        dtype: Number type of the pixels.
        max_value: Pixel value that is white.
        counts: Column -> its values, the most frequent first: class, part, images of a patient, view, ...
        histograms: Class -> share of its pixels in each bin, channel by channel.
        brightness: Class -> 5, 25, 50, 75 and 95 % of the mean values of its images, in shares of the range.
        sizes: Sizes of files and boxes, where they are known.
        odd: Images that do not look like the others.
        samples: Images of each class.
        lacks: What the set does not say, such as `vendor`.
    """

    source: str
    is_synthetic: bool
    fingerprint: str
    task: str
    question: str
    classes: tuple[str, ...]
    images: int
    looked_at: int
    patients: int | None
    shape: tuple[int, ...]
    dtype: str
    max_value: FiniteFloat
    counts: dict[str, tuple[Count, ...]]
    histograms: dict[str, tuple[FiniteFloat, ...]]
    brightness: dict[str, tuple[FiniteFloat, ...]]
    sizes: tuple[Sizes, ...]
    odd: tuple[Odd, ...]
    samples: tuple[Sample, ...]
    lacks: tuple[str, ...]


def describe_set(examined: ExaminedSet) -> SetDescription:
    """Describe a set for a task.

    Args:
        examined: The set; a set of measurements has no histograms, sizes, samples and odd images.
    """
    patch_set, rows = examined.patch_set, examined.rows
    places = _looked_at(examined)
    digests = None
    if not patch_set.is_table:
        digests = digest_images(patch_set.images, rows.rows[places], patch_set.max_value)
    labels = rows.labels[places]
    known = {name: examined.column(name) for name in ("density", "age_years")}
    return SetDescription(
        source=printable(patch_set.source, keeps=""),
        is_synthetic=patch_set.is_synthetic,
        fingerprint=patch_set.fingerprint,
        task=examined.task.name,
        question=examined.task.question,
        classes=examined.task.classes,
        images=len(rows.rows),
        looked_at=len(places),
        patients=_patients(examined, np.ones(len(rows.rows), bool)),
        shape=patch_set.images.shape[1:],
        dtype=patch_set.images.dtype.name,
        max_value=patch_set.max_value,
        counts=_all_counts(examined),
        histograms={} if digests is None else _by_class(examined, labels, _histogram, digests),
        brightness={} if digests is None else _by_class(examined, labels, _brightness, digests),
        sizes=_sizes(examined),
        odd=() if digests is None else _odd(examined, digests, places),
        samples=() if digests is None else _samples(examined, places),
        lacks=(
            *(("patient",) if patch_set.patients is None else ()),
            *unknown_origins(examined, _ORIGINS),
            *(name for name, values in known.items() if values is None),
        ),
    )


# Which of them are missing is said; a hospital or an institution is a site under another name.
_ORIGINS: Final = tuple(name for name in CATEGORIES if name == "site" or name not in PLACES)


def _looked_at(examined: ExaminedSet) -> IntArray:
    count, image_bytes = len(examined.rows.rows), examined.patch_set.images[:1].nbytes
    most = int(min(_MOST_IMAGES, max(1.0, _MOST_BYTES // max(1, image_bytes))))
    if count <= most:
        return np.arange(count, dtype=np.int64)
    return np.sort(np.random.default_rng(_SEED).choice(count, most, replace=False)).astype(np.int64)


def _patients(examined: ExaminedSet, is_part: NDArray[np.bool_]) -> int | None:
    patients = examined.patch_set.patients
    return None if patients is None else len(np.unique(patients[examined.rows.rows[is_part]]))


def _all_counts(examined: ExaminedSet) -> dict[str, tuple[Count, ...]]:
    rows = examined.rows
    found = {"class": _counts(examined, np.array(examined.task.classes)[rows.labels], keeps_order=True)}
    if rows.is_test is not None:
        found["part of the data"] = _counts(examined, np.where(rows.is_test, "test", "training"))
    if rows.is_extra is not None:
        found["extra images"] = _counts(examined, np.where(rows.is_extra, "extra", "scored"))
    if rows.is_grouped:
        _, group, counts = np.unique(rows.groups, return_inverse=True, return_counts=True)
        found["images of a patient"] = _counts(examined, _binned(counts[group]), keeps_order=True)
    for name, values in categories_of(examined).items():
        found[name] = _counts(examined, values)
    density = examined.column("density")
    if density is not None:
        found["density"] = _counts(examined, _as_text(density), keeps_order=True)
    age = examined.column("age_years")
    if age is not None and age.dtype.kind in "fiu":
        found["age"] = _counts(examined, _decades(age), keeps_order=True)
    return found


def _counts(
    examined: ExaminedSet, values: NDArray[np.str_], *, keeps_order: bool = False
) -> tuple[Count, ...]:
    """Images and patients of each value; the most frequent first, or in order of the values."""
    names, counts = np.unique(values, return_counts=True)
    order = np.arange(len(names)) if keeps_order else np.argsort(-counts, kind="stable")
    if keeps_order and set(names.tolist()) <= set(examined.task.classes):
        order = np.array([names.tolist().index(one) for one in examined.task.classes if one in names])
    kept = names[order][:_MOST_VALUES]
    found = [_count(examined, printable(str(name), keeps="") or "unknown", values == name) for name in kept]
    rest = ~np.isin(values, kept)
    if rest.any():
        found.append(_count(examined, f"{len(names) - len(kept)} more", rest))
    return tuple(found)


def _count(examined: ExaminedSet, value: str, is_part: NDArray[np.bool_]) -> Count:
    labels = examined.rows.labels[is_part]
    images = np.bincount(labels, minlength=len(examined.task.classes))
    return Count(value=value, images=tuple(images.tolist()), patients=_patients(examined, is_part))


def _binned(counts: IntArray) -> NDArray[np.str_]:
    """Numbers of images in ranges that sort as they are counted: 1, 2, 3 to 4, 5 to 8, ..."""
    power = np.ceil(np.log2(np.maximum(counts, 1))).astype(int)
    low = np.where(power > 0, 2 ** np.maximum(power - 1, 0) + 1, 1)
    pairs = zip(low.tolist(), (2**power).tolist(), strict=True)
    texts = [f"{high}" if low == high else f"{low} to {high}" for low, high in pairs]
    width = max(len(text.split()[0]) for text in texts)
    return np.array([" " * (width - len(text.split()[0])) + text for text in texts])


def _as_text(values: NDArray[Any]) -> NDArray[np.str_]:
    if values.dtype.kind == "f":
        pairs = zip(values.tolist(), is_known(values).tolist(), strict=True)
        return np.array([f"{one:g}" if is_there else "" for one, is_there in pairs])
    return values.astype(str)


def _decades(age: NDArray[Any]) -> NDArray[np.str_]:
    known = is_known(age.astype(float))
    decade = np.where(known, age, 0).astype(int) // _DECADE * _DECADE
    texts = [
        f"{low} to {low + _DECADE - 1}" if is_there else ""
        for low, is_there in zip(decade, known, strict=True)
    ]
    return np.array(texts)


def _by_class(
    examined: ExaminedSet, labels: IntArray, statistic: Any, digests: ImageDigests
) -> dict[str, tuple[float, ...]]:
    return {
        name: statistic(digests.of(np.flatnonzero(labels == label)))
        for label, name in enumerate(examined.task.classes)
        if (labels == label).any()
    }


def _histogram(digests: ImageDigests) -> tuple[float, ...]:
    return tuple(np.round(digests.histogram.mean(axis=0), 5).tolist())


def _brightness(digests: ImageDigests) -> tuple[float, ...]:
    means = digests.mean.mean(axis=1)
    return tuple(np.round(np.quantile(means, _QUANTILES[1:-1]), 4).tolist())


def _sizes(examined: ExaminedSet) -> tuple[Sizes, ...]:
    found = []
    for name in ("height_px", "width_px", "box_height", "box_width"):
        values = examined.column(name)
        if values is not None and values.dtype.kind in "fiu":
            quantiles = np.quantile(values[is_known(values)].astype(float), _QUANTILES)
            found.append(Sizes(what=name, quantiles=tuple(np.round(quantiles, 1).tolist())))
    return tuple(found)


def _odd(examined: ExaminedSet, digests: ImageDigests, places: IntArray) -> tuple[Odd, ...]:
    rows, shapes = examined.rows.rows[places], examined.patch_set.file_shapes
    found = odd_images(digests, None if shapes is None else shapes[rows])
    return tuple(
        Odd(
            reason=reason,
            count=len(odd),
            names=tuple(examined.name(int(row)) for row in rows[odd[:_SHOWN_ODD]]),
            rows=tuple(rows[odd[:_SHOWN_ODD]].tolist()),
        )
        for reason, odd in found.items()
    )


def _samples(examined: ExaminedSet, places: IntArray) -> tuple[Sample, ...]:
    found = []
    rng = np.random.default_rng(_SEED)
    for label, name in enumerate(examined.task.classes):
        own = rng.permutation(places[examined.rows.labels[places] == label])
        first = np.unique(examined.rows.groups[own], return_index=True)[1]
        one_each = own[np.sort(first)]
        others = own[~np.isin(own, one_each)]
        rows = examined.rows.rows[np.concatenate([one_each, others])[:SAMPLES]]
        names = tuple(examined.name(int(row)) for row in rows)
        found.append(Sample(name=name, names=names, rows=tuple(rows.tolist())))
    return tuple(found)


def bins_of(histogram: tuple[float, ...]) -> NDArray[np.float64]:
    """Return a histogram of a description channel by channel, shape (channels, BINS)."""
    return np.asarray(histogram).reshape(-1, BINS)
