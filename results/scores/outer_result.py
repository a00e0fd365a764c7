"""The score of a whole search: what it ships, on patients that no part of it has seen.

A search runs once without each outer fold, and predicts that fold. Metrics of the ranking are the mean over
outer folds of the score within each, since the scores of two searches cannot be compared; all others pool
the folds, each calibrated and decided by the rule that its own search has fitted. Intervals are over
patients, and cover other training parts as those of a cross-validation do (see `auc_interval`).

Source:
    Varma and Simon (2006), BMC Bioinformatics 7:91; Cawley and Talbot (2010), JMLR 11:2079; Nadeau and Bengio
    (2003), Machine Learning 52:239.
"""

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from pydantic import FiniteFloat, ValidationError

from results.errors import DamagedFileError
from results.run.outer_fold import ROLES, FoldPredictions, OuterFold, Role
from results.run.records import OutOfFold
from results.run.run_folder import RunFolder
from results.run.split_labels import GROUPED, SplitName
from results.scores.auc_interval import fold_inflation
from results.scores.decision_intervals import decision_intervals
from results.scores.decisions import confusion, decisions
from results.scores.fold_scores import mean_over_folds
from results.scores.influence import decision_influences, influences, probability_influences
from results.scores.interval import QUANTILE, Interval
from results.scores.joint_comparison import told_errors
from results.scores.metric import Metric
from results.scores.metric_interval import metric_interval, pooled_interval
from results.scores.metrics import STANDARD, metric_named
from results.scores.ranking import Objectives
from trainables.common.frozen import FrozenModel
from trainables.common.types import FloatArray, IntArray
from trainables.config.unit_config import UnitName
from trainables.data.group_names import GroupUnit


class RoleScore(FrozenModel):
    """Score of one of the models that each inner search has, on the outer folds.

    Attributes:
        value: The search metric with its 95 % interval.
        inner_value: What the inner searches claim for it, the mean over them.
        optimism: By how much that claim is too good; a positive number whatever the metric's direction.
        by_fold: The search metric in each outer fold.
        metrics: Metric -> value, at the thresholds and with the calibrations of the inner searches.
        names: What it is in each outer fold, such as `ensemble average`.
        settings: Main settings in each outer fold.
    """

    value: Interval
    inner_value: FiniteFloat
    optimism: FiniteFloat
    by_fold: tuple[FiniteFloat, ...]
    metrics: dict[str, FiniteFloat]
    names: tuple[str, ...]
    settings: tuple[str, ...]


class Stability(FrozenModel):
    """How much the best trials of the inner searches have in common.

    Attributes:
        agreement: Share of the settings that the searches vary on which two winners agree, the mean over
            pairs of searches; None where nothing varies.
        by_chance: The same share for two complete trials drawn at random.
        shared: Setting -> value that the winners of all inner searches have, of those that vary.
    """

    agreement: FiniteFloat | None
    by_chance: FiniteFloat | None
    shared: dict[str, Any]


class OuterCost(FrozenModel):
    """What the nested search took.

    Attributes:
        plain_seconds: Seconds of all trials of the search itself.
        nested_seconds: Seconds of all trials of the inner searches.
        features_computed: Feature files that the inner searches computed, since no trial had asked for them.
        features_again: Feature files that were computed although they had been before.
        features_read: Feature files that they read.
    """

    plain_seconds: FiniteFloat
    nested_seconds: FiniteFloat
    features_computed: int
    features_again: int
    features_read: int

    @property
    def ratio(self) -> float | None:
        """Seconds of the inner searches for each second of the search itself; None where it took none."""
        return self.nested_seconds / self.plain_seconds if self.plain_seconds else None


class OuterResult(FrozenModel):
    """`outer.json`: the score of a search as a procedure.

    Attributes:
        folds: Number of outer folds.
        trials: Number of trials of each inner search that ended.
        asked: Number of trials that each inner search was to run.
        metric: Metric that the search optimises, the first of several.
        patients: Number of patients, or of images or their groups without patients, in the outer folds.
        group_unit: What `patients` counts.
        images: Number of images, or units, that were scored.
        scores: Role -> score. `shipped` is what the search ships; `incumbent` is its best trial,
            `first_point` the first trial that it tried, and `baseline` the best trial on colour and intensity
            alone. The last two are missing where an inner search has none.
        gains: Role -> value of `shipped` minus that of `first_point` or `baseline`, paired, with its 95 %
            interval; positive is better whatever the metric's direction.
        stability: What the winners have in common.
        cost: What it took.
        plain_value: What the search itself claims for what it ships; None where it ships nothing.
        plain_best: Value of its best trial.
        caveats: What cannot be claimed, in sentences.
        split: Name of the kind of split.
        unit: What was scored.
        finished_at: Time of its end, with time zone.
        outdated: Sentence that says so where the search has had other trials since, by whoever reads it of a
            run folder; empty where it is that of the search as it is.
    """

    folds: int
    trials: tuple[int, ...]
    asked: int
    metric: str
    patients: int
    group_unit: GroupUnit = "patient"
    images: int
    scores: dict[Role, RoleScore]
    gains: dict[Role, Interval]
    stability: Stability
    cost: OuterCost
    plain_value: FiniteFloat | None = None
    plain_best: FiniteFloat | None = None
    caveats: tuple[str, ...] = ()
    split: SplitName = GROUPED
    unit: UnitName = "image"
    finished_at: datetime.datetime
    outdated: str = ""

    @property
    def shipped(self) -> RoleScore:
        """Score of what the search ships."""
        return self.scores["shipped"]


