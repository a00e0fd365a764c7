"""The candidates of an ensemble: out-of-fold predictions of several trials, aligned by row."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.errors import EnsembleError
from results.run.records import OutOfFold
from results.scores.calibration import log_odds
from results.scores.fold_scores import objective_value_of
from results.scores.metrics import mean_fold_auc
from results.scores.ranking import BY_AUC, Objectives
from results.scores.selection import best_by
from trainables.common.types import FloatArray, IntArray

_SAME_OPINION: Final = MappingProxyType({"ridge": "logistic", "linear_svm": "logistic"})
_DIGITS: Final = 6  # predictions that are equal to so many are those of one model


@dataclass(frozen=True, slots=True)
class Members:
    """Out-of-fold predictions of several trials on the same images.

    Attributes:
        trials: Trial numbers, in the order of the first axis of `probabilities`.
        rows: Row of each image in the patch set, ascending, shape (images,).
        labels: Class indices, shape (images,).
        folds: Fold that held the image out, shape (images,).
        groups: Patient of each image, shape (images,).
        probabilities: Class probabilities in [0, 1], shape (members, images, classes).
        objectives: What the search optimises and requires: members are ranked, and weights found, by it.
        costs: Metric -> value of each member, for metrics that predictions do not tell; may be empty.
        kinds: Kind of each member, see `kind_of`; may be empty, then they are of one kind.
        baselines: Numbers of the trials on colour and intensity only.
    """

    trials: tuple[int, ...]
    rows: IntArray
    labels: IntArray
    folds: IntArray
    groups: NDArray[np.str_]
    probabilities: FloatArray
    objectives: Objectives = BY_AUC
    costs: tuple[Mapping[str, float], ...] = ()
    kinds: tuple[str, ...] = ()
    baselines: frozenset[int] = frozenset()

    @property
    def simplest(self) -> "Members":
        """The members on colour and intensity only; there may be none."""
        return self.only([place for place, trial in enumerate(self.trials) if trial in self.baselines])

    def kind(self, member: int) -> str:
        """Return the kind of the member at a position."""
        return self.kinds[member] if self.kinds else ""

    def only(self, members: Sequence[int]) -> "Members":
        """Keep the members at these positions, in this order."""
        return replace(
            self,
            trials=tuple(self.trials[index] for index in members),
            probabilities=self.probabilities[list(members)],
            costs=tuple(self.costs[index] for index in members) if self.costs else (),
            kinds=tuple(self.kinds[index] for index in members) if self.kinds else (),
        )

    def where(self, images: NDArray[Any]) -> "Members":
        """Keep some images, given by a mask or by positions of shape (images,)."""
        return replace(
            self,
            rows=self.rows[images],
            labels=self.labels[images],
            folds=self.folds[images],
            groups=self.groups[images],
            probabilities=self.probabilities[:, images],
        )

    def order(self, number: int) -> list[int]:
        """Return the positions of the best members by what the search optimises, best first.

        Of equals the earlier comes first, and those that miss a requirement come last. Of members with the
        same predictions the first counts: the same model again is no other opinion.
        """
        ordered = best_by(
            self.labels,
            self.probabilities,
            self.folds,
            len(self.trials),
            groups=self.groups,
            objectives=self.objectives,
            costs=self.costs,
        )
        found: dict[bytes, int] = {}
        for position in ordered:
            found.setdefault(np.round(self.probabilities[position], _DIGITS).tobytes(), position)
            if len(found) == number:
                break
        return list(found.values())

    def merits(self, candidates: FloatArray) -> FloatArray:
        """Return a number for each candidate that is larger for better ones, by the main metric.

        Args:
            candidates: Predictions of the same images, shape (candidates, images, classes).

        Returns:
            The metric, or its negative where smaller is better, shape (candidates,).
        """
        main = self.objectives.main
        if main.metric == "auc":
            return np.asarray(mean_fold_auc(self.labels, candidates, self.folds))
        values = [
            objective_value_of(self.out_of_fold(own), main.metric, self.objectives) for own in candidates
        ]
        return np.array([main.merit(value) for value in values])

    def out_of_fold(self, probabilities: FloatArray) -> OutOfFold:
        """Take predictions of shape (images, classes) as out-of-fold predictions of the same images."""
        return OutOfFold(self.rows, self.labels, self.folds, self.groups, probabilities)


def align(
    trials: Mapping[int, OutOfFold],
    *,
    objectives: Objectives = BY_AUC,
    costs: Mapping[int, Mapping[str, float]] = MappingProxyType({}),
    kinds: Mapping[int, str] = MappingProxyType({}),
    baselines: Collection[int] = (),
) -> Members:
    """Align the out-of-fold predictions of several trials, in order of their rows.

    Args:
        trials: Trial number -> predictions; at least one.
        objectives: What the search optimises and requires.
        costs: Trial number -> metric -> value, for metrics that predictions do not tell.
        kinds: Trial number -> kind, see `kind_of`; may be empty.
        baselines: Numbers of the trials on colour and intensity only.

    Raises:
        EnsembleError: If there are none, or two trials do not hold the same images, labels, folds or groups.
    """
    if not trials:
        raise EnsembleError(
            "an ensemble needs at least one complete trial, found none; run more trials first"
        )
    sorted_trials = {number: _by_row(predictions) for number, predictions in trials.items()}
    first_number, first = next(iter(sorted_trials.items()))
    for number, other in sorted_trials.items():
        for field in ("rows", "labels", "folds", "groups"):
            if not np.array_equal(getattr(first, field), getattr(other, field)):
                raise EnsembleError(
                    f"members of an ensemble need the same {field}; those of trials "
                    f"{first_number} and {number} differ ({len(first.rows)} and {len(other.rows)} images). "
                    "Use trials of one split"
                )
    probabilities = np.stack([one.probabilities for one in sorted_trials.values()]).astype(np.float64)
    return Members(
        tuple(sorted_trials),
        first.rows,
        first.labels,
        first.folds,
        first.groups,
        probabilities,
        objectives,
        tuple(costs.get(number, {}) for number in sorted_trials) if objectives.costs else (),
        tuple(kinds.get(number, "") for number in sorted_trials) if kinds else (),
        frozenset(baselines),
    )


def kind_of(config: Mapping[str, Any]) -> str:
    """Return the kind of a model: the nets whose features it sees, and its head; two kinds are two opinions.

    Ridge and linear machines count as logistic regression, which errs on the same images.

    >>> kind_of({"model.backbone": "vgg16", "model.also": ["texture/top"], "classical.name": "lda"})
    'texture+vgg16, lda'
    >>> kind_of({"model.backbone": "vgg16", "model.trained_stages": 2, "classical.name": "none"})
    'vgg16, fine-tuned'

    Args:
        config: Dotted setting -> value of a trial.
    """
    nets = {str(config.get("model.backbone", ""))}
    nets |= {str(tap).partition("/")[0] for tap in config.get("model.also") or () if "/" in str(tap)}
    head = str(config.get("classical.name", "none"))
    head = _SAME_OPINION.get(head, head)
    if head == "none":
        head = "fine-tuned" if config.get("model.trained_stages") else "trained head"
    return f"{'+'.join(sorted(nets))}, {head}"


def positive_logits(probabilities: FloatArray) -> FloatArray:
    """Turn predictions of shape (members, images, 2) into inputs of a stacked model, shape (images, members).

    Raises:
        EnsembleError: If there are not two classes.
    """
    if probabilities.shape[-1] != 2:
        raise EnsembleError(
            f"a stacked ensemble needs two classes, found {probabilities.shape[-1]}; "
            "use the methods average, greedy or grid"
        )
    return log_odds(probabilities).T


def two_columns(positive: FloatArray) -> FloatArray:
    """Turn positive probabilities of shape (images,) into those of both classes, shape (images, 2)."""
    return np.stack([1 - positive, positive], axis=1)


def _by_row(predictions: OutOfFold) -> OutOfFold:
    return predictions.where(np.argsort(predictions.rows, kind="stable"))
