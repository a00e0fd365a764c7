"""Estimate of a search before it runs: nothing is started, no run folder is written.

Points are drawn from the space as the search would draw its first ones, recipes first, and the cost of each
follows from measurements on this machine. Which of them the search will really try, and for how many epochs,
is chance: many searches are drawn and simulated, and the spread of their times is reported.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from statistics import fmean
from typing import Final

import numpy as np

from cluster.own_ray import bytes_for_trials
from orchestrator.estimate.cost_model import CostModel, FeatureRequirement, TrialCost
from orchestrator.estimate.drawn_search import (
    START_SECONDS,
    SimulatedSearch,
    TimeShares,
    draw_search,
    finish_times,
    simulate_search,
)
from orchestrator.estimate.nested import NestedEstimate, estimate_nested
from orchestrator.preflight.preflight import Preflight
from orchestrator.preflight.pricing import prices_of
from orchestrator.reporting.compute_savings import count_images
from orchestrator.study.method import asked_method
from results.run.search_request import DEFAULT_TRIALS, TRIALS_OF_TIME
from results.run.split_labels import GROUPED, NAIVE, SplitName
from trainables.common.errors import ConfigError
from trainables.common.types import FloatArray
from trainables.data.split_record import TEST, TRAINING
from trainables.models.weights import weights_text
from trainables.runtime.devices import choose_device
from trainables.training.cost_probe import measure_crowding, peak_memory_bytes

_RANDOM_POINTS: Final = 24  # with an estimated cost; a longer search draws them again
_DRAWS: Final = 200
_DRAWN_TRIALS: Final = 20_000  # of all draws together, so that a plan for a thousand trials takes seconds too

_Drawn = list[tuple[TrialCost, int]]  # trials of a search, each with its epochs


@dataclass(frozen=True, slots=True)
class BackboneEstimate:
    """The part of one backbone in a search; means over the simulated searches.

    Attributes:
        backbone: Name of the backbone.
        weights: Origin of its weights.
        trials: Number of trials that use it; one on several backbones counts for each of them.
        keys: Combinations of contrast and size whose features are computed or read.
        warm_views: Views of these keys that the store holds already.
        views: Views to compute.
        passes: Images to send through it.
        stored_bytes: Bytes of disk for its features.
        prefix_seconds: Worker seconds of the passes.
        training_seconds: Worker seconds of training, of a head on several backbones for its first.
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
    """A prefix key that the estimated points read: backbone, contrast and size with its views.

    Attributes:
        backbone: Name of the backbone.
        contrast: Contrast factor.
        size_px: Side of the input in pixels.
        views: Views that at least one point reads.
        warm_views: Those of these views that the store holds already.
        chance: Share of the simulated searches that compute a view of it, in [0, 1].
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
        images: Class -> number of images.
        groups: Class -> number of patients, or of images where no patient is known; a patient with images of
            both classes counts twice.
        all_groups: Number of patients, or of images where no patient is known, each counted once.
    """

    name: str
    images: dict[str, int]
    groups: dict[str, int]
    all_groups: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """Estimate of a search: its data, its backbones, and the time, memory and disk that it will take.

    Attributes:
        task: Name of the task.
        source: Source of the images.
        is_synthetic: The images are generated.
        is_grouped: Groups are patients.
        split: Name of the kind of split, which scores of the search will carry.
        parts: Parts of the data.
        folds: Number of folds of the cross-validation.
        trials: Number of trials asked for; where the time limit alone ends the search, about as many as fit.
        sampler: Name of the sampler; it has no effect on the estimate.
        pruner: Name of the pruner.
        recipes: Number of recipe points, which are tried first.
        priced_points: Number of configurations whose cost was measured or looked up.
        backbones: Backbones in use.
        left_out: Backbone -> reason why it takes no part.
        keys: Prefix keys of the estimated points.
        slots: Number of trials at once.
        crowding: Slowdown of a worker while all workers run, as a factor.
        worker_bytes: Bytes of memory of a worker.
        prefix_seconds: Worker seconds for features, mean.
        training_seconds: Worker seconds for training, mean.
        seconds: Seconds from start to end: 10th, 50th and 90th percentile of the simulated searches.
        searches: Number of simulated searches.
        budget_seconds: Time budget of the search; None for no limit.
        trials_in_budget: Number of trials that end within the budget, median; all of them without a limit.
        nested: What a nested search takes besides; None where none is asked for.
    """

    task: str
    source: str
    is_synthetic: bool
    is_grouped: bool
    split: SplitName
    parts: tuple[DataPart, ...]
    folds: int
    trials: int
    sampler: str
    pruner: str
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
    nested: NestedEstimate | None = None