@dataclass(frozen=True, slots=True)
class _Judged:
    """Predictions of one role on all outer folds, and the thresholds of each image's own search."""

    predictions: OutOfFold
    thresholds: Mapping[str, FloatArray]

    def decided(self, metric: str) -> IntArray:
        """Decided classes at the threshold of each image's own search, shape (images,)."""
        own, probabilities = self.thresholds.get(metric, self.thresholds[""]), self.predictions.probabilities
        found = np.empty(len(own), dtype=np.int64)
        for threshold in np.unique(own):
            places = own == threshold
            found[places] = decisions(probabilities[places], float(threshold))
        return found


def score_outer(
    folds: Sequence[tuple[OuterFold, FoldPredictions]], objectives: Objectives, *, seed: int
) -> tuple[dict[Role, RoleScore], dict[Role, Interval]]:
    """Score all roles on the outer folds, and what is gained over the simpler ones; pure.

    Args:
        folds: All outer folds with their predictions, in order.
        objectives: What the search optimises.
        seed: Random seed of the intervals.

    Returns:
        Role -> score, for roles that every inner search has; and role -> gain of what is shipped over it.

    Raises:
        OneClassError: If no outer fold holds two classes, and the metric needs them.
    """
    roles = [role for role in ROLES if all(role in fold.models for fold, _ in folds)]
    judged = {role: _judged(role, folds) for role in roles}
    scores = {role: _role_score(role, judged[role], folds, objectives, seed) for role in roles}
    main = metric_named(objectives.metrics[0])
    gains: dict[Role, Interval] = {
        role: _difference(main, judged["shipped"], judged[role])
        for role in roles
        if role in ("first_point", "baseline")
    }
    return scores, gains


def stability_of(folds: Sequence[OuterFold]) -> Stability:
    """Compare the winners of the inner searches; pure."""
    varied = sorted({name for fold in folds for name, shares in fold.choices.items() if len(shares) > 1})
    winners = [{name: str(fold.winner.get(name)) for name in varied} for fold in folds]
    shared = {
        name: folds[0].winner.get(name) for name in varied if len({winner[name] for winner in winners}) == 1
    }
    pairs = list(combinations(range(len(folds)), 2))
    if not varied or not pairs:
        return Stability(agreement=None, by_chance=None, shared=shared)
    same = [winners[one][name] == winners[other][name] for one, other in pairs for name in varied]
    chance = [
        sum(share * folds[other].choices.get(name, {}).get(value, 0.0) for value, share in own.items())
        for one, other in pairs
        for name in varied
        if (own := folds[one].choices.get(name, {}))
    ]
    return Stability(agreement=float(np.mean(same)), by_chance=float(np.mean(chance)), shared=shared)


