"""Shortcuts: how well something that is not the tissue tells the label, by patient-grouped cross-validation.

Each is a linear discriminant on a few numbers of an image: its mean, its spread, its histogram, a thumbnail,
its border without the breast, and what is known about where it comes from. A model whose AUC is no better
than the best of them may have learned no more. The sealed test part is not looked at.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.audit.digests import ImageDigests
from orchestrator.audit.examined_set import ExaminedSet, is_known
from orchestrator.audit.origin import CATEGORIES, SIZE, categories_of
from results.run.audit_record import Finding, Shortcut
from results.run.records import OutOfFold
from results.scores.auc_interval import auc_interval
from results.scores.fold_scores import fold_areas
from trainables.common.types import Float32Array, Float64Array, IntArray
from trainables.config.classical_config import ClassicalConfig
from trainables.config.trial_config import ModelConfig, TrialConfig
from trainables.data.columns import SITES, names_of
from trainables.data.stratified_cut import grouped_cut
from trainables.estimators.estimator import Rows
from trainables.estimators.fitted import Affine
from trainables.estimators.kinds.lda import fit_lda

TELLS: Final = 0.60  # lower end of the interval of an AUC from which a shortcut is a warning
TELLS_THESE: Final = 0.75  # AUC from which it is one where few patients make the interval over patients wide

_FOLDS: Final = 5
# Of the covariance of standardised columns; AUCs as of logistic regression, in a quarter of the time.
_SHRINKAGE: Final = 0.3
_MOST_VALUES: Final = 20  # of a category; rarer ones are one value
_OF_PEOPLE: Final = ("age_years", "density")
_LEAST_OF_A_SITE: Final = 20  # images of a site, of which two classes, that an AUC is taken of


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What one shortcut sees."""

    name: str
    sees: str
    values: Float32Array


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of all shortcuts.

    Attributes:
        shortcuts: The best first.
        images: Number of images that they were scored on.
        unscored: Why none was scored, as the rest of a sentence; empty if they were.
    """

    shortcuts: tuple[Shortcut, ...]
    images: int
    unscored: str = ""


def score_shortcuts(examined: ExaminedSet, digests: ImageDigests, places: IntArray, seed: int) -> Scored:
    """Score what is not the tissue against the labels.

    Args:
        examined: The set.
        digests: Digests of the images to score.
        places: Their places in the rows of the task, outside the sealed test part, shape (n,).
        seed: Seed of the folds.
    """
    labels, groups = examined.rows.labels[places], examined.rows.groups[places]
    folds, reason = _folds(labels, groups, len(examined.task.classes), seed)
    if folds is None:
        return Scored((), 0, reason)
    found = []
    for inputs in _all_inputs(examined, digests, places):
        predictions = _out_of_fold(inputs.values, labels, groups, folds, len(examined.task.classes))
        interval = auc_interval(predictions)
        found.append(
            Shortcut(
                name=inputs.name,
                sees=inputs.sees,
                columns=inputs.values.shape[1],
                auc=interval.estimate,
                low=interval.low,
                high=interval.high,
                low_of_images=auc_interval(_by_image(predictions)).low,
                within_sites=_within_sites(predictions, examined, places),
            )
        )
    found.sort(key=lambda shortcut: -shortcut.auc)
    return Scored(tuple(found), len(places))


def findings_of_shortcuts(scored: Scored) -> list[Finding]:
    """Say which shortcuts tell the label: those whose interval lies above `TELLS`."""
    telling = [shortcut for shortcut in scored.shortcuts if _tells(shortcut)]
    if not telling:
        return []
    best = telling[0]
    more = f" (and {len(telling) - 1} more)" if len(telling) > 1 else ""
    whose = "" if best.low >= TELLS else " of these patients, who are too few to say so of others"
    text = f"{best.sees} alone tells the label{whose}{more}; a model has to beat that to have seen more"
    return [Finding(check="shortcut", is_warning=True, text=text, count=len(telling))]


def _tells(shortcut: Shortcut) -> bool:
    among_these = shortcut.auc >= TELLS_THESE and shortcut.low_of_images >= TELLS
    return shortcut.low >= TELLS or among_these


def _folds(
    labels: IntArray, groups: NDArray[np.str_], classes: int, seed: int
) -> tuple[IntArray | None, str]:
    fewest = min(len(np.unique(groups[labels == label])) for label in range(classes))
    if fewest < 2:
        return None, "a class has fewer than 2 patients"
    parts = grouped_cut(labels, groups, min(_FOLDS, fewest), seed)
    return np.array([parts[group] for group in groups.tolist()], dtype=np.int64), ""


def _all_inputs(examined: ExaminedSet, digests: ImageDigests, places: IntArray) -> Iterator[_Inputs]:
    colour = "colour" if digests.mean.shape[1] == 3 else "brightness"
    spread = np.concatenate([digests.mean, digests.deviation], axis=1)
    yield _Inputs("mean", f"the mean {colour}", digests.mean)
    yield _Inputs("variance", f"mean and spread of the {colour}", np.concatenate([spread, spread**2], axis=1))
    yield _Inputs("histogram", "the histogram", np.sqrt(digests.histogram))
    yield _Inputs("thumbnail", "a thumbnail of 16 x 16 pixels", digests.thumbnails)
    without = " without the breast" if digests.shows_background else ""
    yield _Inputs("border", f"the border of the image{without}", digests.border)
    categories = {name: values[places] for name, values in categories_of(examined).items()}
    size = [_numbers(examined, name, places) for name in ("height_px", "width_px")]
    if SIZE in categories:
        yield _Inputs(
            SIZE, "the size of the image", np.concatenate([*size, _one_hot(categories[SIZE])], axis=1)
        )
    for name in CATEGORIES:
        if name in categories and len(np.unique(categories[name])) > 1:
            yield _Inputs(name, f"the {name}", _one_hot(categories[name]))
    people = [name for name in _OF_PEOPLE if examined.column(name) is not None]
    if people:
        words = " and ".join(name.removesuffix("_years") for name in people)
        columns = [_numbers(examined, name, places) for name in people]
        yield _Inputs(words, words, np.concatenate(columns, axis=1))


def _numbers(examined: ExaminedSet, name: str, places: IntArray) -> Float32Array:
    """A column as numbers, and whether each is known; of texts, each value by itself."""
    values = examined.column(name)
    if values is None:
        return np.zeros((len(places), 0), dtype=np.float32)
    values = values[places]
    if values.dtype.kind not in "fiub":
        return _one_hot(values.astype(str))
    known = is_known(values)
    middle = np.median(values[known]) if known.any() else 0.0
    return np.stack([np.where(known, values, middle), known], axis=1).astype(np.float32)


def _one_hot(values: NDArray[np.str_]) -> Float32Array:
    names, counts = np.unique(values, return_counts=True)
    kept = names[np.argsort(-counts, kind="stable")][:_MOST_VALUES]
    return (values[:, None] == kept[None, :]).astype(np.float32)


def _out_of_fold(
    values: Float32Array, labels: IntArray, groups: NDArray[np.str_], folds: IntArray, classes: int
) -> OutOfFold:
    """Predictions of a linear discriminant for the images of each fold, fitted on the others."""
    trial = TrialConfig(
        model=ModelConfig(backbone="table"),
        classical=ClassicalConfig(name="lda", standardize=True, shrinkage=_SHRINKAGE),
    )
    probabilities = np.zeros((len(labels), classes))
    for fold in np.unique(folds):
        held_out = folds == fold
        own = labels[~held_out]
        if not np.ptp(own) or not np.ptp(values[~held_out], axis=0).any():  # nothing to learn
            probabilities[held_out] = np.bincount(own, minlength=classes) / len(own)
            continue
        weights = len(own) / (classes * np.maximum(np.bincount(own, minlength=classes), 1.0))
        fitted = fit_lda(trial, Rows(values[~held_out], own, groups[~held_out], classes, weights), 0)
        if not isinstance(fitted.rule, Affine):
            raise TypeError(f"a linear discriminant is affine, found {type(fitted.rule).__name__}")
        scores = (values[held_out] - fitted.rule.centre) @ fitted.rule.coefficients + fitted.rule.intercept
        probabilities[np.ix_(held_out, fitted.present)] = _as_probabilities(scores)
    return OutOfFold(np.arange(len(labels)), labels, folds, groups, probabilities)


def _by_image(predictions: OutOfFold) -> OutOfFold:
    """The same predictions as if each image were of its own patient."""
    return replace(predictions, groups=predictions.rows.astype(np.str_))


def _as_probabilities(scores: Float64Array) -> Float64Array:
    both = np.concatenate([np.zeros_like(scores), scores], axis=1) if scores.shape[1] == 1 else scores
    exponents: Float64Array = np.exp(both - both.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def _within_sites(predictions: OutOfFold, examined: ExaminedSet, places: IntArray) -> float | None:
    """Mean AUC within single sites, weighted by their images; None without two sites or their AUCs.

    Sites are those of the first column that gives one: the place before the device.
    """
    columns = (examined.column(name) for name in SITES)
    found = (_within(predictions, names_of(values[places])) for values in columns if values is not None)
    return next((area for area in found if area is not None), None)


def _within(predictions: OutOfFold, sites: NDArray[np.str_]) -> float | None:
    """The same of one column: the site of each image, "" where it is unknown, shape (n,)."""
    names, found = np.unique(sites[sites != ""]), []
    for site in names:
        at = sites == site
        if at.sum() < _LEAST_OF_A_SITE or np.ptp(predictions.labels[at]) == 0:
            continue
        if areas := fold_areas(predictions.where(at)):
            found.append((float(np.mean(areas)), int(at.sum())))
    if len(names) < 2 or not found:
        return None
    values, counts = zip(*found, strict=True)
    return float(np.average(values, weights=counts))
