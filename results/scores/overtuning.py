"""Overtuning: how much of what a search has found is luck, and whether searching longer still pays.

The best of many trials scores too well, the more so the more trials there are: its score goes on rising when
what it is worth on new patients has stopped. All that is needed to tell the two apart are the out-of-fold
predictions of the trials.

Source:
    Schneider, Bischl and Feurer (2025), "Overtuning in hyperparameter optimization", AutoML; Tsamardinos,
    Greasidou and Borboudakis (2018), Machine Learning 107:1895; Cawley and Talbot (2010), JMLR 11:2079.
"""

from collections.abc import Sequence
from typing import Final, Literal

from pydantic import FiniteFloat

from results.run.records import OutOfFold
from results.run.split_labels import GROUPED, SplitName
from results.scores.interval import QUANTILE, Interval
from results.scores.joint_comparison import differences_to
from results.scores.metric_interval import metric_interval
from results.scores.metrics import metric_named
from results.scores.ranking import Objectives
from results.scores.resampled_selection import resample_selection
from results.scores.selection import selected_again
from trainables.common.frozen import FrozenModel
from trainables.common.text import count_text
from trainables.data.group_names import GroupUnit, group_unit

Verdict = Literal["too few trials", "luck", "settled", "pays", "flat"]

FEWEST_TRIALS: Final = 8  # complete ones; of fewer no half says anything
_MOSTLY: Final = 0.5  # share of a rise above which it is called luck


class Stage(FrozenModel):
    """A search after some of its trials.

    Attributes:
        trials: Number of complete trials.
        best: Number of the best of them.
        claimed: Its value, as the leaderboard shows it.
        corrected: What choosing the best of them is worth on patients that did not choose it.
    """

    trials: int
    best: int
    claimed: FiniteFloat
    corrected: FiniteFloat


class Overtuning(FrozenModel):
    """What a search has gained, and how much of that is luck.

    Attributes:
        metric: Metric that the search optimises, the first of several.
        default_trial: Number of the first complete trial: what one has without a search.
        default: Its value with its 95 % interval; nothing has chosen it.
        stages: The search after each complete trial, in order of their numbers.
        claimed: Value of the best trial, as the leaderboard shows it, with its interval.
        corrected: What choosing the best of all trials is worth, with the middle 95 % of the draws.
        gain: Value of the best trial, chosen anew without each fold, minus that of the first, paired, with
            its 95 % interval; positive is better.
        luck_share: Share of the rise from the first trial to the best one that is luck, in [0, 1]; None where
            nothing rose.
        late_claimed: Rise of the leaderboard's best since half of the trials; positive is better.
        late_corrected: Rise of what it is worth since then; it may be negative.
        noise: Standard error of the best trial's value, over patients and folds.
        nested: Score of what the search ships, on folds that had no part in choosing and fitting it; None
            without ensembles.
        outer: Nested score of the whole search; None where it was not nested.
        sealed: Score on the sealed part at its first opening by this run, which need not be of the best
            trial; None while it is sealed.
        sealed_model: Name of the model that this is the score of; empty while it is sealed.
        sealed_opening: Number of that opening, over all runs in the store, from 1; None while it is sealed.
        outdated: Sentences on an ensemble or a nested search of an earlier state of the search, if any.
        verdict: Whether searching longer pays, as a word; `sentence` says it.
        split: Name of the kind of split.
        group_unit: What the draws and intervals are over.
    """

    metric: str
    default_trial: int
    default: Interval
    stages: tuple[Stage, ...]
    claimed: Interval
    corrected: Interval
    gain: Interval
    luck_share: FiniteFloat | None
    late_claimed: FiniteFloat
    late_corrected: FiniteFloat
    noise: FiniteFloat
    nested: Interval | None = None
    outer: Interval | None = None
    sealed: Interval | None = None
    sealed_model: str = ""
    sealed_opening: int | None = None
    outdated: tuple[str, ...] = ()
    verdict: Verdict
    split: SplitName = GROUPED
    group_unit: GroupUnit = "patient"

    @property
    def optimism(self) -> float:
        """By how much the leaderboard's best is too good."""
        sign = 1.0 if metric_named(self.metric).higher_is_better else -1.0
        return sign * (self.claimed.estimate - self.corrected.estimate)

    @property
    def sentence(self) -> str:
        """Whether searching longer still pays, in one sentence or two."""
        return _SENTENCES[self.verdict](self)


