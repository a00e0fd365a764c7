"""A search without training: samplers, pruners and first points on a table of results, with any workers.

The clock is the table's: a worker that is given a trial is busy for the seconds that its epochs took when
they were trained, and what it reports reaches the study in the order of that clock. Study, sampler, pruner
and space are those of a search. A proposal that the table does not hold is answered by its nearest
configuration.
"""

import datetime
import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from orchestrator.simulation.distance import distance
from orchestrator.simulation.portfolio import merits
from orchestrator.simulation.table import ResultTable, Trajectory
from orchestrator.study.method import SearchMethod
from orchestrator.study.pruners import DEFAULT, pruner_named
from orchestrator.study.samplers import sampler_named
from orchestrator.study.study import OptunaStudy, study_in_memory
from orchestrator.study.trial_spec import TrialSpec
from results.run.records import TrialRecord
from results.scores.ranking import Objectives
from search_spaces.context import SpaceContext
from search_spaces.enqueue import InitialPoint
from search_spaces.registry import Space, space_named
from trainables.config.trial_config import TrialConfig, flatten

_EPOCH_ZERO: Final = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_FAILED_SECONDS: Final = 1.0  # a configuration that failed when the table was made

Ranges = Mapping[str, tuple[float, float]]
NO_RANGES: Final[Ranges] = MappingProxyType({})

Ends = Callable[[Sequence["ReplayedTrial"]], bool]


@dataclass(frozen=True, slots=True)
class ReplayedTrial:
    """A trial of a replayed search.

    Attributes:
        number: Number of the trial, from 0.
        configuration: Index of the configuration in the table.
        distance: How far it lies from what the sampler proposed, 0 if it is just that; see `distance`.
        started: Seconds since the start of the search.
        ended: Seconds since the start of the search.
        epochs: Epochs that it ran.
        value: AUC at its end; None if it was stopped or failed.
    """

    number: int
    configuration: int
    distance: float
    started: float
    ended: float
    epochs: int
    value: float | None


@dataclass(frozen=True, slots=True)
class Replay:
    """A replayed search.

    Attributes:
        trials: Its trials in the order in which they ended.
        merits: Merit of each configuration on this set, see `orchestrator.simulation.portfolio.merits`.
    """

    trials: tuple[ReplayedTrial, ...]
    merits: tuple[float, ...]

    def regret_after(self, trials: int) -> float:
        """Return 1 minus the merit of the best of the first trials that ended, in [0, 1]."""
        ended = [own for own in self.trials[:trials] if own.value is not None]
        return 1.0 - max((self.merits[own.configuration] for own in ended), default=0.0)

    def regret_at(self, seconds: float) -> float:
        """Return the regret of what had ended after some seconds, in [0, 1]."""
        return self.regret_after(sum(own.ended <= seconds for own in self.trials))


def replay(  # noqa: PLR0913 - a search, and what it is compared by
    table: ResultTable,
    name: str,
    *,
    trials: int,
    seed: int,
    sampler: str = "tpe",
    pruner: str = DEFAULT,
    first: Sequence[int] = (),
    workers: int = 1,
    ends: Ends | None = None,
    ranges: Ranges = NO_RANGES,
) -> Replay:
    """Replay a search on a set of the table.

    Args:
        table: Results.
        name: Name of the set.
        trials: Number of trials.
        seed: Seed of the sampler.
        sampler: Any sampler of a search.
        pruner: Any pruner of a search.
        first: Configurations that are tried before the sampler proposes any, as indices.
        workers: Number of trials at once, from 1.
        ends: Told all ended trials after each end; the search hands out no more once it says True.
        ranges: Name of a parameter -> smallest and largest value, where other sets have narrowed the space.

    Raises:
        UnknownNameError: If there is no such sampler or pruner.
        KeyError: If the table has no such set.
    """
    row = list(table.sets).index(name)
    merit = tuple(float(own) for own in merits(table)[row])
    table = replace(table, context={**table.context, "ranges": dict(ranges)})
    search = _Search(table, table.sets[name], _study(table, trials, seed, sampler, pruner), workers, ends)
    settings = [table.settings[index] for index in first]
    search.study.enqueue([InitialPoint("portfolio", own) for own in settings])
    return Replay(search.run(), merit)


