"""A search without training: samplers, pruners, first points, ends and time limits on a table of results.

The clock is the table's: a worker that is given a trial is busy for the seconds that its epochs took when
they were trained, after the passes through frozen nets that no other trial has made. What it reports reaches
the study in the order of that clock. Study, sampler, pruner, terminator, allowance and space are those of a
search. A proposal that the table does not hold is answered by its nearest configuration.
"""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.simulation.event_loop import EventLoop
from orchestrator.simulation.portfolio import merits
from orchestrator.simulation.replayed import Replay, ReplayedSearch
from orchestrator.simulation.set_clock import clock_of
from orchestrator.simulation.table import ResultTable
from orchestrator.study.allowance import Allowance
from orchestrator.study.method import SearchMethod
from orchestrator.study.pruners import pruner_named
from orchestrator.study.samplers import sampler_named
from orchestrator.study.study import OptunaStudy, study_in_memory
from orchestrator.study.terminator import Terminator
from results.scores.ranking import Objectives
from search_spaces.context import SpaceContext
from search_spaces.distance import distance
from search_spaces.enqueue import InitialPoint
from search_spaces.registry import Space, space_named
from trainables.common.errors import ConfigError, UnknownNameError

_AUC: Final = Objectives(("auc",))
_DEFAULTS: Final = ReplayedSearch()


def replay_search(table: ResultTable, name: str, search: ReplayedSearch = _DEFAULTS) -> Replay:
    """Replay a search on a set of a table.

    Equal arguments give equal replays: nothing is trained, and no clock of the machine is read.

    Args:
        table: Results of shape (sets, configurations), such as `packaged_table()`.
        name: Name of the set, one of `table.sets`.
        search: How the search is replayed: its trials, sampler, pruner, workers, limits.

    Returns:
        Its trials in the order in which they ended, with seconds of the table's clock, and its regret.

    Raises:
        UnknownNameError: If there is no such set, sampler or pruner.
        ConfigError: If a first point is not in the table, or the pruner needs more folds than it has.

    >>> from orchestrator import packaged_table
    >>> found = replay_search(packaged_table(), "infn", ReplayedSearch(trials=3, first=(2, 3, 4)))
    >>> [trial.configuration for trial in found.trials]
    [2, 3, 4]
    """
    if name not in table.sets:
        raise UnknownNameError("set of the table", name, table.sets)
    strange = [index for index in search.first if not 0 <= index < len(table.settings)]
    if strange:
        raise ConfigError(
            f"first points must be configurations of the table, from 0 to {len(table.settings) - 1}, found "
            f"{strange}"
        )
    clock = clock_of(table, name)
    allowance = Allowance(clock.price, brief_between=search.brief_between)
    study = _study(table, search, allowance)
    loop = EventLoop(
        search,
        study,
        table.sets[name],
        clock,
        lambda settings: nearest(table, settings),
        Terminator(_AUC) if search.terminator else None,
    )
    if search.minutes is not None and search.has_allowance:
        allowance.begin(lambda: loop.seconds_left, lambda: search.workers)
    study.enqueue([InitialPoint("portfolio", table.settings[index]) for index in search.first])
    loop.run()
    row = list(table.sets).index(name)
    return Replay(tuple(loop.ended), tuple(float(own) for own in merits(table)[row]), loop.terminated)


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


def _study(table: ResultTable, search: ReplayedSearch, allowance: Allowance) -> OptunaStudy:
    context = SpaceContext.model_validate({**table.context, "ranges": dict(search.ranges)})
    pruner = pruner_named(search.pruner)
    if table.folds < pruner.fewest_folds:
        raise ConfigError(
            f"pruner {pruner.name} needs {pruner.fewest_folds} folds or more, the table has {table.folds}"
        )
    method = SearchMethod(
        _AUC,
        sampler_named(search.sampler),
        pruner,
        seed=search.seed,
        trials=search.trials,
        epochs=context.epochs,
        folds=table.folds,
        tried=search.tried,
    )
    space: Space = space_named(table.space)
    return OptunaStudy(study_in_memory(), space, context, search.held, method, allowance=allowance)