def overtuning_of(
    trials: Sequence[tuple[int, OutOfFold]], objectives: Objectives, *, seed: int
) -> Overtuning:
    """Judge a search by the out-of-fold predictions of its complete trials; pure.

    Args:
        trials: Number and predictions of each complete trial, in the order in which the search handed them
            out; at least one.
        objectives: What the search optimises; its first metric is judged.
        seed: Random seed of the draws and intervals.

    Raises:
        DataError: If two trials do not hold the same images in the same folds.
        ScoreError: If there are too few patients of a class.
        OneClassError: If no fold holds two classes, and the metric needs them.
    """
    metric, names = metric_named(objectives.metrics[0]), objectives.metrics
    numbers, predictions = [number for number, _ in trials], [own for _, own in trials]
    sign = 1.0 if metric.higher_is_better else -1.0
    intervals = [metric_interval(one, metric.name, names, seed=seed) for one in predictions]
    resampled = resample_selection(predictions, metric.name, names, seed=seed)
    stages, best = [], 0
    for place, interval in enumerate(intervals):
        if sign * (interval.estimate - intervals[best].estimate) > 0:
            best = place
        stages.append(
            Stage(
                trials=place + 1,
                best=numbers[best],
                claimed=intervals[best].estimate,
                corrected=resampled.of_first(place + 1).estimate,
            )
        )
    half, last, default = stages[(len(stages) - 1) // 2], stages[-1], intervals[0]
    rise, real = sign * (last.claimed - default.estimate), sign * (last.corrected - default.estimate)
    found = Overtuning(
        metric=metric.name,
        default_trial=numbers[0],
        default=default,
        stages=tuple(stages),
        claimed=intervals[best],
        corrected=resampled.of_first(len(stages)),
        gain=_gain(predictions, objectives, sign, seed),
        luck_share=min(1.0, max(0.0, 1.0 - real / rise)) if rise > 0 else None,
        late_claimed=sign * (last.claimed - half.claimed),
        late_corrected=sign * (last.corrected - half.corrected),
        noise=(intervals[best].high - intervals[best].low) / (2 * QUANTILE),
        verdict="flat",
        group_unit=group_unit(predictions[0].groups),
    )
    return found.model_copy(update={"verdict": _verdict(found, half, last)})


def _gain(predictions: Sequence[OutOfFold], objectives: Objectives, sign: float, seed: int) -> Interval:
    """Gain of the selection over the first trial, both scored where neither was chosen."""
    main = Objectives(objectives.metrics[:1])
    again = selected_again(predictions, seed=seed, objectives=main)
    first = predictions[0].in_parts(again.folds)
    (found,) = differences_to(first, [again], seed=seed, objectives=main)
    if sign > 0:
        return found
    return Interval(-found.estimate, -found.high, -found.low)


def _verdict(found: Overtuning, half: Stage, last: Stage) -> Verdict:
    if last.trials < FEWEST_TRIALS:
        return "too few trials"
    share = found.luck_share
    is_luck = share is not None and (share > _MOSTLY or found.optimism > found.noise)
    if is_luck and found.gain.low <= 0:
        return "luck"
    if half.best == last.best:
        return "settled"
    return "pays" if found.late_corrected > found.noise else "flat"


def _text(value: float, metric: str, *, signed: bool = False) -> str:
    digits = max(2, metric_named(metric).digits) + 1
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"


def _said_of_few(found: Overtuning) -> str:
    return (
        f"{count_text(found.stages[-1].trials, 'complete trial')} say nothing about longer searches; "
        f"there must be {FEWEST_TRIALS}."
    )


def _said_of_luck(found: Overtuning) -> str:
    metric, last = metric_named(found.metric), found.stages[-1]
    rise = abs(last.claimed - found.default.estimate)
    return (
        f"Of the {_text(rise, found.metric)} by which the best of {last.trials} trials beats the first one, "
        f"{found.luck_share:.0%} is luck: chosen by other {found.group_unit}s, the best has {metric.header} "
        f"{_text(last.corrected, found.metric)}. Searching longer would fit these folds closer; more "
        f"{found.group_unit}s would help."
    )


def _said_of_settled(found: Overtuning) -> str:
    half, last = found.stages[(len(found.stages) - 1) // 2], found.stages[-1]
    return (
        f"Trial {last.best} was the best after {half.trials} of {last.trials} trials already, so searching "
        "longer hardly pays."
    )


def _late(found: Overtuning) -> str:
    half, last = found.stages[(len(found.stages) - 1) // 2], found.stages[-1]
    return (
        f"From {half.trials} to {last.trials} trials the best gained "
        f"{_text(found.late_corrected, found.metric, signed=True)} beyond luck (the leaderboard says "
        f"{_text(found.late_claimed, found.metric, signed=True)})"
    )


def _noise(found: Overtuning) -> str:
    return f"the noise of {found.group_unit}s and folds ({_text(found.noise, found.metric)})"


def _said_of_paying(found: Overtuning) -> str:
    return f"{_late(found)}, more than {_noise(found)}: searching longer still pays."


def _said_of_flat(found: Overtuning) -> str:
    return (
        f"{_late(found)}, less than {_noise(found)}: searching longer hardly pays on these "
        f"{found.group_unit}s."
    )


_SENTENCES: Final = {
    "too few trials": _said_of_few,
    "luck": _said_of_luck,
    "settled": _said_of_settled,
    "pays": _said_of_paying,
    "flat": _said_of_flat,
}