def estimate_search(preflight: Preflight) -> Estimate:
    """Estimate the cost of points of a search and simulate searches over them.

    Args:
        preflight: Result of `orchestrator.preflight.preflight.run_preflight`.

    Raises:
        ConfigError: If the data are a table.
    """
    if preflight.patch_set.is_table:
        raise ConfigError(
            "a plan prices passes through nets, and a table has none: a classical model is fitted in about a "
            "second. Start the search right away"
        )
    request = preflight.request
    sampler, pruner = asked_method(request, folds=preflight.split.folds)
    device = choose_device(preflight.gpus_per_trial)
    crowding = measure_crowding(preflight.slots) if device.type == "cpu" else float(preflight.slots)
    cost_model = CostModel(
        patch_set=preflight.patch_set,
        rows=preflight.rows,
        split=preflight.split,
        inventory=preflight.inventory,
        feasible=preflight.feasible,
        prices=prices_of(preflight.feasible, count_images(preflight.split, preflight.task.classes)),
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
    is_stored = request.features != "off"
    budget = None if request.minutes is None else 60.0 * request.minutes
    worker_bytes = peak_memory_bytes() + max(point.memory_bytes for point in points)
    slots = _slots(preflight, worker_bytes)

    def shares() -> TimeShares | None:
        return None if budget is None else TimeShares(budget, slots, warm if is_stored else frozenset())

    def drawn_searches(trials: int) -> list[_Drawn]:
        count = max(20, min(_DRAWS, _DRAWN_TRIALS // trials))
        return [
            list(draw_search(points, trials, pruner, random, longest=request.epochs, shares=shares()))
            for _ in range(count)
        ]

    def ends(searches: Sequence[_Drawn]) -> tuple[list[SimulatedSearch], list[FloatArray]]:
        found = [simulate_search(search, warm, is_stored=is_stored) for search in searches]
        return found, [np.array(finish_times(outcome.durations, slots)) for outcome in found]

    trials = request.asked_trials
    if trials is None:
        trials = _fitting(lambda number: ends(drawn_searches(number))[1], budget or np.inf)
    searches = drawn_searches(trials)
    outcomes, ending = ends(searches)
    wall = [START_SECONDS + min(float(own.max()), budget or np.inf) for own in ending]
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
        sampler=sampler.name,
        pruner=pruner.name,
        recipes=min(recipes, trials),
        priced_points=len(points),
        backbones=_backbone_plans(preflight, cost_model, points, warm, outcomes),
        left_out=preflight.feasible.left_out,
        keys=_key_plans(cost_model, points, warm, outcomes),
        slots=slots,
        crowding=crowding,
        worker_bytes=worker_bytes,
        prefix_seconds=float(np.mean([sum(own.prefix_seconds.values()) for own in outcomes])),
        training_seconds=float(np.mean([sum(own.training_seconds.values()) for own in outcomes])),
        seconds=(low, middle, high),
        searches=len(searches),
        budget_seconds=budget,
        trials_in_budget=trials if request.fills_its_time else _ended_by(ending, budget or np.inf),
        nested=None
        if request.outer is None
        else estimate_nested(
            searches,
            points,
            warm,
            pruner,
            longest=request.epochs,
            folds=request.outer,
            slots=slots,
            budget_seconds=budget,
            is_stored=is_stored,
            random=random,
        ),
    )


def _ended_by(ending: Sequence[FloatArray], seconds: float) -> int:
    """Median number of trials that have ended by a time, over searches."""
    return int(np.median([(own <= seconds).sum() for own in ending]))


def _fitting(ending_of: Callable[[int], Sequence[FloatArray]], seconds: float) -> int:
    """Number of trials that fit into a time, at least 1.

    Args:
        ending_of: Number of trials -> seconds at which each has ended, a search each.
        seconds: The time.
    """
    drawn = DEFAULT_TRIALS
    while (found := _ended_by(ending_of(drawn), seconds)) >= drawn and drawn < TRIALS_OF_TIME:
        drawn = min(4 * drawn, TRIALS_OF_TIME)
    return max(1, found)


def _slots(preflight: Preflight, worker_bytes: int) -> int:
    """Number of trials at once, of which the largest take so many bytes of memory each."""
    budget = preflight.request.memory_bytes
    if budget is None:
        return preflight.slots
    return max(1, min(preflight.slots, bytes_for_trials(budget) // worker_bytes))


def _parts(preflight: Preflight) -> tuple[DataPart, ...]:
    folds, rows = preflight.split.folds_of(preflight.rows), preflight.rows
    places = {"folds": folds != TEST, "test": folds == TEST}
    if preflight.split.holdout is None and (folds == TRAINING).any():
        places = {"folds": folds >= 0, "extra": folds == TRAINING, "test": folds == TEST}
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
        passes = [
            [place for place in own.passes if cost_model.keys[place[0]].backbone == name] for own in outcomes
        ]
        needs = {
            need for point in points for own in point.passes if own.backbone == name for need in own.needs
        }
        plans.append(
            BackboneEstimate(
                backbone=name,
                weights=weights_text(name, preflight.inventory.usable[name]),
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