def nearest(table: ResultTable, settings: Mapping[str, Any]) -> tuple[int, float]:
    """Return the configuration of the table that is nearest to settings, and its distance.

    A configuration with another head or backbone is taken only if the table has none with the same.

    Args:
        table: Results.
        settings: Dotted setting -> value.
    """
    strange = [
        sum(own.get(key) != settings.get(key) for key in ("classical.name", "model.backbone"))
        for own in table.settings
    ]
    near = [index for index, count in enumerate(strange) if count == min(strange)]
    found = {index: distance(table.settings[index], settings) for index in near}
    index = min(near, key=found.__getitem__)
    return index, found[index]


def _study(table: ResultTable, trials: int, seed: int, sampler: str, pruner: str) -> OptunaStudy:
    context = SpaceContext.model_validate(table.context)
    method = SearchMethod(
        Objectives(("auc",)),
        sampler_named(sampler),
        pruner_named(pruner),
        seed=seed,
        trials=trials,
        epochs=context.epochs,
        folds=table.folds,
    )
    space: Space = space_named(table.space)
    return OptunaStudy(study_in_memory(), space, context, {}, method)


@dataclass(slots=True)
class _Running:
    spec: TrialSpec
    index: int
    distance: float
    trajectory: Trajectory | None
    started: float
    comparisons: list[int] = field(default_factory=list)

    def ends_at(self, epochs: int) -> float:
        """Seconds since the start of the search at which so many epochs are trained."""
        if self.trajectory is None:
            return self.started + _FAILED_SECONDS
        return self.started + math.fsum(self.trajectory.seconds[:epochs])


class _Search:
    """The event loop: ends of epochs at which trials are compared, and ends of trials."""

    def __init__(
        self,
        table: ResultTable,
        found: Sequence[Trajectory | None],
        study: OptunaStudy,
        workers: int,
        ends: Ends | None,
    ) -> None:
        self.table, self.found, self.study, self.workers, self.ends = table, found, study, workers, ends
        self.ended: list[ReplayedTrial] = []
        self._events: list[tuple[float, int, int]] = []  # time, trial, epoch; of equals the older trial first
        self._running: dict[int, _Running] = {}

    def run(self) -> tuple[ReplayedTrial, ...]:
        """Run until no trial is left."""
        now = 0.0
        self._fill(now)
        while self._events:
            now, number, epoch = heapq.heappop(self._events)
            self._advance(self._running[number], epoch, now)
            self._fill(now)
        return tuple(self.ended)

    def _fill(self, now: float) -> None:
        while len(self._running) < self.workers and not (self.ends and self.ends(self.ended)):
            spec = self.study.ask()
            if spec is None:
                return
            settings = flatten(spec.config.model_dump(mode="json", exclude_defaults=True))
            index, far = nearest(self.table, settings)
            trajectory = self.found[index]
            length = len(trajectory.folds) if trajectory else 0
            stops = [epoch for epoch in spec.compared_at if epoch < length]
            running = _Running(spec, index, far, trajectory, now, [*stops, length])
            self._running[spec.number] = running
            self._next(running)

    def _next(self, running: _Running) -> None:
        epoch = running.comparisons.pop(0)
        heapq.heappush(self._events, (running.ends_at(epoch), running.spec.number, epoch))

    def _advance(self, running: _Running, epoch: int, now: float) -> None:
        own, number = running.trajectory, running.spec.number
        if own is None:
            self._end(running, now, 0, None)
        elif not running.comparisons:
            self._end(running, now, epoch, own.value)
        elif self.study.should_prune(number, epoch, own.value_at(epoch), own.folds[epoch - 1]):
            self._end(running, now, epoch, None)
        else:
            self._next(running)

    def _end(self, running: _Running, now: float, epochs: int, value: float | None) -> None:
        spec, own = running.spec, running.trajectory
        del self._running[spec.number]
        reached = own.value_at(epochs) if own and epochs else None
        self.study.tell(_record(spec, epochs, value, reached))
        trial = ReplayedTrial(
            spec.number, running.index, running.distance, running.started, now, epochs, value
        )
        self.ended.append(trial)


def _record(spec: TrialSpec, epochs: int, value: float | None, reached: float | None) -> TrialRecord:
    """The record that a study is told of."""
    state = "complete" if value is not None else "pruned" if reached is not None else "failed"
    config: TrialConfig = spec.config
    return TrialRecord(
        number=spec.number,
        config=flatten(config.model_dump(mode="json")),
        params=spec.params,
        state=state,
        cause={"complete": None, "pruned": "pruner", "failed": "exception"}[state],
        value=value if value is not None else reached,
        epochs=epochs,
        fingerprint="replayed",
        seed=0,
        finished_at=_EPOCH_ZERO,
    )
