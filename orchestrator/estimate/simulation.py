"""What a search would do and take, before it runs: nothing is started, no run folder is written.

Points are drawn from the space as the search would draw its first ones, recipes first, and each is priced by
what was measured here a moment ago. Which of them the search will really try, and how long it lets them
train, is chance: so many searches are drawn and run in thought, and the spread of their times is reported.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from heapq import heapreplace
from statistics import fmean
from typing import Final

import numpy as np

from orchestrator.estimate.cost_model import CostModel, FeatureRequirement, TrialCost
from orchestrator.preflight.preflight import Preflight
from orchestrator.study.pruners import REDUCTION, first_rung
from results.run.split_labels import GROUPED, NAIVE, SplitName
from trainables.common.errors import ConfigError
from trainables.data.splits import TEST, TRAINING
from trainables.runtime.devices import choose_device
from trainables.training.cost_probe import measure_crowding, peak_memory_bytes

_RANDOM_POINTS: Final = 24  # priced; a longer search draws them again
_DRAWS: Final = 200
_DRAWN_TRIALS: Final = 20_000  # of all draws together, so that a plan for a thousand trials takes seconds too
_NEVER_PRUNED: Final = 4
_START_SECONDS: Final = 12.0  # Ray, workers that import torch, the closing leaderboard
_TRIAL_SECONDS: Final = 0.3  # building the models, writing weights and record


@dataclass(slots=True)
class SimulatedSearch:
    """A search run in thought.

    Attributes:
        durations: Seconds of each trial, in order.
        prefix_seconds: By backbone.
        training_seconds: By backbone.
        trials: By backbone.
        passes: (key, view) of every pass, in order.
        stored_bytes: By backbone.
    """

    durations: list[float] = field(default_factory=list)
    prefix_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    training_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    trials: Counter[str] = field(default_factory=Counter)
    passes: list[tuple[str, str]] = field(default_factory=list)
    stored_bytes: Counter[str] = field(default_factory=Counter)


def simulate_search(
    trials: Sequence[tuple[TrialCost, int]], warm: AbstractSet[FeatureRequirement], *, is_stored: bool = True
) -> SimulatedSearch:
    """Add up what a search takes, trial by trial; what one trial stored, the next ones read.

    Args:
        trials: Points with the number of epochs that each runs.
        warm: Features that are in the store already.
        is_stored: False where every trial computes its features for itself.
    """
    held, outcome = set(warm), SimulatedSearch()
    for point, epochs in trials:
        held = held if is_stored else set()
        prefix = 0.0
        for need in point.needs:
            if need in held:
                continue
            new = {tap for tap in point.fills if FeatureRequirement(need.key, need.view, tap) not in held}
            held |= {FeatureRequirement(need.key, need.view, tap) for tap in new}
            prefix += point.pass_seconds
            outcome.passes.append((need.key, need.view))
            outcome.stored_bytes[point.backbone] += sum(point.fills[tap] for tap in new) if is_stored else 0
        training = epochs * point.epoch_seconds + _TRIAL_SECONDS
        outcome.trials[point.backbone] += 1
        outcome.prefix_seconds[point.backbone] += prefix
        outcome.training_seconds[point.backbone] += training
        outcome.durations.append(prefix + training)
    return outcome


def finish_times(durations: Sequence[float], slots: int) -> list[float]:
    """When each trial ends, if each starts on the slot that is free first.

    >>> ends([3.0, 1.0, 1.0, 4.0], slots=2)
    [3.0, 1.0, 2.0, 6.0]
    """
    free, found = [0.0] * slots, []
    for seconds in durations:
        end = free[0] + seconds
        heapreplace(free, end)
        found.append(end)
    return found


def draw_epochs(point: TrialCost, number: int, random: np.random.Generator) -> int:
    """Draw for how many epochs a trial runs.

    Its best epoch may be any; patience stops it some epochs later. At every rung half of the trials are
    pruned, apart from recipes and the first four.

    Args:
        point: The trial.
        number: Its place in the search, from 0.
        random: Decides.
    """
    epochs = point.epochs
    if point.patience is not None:
        epochs = min(epochs, int(random.integers(1, point.epochs + 1)) + point.patience)
    rung = first_rung(point.epochs)
    while rung < epochs and number >= _NEVER_PRUNED and not point.is_recipe:
        if random.random() > 1 / REDUCTION:
            return rung
        rung *= REDUCTION
    return epochs


def draw_search(
    points: Sequence[TrialCost], trials: int, random: np.random.Generator
) -> Iterator[tuple[TrialCost, int]]:
    """Draw the trials of a search: recipes first, then others at random, each with its epochs."""
    recipes = [point for point in points if point.is_recipe]
    others = [point for point in points if not point.is_recipe] or recipes
    for number in range(trials):
        point = recipes[number] if number < len(recipes) else others[int(random.integers(len(others)))]
        yield point, draw_epochs(point, number, random)


@dataclass(frozen=True, slots=True)
class BackboneEstimate:
    """What a search would do with one backbone; means over the searches that were drawn.

    Attributes:
        backbone: Name.
        weights: Where its weights come from.
        trials: That try it.
        keys: Combinations of contrast and size whose features are computed or read.
        warm_views: Views of these keys that the store holds already.
        views: Views to compute.
        passes: Images to send through it.
        stored_bytes: Disk that the features take.
        prefix_seconds: Worker time of the passes.
        training_seconds: Worker time of all that trains.
    """

    backbone: str
    weights: str
    trials: float
    keys: float
    warm_views: int
    views: float
    passes: int
    stored_bytes: int
    prefix_seconds: float
    training_seconds: float


@dataclass(frozen=True, slots=True)
class KeyEstimate:
    """A prefix key that the priced points read: backbone, contrast and size with its views.

    Attributes:
        backbone: Name.
        contrast: Factor.
        size_px: Side of the input.
        views: Views that some point reads.
        warm_views: Views of them that the store holds.
        chance: Share of the drawn searches that compute something of it, in [0, 1].
    """

    backbone: str
    contrast: float
    size_px: int
    views: int
    warm_views: int
    chance: float


@dataclass(frozen=True, slots=True)
class DataPart:
    """A part of the data: the folds together, the two parts of a hold-out, or the sealed test part.

    Attributes:
        name: `folds`, `training`, `validation` or `test`.
        images: Class -> number.
        groups: Class -> patients, or images where no patient is known; one with both classes counts twice.
        all_groups: Number of all of them.
    """

    name: str
    images: dict[str, int]
    groups: dict[str, int]
    all_groups: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a search would do and take.

    Attributes:
        task: Name.
        source: Of the images.
        is_synthetic: The images are generated.
        is_grouped: Groups are patients.
        split: What scores of the search will be named after.
        parts: Of the data.
        folds: Of the cross-validation.
        trials: Asked for.
        recipes: Points that are tried first.
        priced_points: Configurations whose cost was measured or looked up.
        backbones: In use.
        left_out: Backbone -> why it has no part.
        keys: Of the priced points.
        slots: Trials at once.
        crowding: How many times as long a worker takes while all work.
        worker_bytes: Memory of a worker.
        prefix_seconds: Worker time for features, mean.
        training_seconds: Worker time for training, mean.
        seconds: From start to end: 10th, 50th and 90th percentile of the drawn searches.
        searches: That were drawn.
        budget_seconds: After which the search stops; None for no limit.
        trials_in_budget: That end within it, median; all of them without a limit.
    """

    task: str
    source: str
    is_synthetic: bool
    is_grouped: bool
    split: SplitName
    parts: tuple[DataPart, ...]
    folds: int
    trials: int
    recipes: int
    priced_points: int
    backbones: tuple[BackboneEstimate, ...]
    left_out: dict[str, str]
    keys: tuple[KeyEstimate, ...]
    slots: int
    crowding: float
    worker_bytes: int
    prefix_seconds: float
    training_seconds: float
    seconds: tuple[float, float, float]
    searches: int
    budget_seconds: float | None
    trials_in_budget: int


