"""Choice of the best model of a run that answers within a time."""

from collections.abc import Iterator
from typing import Final

from results.ensembles.ensemble import BEST, BUILT, Ensemble, read_ensemble
from results.errors import ExportError
from results.export.graph_cost import measure_models
from results.run.run_folder import RunFolder
from results.scores.ranking import objectives_of
from trainables.common.text import trials_text

_MOST_GAINED: Final = 4  # times that int8 is faster than float32 at best: it has a quarter of the bits
_MOST_TRIED: Final = 8  # graphs that are written and converted, which takes many seconds each


def best_within(run: RunFolder, max_ms: float) -> tuple[str, int | None]:
    """Choose the best model whose graph answers within a time on one core of this machine.

    The ensemble `best` comes first, then the other ensembles by their nested scores, then the trials in the
    order of the leaderboard. Models are measured one by one until one is fast enough.

    Args:
        run: Folder of the search, with ensembles.
        max_ms: Longest time of an image, in milliseconds.

    Returns:
        Name of an ensemble and no trial, or `best` and the number of a trial.

    Raises:
        ExportError: If no model is fast enough.
    """
    slowest: dict[tuple[int, ...], float] = {}
    for ensemble, trial, members in _candidates(run):
        found = measure_models(run, [members]).get(tuple(sorted(members)))
        if found is not None and found.core_ms <= max_ms:
            return ensemble, trial
        if found is not None:
            slowest[members] = found.core_ms
    if not slowest:
        raise ExportError(f"no model of {run.path} could be measured, so none can be kept within --max-ms")
    members, fastest = min(slowest.items(), key=lambda pair: pair[1])
    named = trials_text(members)
    raise ExportError(
        f"no model of {run.path} answers within {max_ms:g} ms an image on one core; the fastest, of {named}, "
        f"takes {fastest:.1f} ms. Allow more (--max-ms), or search with --max-ms {max_ms:g}"
    )


def candidates_within(run: RunFolder, max_ms: float) -> Iterator[tuple[str, int | None]]:
    """Yield the models of which a lower precision may answer within a time, in the order of `best_within`.

    A graph of a lower precision is known in its time only when it is written. It is not tried for a model
    that takes longer in float32 than the fewest bits of a number could make up for.

    Args:
        run: Folder of the search, with ensembles.
        max_ms: Longest time of an image, in milliseconds.

    Yields:
        Name of an ensemble and no trial, or `best` and the number of a trial; at most eight.
    """
    tried = 0
    for ensemble, trial, members in _candidates(run):
        found = measure_models(run, [members]).get(tuple(sorted(members)))
        if found is None or found.core_ms > max_ms * _MOST_GAINED:
            continue
        yield ensemble, trial
        tried += 1
        if tried == _MOST_TRIED:
            return


def _candidates(run: RunFolder) -> Iterator[tuple[str, int | None, tuple[int, ...]]]:
    best = read_ensemble(run, BEST)
    yield BEST, None, best.trials
    built = [found for name in BUILT if (found := _if_built(run, name)) is not None]
    objectives = objectives_of(run.search())
    values = [{**one.nested.metrics, objectives.metrics[0]: one.nested.interval.estimate} for one in built]
    for place in objectives.order(values):
        yield built[place].method, None, built[place].trials
    complete = [record for record in run.records() if record.can_predict]
    for record in objectives.rank(complete):
        yield BEST, record.number, (record.number,)


def _if_built(run: RunFolder, name: str) -> Ensemble | None:
    return read_ensemble(run, name) if run.ensemble_file(name).is_file() else None
