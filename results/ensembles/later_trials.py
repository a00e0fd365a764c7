"""Trials that were completed after an ensemble was built, of which it knows nothing."""

from results.ensembles.ensemble import BEST, Ensemble, read_ensemble
from results.errors import EnsembleError
from results.run.damage import damaged_trials
from results.run.records import TrialRecord
from results.run.run_folder import RunFolder
from results.scores.ranking import MOST_COMPARED, objectives_of
from trainables.common.errors import ConfigError, UnknownNameError


def has_later_trials(run: RunFolder, ensemble: Ensemble) -> bool:
    """Tell whether members of an ensemble could be chosen out of complete trials that it does not know.

    Of an ensemble within a limit of time, which knows the trials that are fast enough alone, it is told by
    their number.

    Args:
        run: Folder of the search.
        ensemble: An ensemble of it.
    """
    complete = _complete(run)
    if ensemble.max_ms is not None and not ensemble.is_named:
        return ensemble.complete is not None and len(complete) > ensemble.complete  # since 2026
    compared = objectives_of(run.search()).rank(complete)[:MOST_COMPARED]
    unknown = {record.number for record in compared} - set(ensemble.pool)
    return bool(unknown) and not unknown <= set(damaged_trials(run))


def said_of_later_trials(run: RunFolder, name: str = BEST) -> str:
    """Return a sentence on complete trials that an ensemble does not know; empty where there are none.

    Nothing is said of trials that were named, nor of an ensemble that cannot be read, which whoever uses it
    is told; nor where the search's metric is not known here, so that its trials cannot be ranked. But the
    `best` of a search for recipes may be an ensemble of one of them, by an earlier version.

    Args:
        run: Folder of the search.
        name: Name of the ensemble.
    """
    try:
        found = read_ensemble(run, name)
        is_of_others = found.recipe or (found.is_named and not run.search().request.recipes)
        if is_of_others or not has_later_trials(run, found):
            return ""
    except (EnsembleError, UnknownNameError, ConfigError):
        return ""
    return (
        f"ensemble {name} of {run.path} was built out of {found.said_of_pool}, and {len(_complete(run)):,} "
        f"are complete now; build it again with: {run.command('ensemble', *found.build_options)}"
    )


def _complete(run: RunFolder) -> list[TrialRecord]:
    return [record for record in run.records() if record.state == "complete" and record.value is not None]