def shares_of(configs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return setting -> share of each value, as text, among configurations; numbers on a scale are left out.

    >>> shares_of([{"model.cut": "top", "optimizer.lr": 0.1}, {"model.cut": "block3", "optimizer.lr": 0.2}])
    {'model.cut': {'top': 0.5, 'block3': 0.5}}
    """
    names = dict.fromkeys(name for config in configs for name in config)
    found = {}
    for name in names:
        values = [config.get(name) for config in configs]
        if not any(isinstance(value, float) for value in values):
            counts = Counter(map(str, values))
            found[name] = {value: count / len(configs) for value, count in counts.items()}
    return found


def read_outer(run: RunFolder) -> OuterResult | None:
    """Read the result of a run's nested search, which says where it is outdated; None without one.

    Raises:
        DamagedFileError: If the file does not hold one.
    """
    try:
        found = OuterResult.model_validate_json(run.outer_file.read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, IsADirectoryError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "it is a folder"
        raise DamagedFileError(
            f"{run.outer_file} is not the result of a nested search ({said}); make it again with: "
            f"{run.command('nest')}"
        ) from error
    return found.model_copy(update={"outdated": said_of_age(run, found.asked)})


def trials_to_nest(run: RunFolder) -> int:
    """Return how many trials each inner search of a nested search has now.

    A search that ran out of time, or was interrupted, is repeated as it was: with the trials that it had.

    Args:
        run: Folder of the search.
    """
    request, terminated = run.search().request, run.search().terminated
    is_ended_by_number = terminated is not None and not request.fills_its_time
    return request.most_trials if is_ended_by_number else len(run.records())


def said_of_age(run: RunFolder, asked: int) -> str:
    """Return a sentence where the search has had other trials since it was nested; else nothing.

    Args:
        run: Folder of the search.
        asked: Number of trials of each inner search.
    """
    if not run.search_file.is_file() or asked == (now := trials_to_nest(run)):
        return ""
    return (
        f"The nested searches had {asked} trials, and this search has {now} now, so that this is no score of "
        f"what it ships now; to nest it again: {run.command('nest')}."
    )


def readable_outer(run: RunFolder) -> OuterResult | None:
    """Read the result of a run's nested search; None without one, and where the file is damaged."""
    try:
        return read_outer(run)
    except DamagedFileError:
        return None


def _judged(role: Role, folds: Sequence[tuple[OuterFold, FoldPredictions]]) -> _Judged:
    parts = [found for _, found in folds]
    sizes = [len(part.rows) for part in parts]
    names = dict.fromkeys(name for fold, _ in folds for name in fold.models[role].thresholds)
    thresholds = {
        name: np.repeat([_threshold(fold, role, name) for fold, _ in folds], sizes) for name in ("", *names)
    }
    predictions = OutOfFold(
        rows=np.concatenate([part.rows for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        folds=np.repeat(np.arange(len(parts)), sizes),
        groups=np.concatenate([part.groups for part in parts]),
        probabilities=np.concatenate([part.probabilities[role] for part in parts]).astype(np.float64),
    )
    return _Judged(predictions, thresholds)


def _threshold(fold: OuterFold, role: Role, metric: str) -> float:
    model = fold.models[role]
    return model.thresholds.get(metric, model.threshold)


def _role_score(
    role: Role,
    judged: _Judged,
    folds: Sequence[tuple[OuterFold, FoldPredictions]],
    objectives: Objectives,
    seed: int,
) -> RoleScore:
    main = metric_named(objectives.metrics[0])
    interval = _interval(main, judged, seed)
    inner = float(np.mean([fold.models[role].inner_value for fold, _ in folds]))
    sign = 1.0 if main.higher_is_better else -1.0
    shown = {name: metric_named(name) for name in (*STANDARD, *objectives.shown)}
    return RoleScore(
        value=interval,
        inner_value=inner,
        optimism=sign * (inner - interval.estimate),
        by_fold=tuple(_value(main, judged, judged.predictions.folds == place) for place in range(len(folds))),
        metrics={name: _value(metric, judged) for name, metric in shown.items()},
        names=tuple(fold.models[role].name for fold, _ in folds),
        settings=tuple(fold.models[role].settings for fold, _ in folds),
    )


def _value(metric: Metric, judged: _Judged, images: Any = slice(None)) -> float:
    own = judged.predictions
    labels, probabilities = own.labels[images], own.probabilities[images]
    if metric.within_folds:
        return mean_over_folds(metric, labels, probabilities, own.folds[images])
    if metric.judges_decisions:
        return float(metric(confusion(labels, judged.decided(metric.name)[images], probabilities.shape[1])))
    return float(metric(labels, probabilities))


def _interval(metric: Metric, judged: _Judged, seed: int) -> Interval:
    own = judged.predictions
    if metric.within_folds:
        return metric_interval(own, metric.name, [metric.name], seed=seed)
    inflation = fold_inflation(own.varying_parts)
    if metric.judges_decisions:
        return decision_intervals(
            own.labels,
            judged.decided(metric.name),
            own.groups,
            classes=own.probabilities.shape[1],
            seed=seed,
            metrics=[metric],
            inflation=inflation,
        )[metric.name]
    return pooled_interval(metric, own.labels, own.probabilities, own.groups, inflation=inflation)


def _difference(metric: Metric, one: _Judged, other: _Judged) -> Interval:
    """Value of one minus that of the other, paired by patient, positive where one is better."""
    sign = 1.0 if metric.higher_is_better else -1.0
    apart = _influences(metric, one) - _influences(metric, other)
    values, own = (_value(metric, one), _value(metric, other)), one.predictions
    estimate = sign * (values[0] - values[1])
    common = np.array([sum(values) / 2])
    found, _ = told_errors(apart[None], np.array([estimate]), common, metric=metric.name, predictions=own)
    error = float(found[0] * np.sqrt(fold_inflation(own.varying_parts)))
    return Interval(estimate, estimate - QUANTILE * error, estimate + QUANTILE * error)


def _influences(metric: Metric, judged: _Judged) -> FloatArray:
    own = judged.predictions
    if metric.within_folds:
        return influences(own, metric.name, [metric.name])
    if metric.judges_decisions:
        classes = own.probabilities.shape[1]
        return decision_influences(metric, own.labels, judged.decided(metric.name), own.groups, classes)
    return probability_influences(metric, own.labels, own.probabilities, own.groups)