def estimate_search(preflight: Preflight) -> Estimate:
    """Price points of a surveyed search and run searches over them in thought.

    Args:
        preflight: From `orchestrator.preflight.preflight.run_preflight`.

    Raises:
        ConfigError: If the data are a table.
    """
    if preflight.patch_set.is_table:
        raise ConfigError(
            "a plan prices passes through nets, and a table has none: a classical model is fitted in about a "
            "second. Start the search right away"
        )
    request = preflight.request
    trials = request.trials
    device = choose_device(preflight.gpus_per_trial)
    crowding = measure_crowding(preflight.slots) if device.type == "cpu" else float(preflight.slots)
    cost_model = CostModel(
        patch_set=preflight.patch_set,
        rows=preflight.rows,
        split=preflight.split,
        inventory=preflight.inventory,
        feasible=preflight.feasible,
        store=preflight.store,
        device=device,
        crowding=crowding,
        features=request.features,
    )
    recipes = len(preflight.initial_points)
    drawn = preflight.points[: recipes + _RANDOM_POINTS]
    points = [cost_model.cost_of(config, is_recipe=number < recipes) for number, config in enumerate(drawn)]
    warm = cost_model.warm(points)
    random = np.random.default_rng(0)
    count = max(20, min(_DRAWS, _DRAWN_TRIALS // trials))
    outcomes = [
        simulate_search(list(draw_search(points, trials, random)), warm, is_stored=request.features != "off")
        for _ in range(count)
    ]
    budget = None if request.minutes is None else 60.0 * request.minutes
    ending = [np.array(finish_times(outcome.durations, preflight.slots)) for outcome in outcomes]
    wall = [_START_SECONDS + min(float(own.max()), budget or np.inf) for own in ending]
    low, middle, high = (float(value) for value in np.percentile(wall, (10, 50, 90)))
    return Estimate(
        task=preflight.task.name,
        source=preflight.patch_set.source,
        is_synthetic=preflight.patch_set.is_synthetic,
        is_grouped=preflight.rows.is_grouped,
        split=NAIVE if preflight.split.is_naive else GROUPED,
        parts=_parts(preflight),
        folds=preflight.split.folds,
        trials=trials,
        recipes=min(recipes, trials),
        priced_points=len(points),
        backbones=_backbone_plans(preflight, cost_model, points, warm, outcomes),
        left_out=preflight.feasible.left_out,
        keys=_key_plans(cost_model, points, warm, outcomes),
        slots=preflight.slots,
        crowding=crowding,
        worker_bytes=peak_memory_bytes() + max(point.memory_bytes for point in points),
        prefix_seconds=float(np.mean([sum(own.prefix_seconds.values()) for own in outcomes])),
        training_seconds=float(np.mean([sum(own.training_seconds.values()) for own in outcomes])),
        seconds=(low, middle, high),
        searches=count,
        budget_seconds=budget,
        trials_in_budget=int(np.median([(own <= (budget or np.inf)).sum() for own in ending])),
    )


def _parts(preflight: Preflight) -> tuple[DataPart, ...]:
    folds, rows = preflight.split.folds_of(preflight.rows), preflight.rows
    places = {"folds": folds != TEST, "test": folds == TEST}
    if preflight.split.holdout is not None:
        places = {"training": folds == TRAINING, "validation": folds == 0, "test": folds == TEST}
    found = []
    for name, chosen in places.items():
        by_class = {
            label: rows.groups[chosen & (rows.labels == index)]
            for index, label in enumerate(preflight.task.classes)
        }
        found.append(
            DataPart(
                name=name,
                images={label: len(groups) for label, groups in by_class.items()},
                groups={label: len(set(groups.tolist())) for label, groups in by_class.items()},
                all_groups=len(set(rows.groups[chosen].tolist())),
            )
        )
    return tuple(found)


def _backbone_plans(
    preflight: Preflight,
    cost_model: CostModel,
    points: Sequence[TrialCost],
    warm: AbstractSet[FeatureRequirement],
    outcomes: Sequence[SimulatedSearch],
) -> tuple[BackboneEstimate, ...]:
    images = len(preflight.rows.rows)
    plans = []
    for name in preflight.feasible.context.backbones:
        file = preflight.inventory.usable[name]
        passes = [
            [place for place in own.passes if cost_model.keys[place[0]].backbone == name] for own in outcomes
        ]
        needs = {need for point in points if point.backbone == name for need in point.needs}
        plans.append(
            BackboneEstimate(
                backbone=name,
                weights="none: trains from scratch" if file is None else f"ImageNet, {file.origin}",
                trials=fmean(own.trials[name] for own in outcomes),
                keys=fmean(len({key for key, _ in own}) for own in passes),
                warm_views=len({(need.key, need.view) for need in needs & warm}),
                views=fmean(len(own) for own in passes),
                passes=round(images * fmean(len(own) for own in passes)),
                stored_bytes=round(fmean(own.stored_bytes[name] for own in outcomes)),
                prefix_seconds=fmean(own.prefix_seconds[name] for own in outcomes),
                training_seconds=fmean(own.training_seconds[name] for own in outcomes),
            )
        )
    return tuple(plans)


def _key_plans(
    cost_model: CostModel,
    points: Sequence[TrialCost],
    warm: AbstractSet[FeatureRequirement],
    outcomes: Sequence[SimulatedSearch],
) -> tuple[KeyEstimate, ...]:
    needs = {need for point in points for need in point.needs}
    return tuple(
        KeyEstimate(
            backbone=facts.backbone,
            contrast=facts.contrast,
            size_px=facts.size_px,
            views=len({need.view for need in needs if need.key == key}),
            warm_views=len({need.view for need in needs & warm if need.key == key}),
            chance=fmean(any(key == passed for passed, _ in own.passes) for own in outcomes),
        )
        for key, facts in sorted(
            cost_model.keys.items(), key=lambda item: (item[1].backbone, item[1].contrast)
        )
    )
