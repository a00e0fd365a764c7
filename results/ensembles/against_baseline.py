"""What a search ships, its chosen ensemble or else its best trial, against its baseline."""

import contextlib
from collections.abc import Sequence

from results.ensembles.ensemble import Ensemble
from results.ensembles.out_of_fold import nested_of
from results.errors import EnsembleError, RunError, ScoreError
from results.run.records import OutOfFold, TrialRecord
from results.run.run_folder import RunFolder
from results.scores.baseline import BaselineVerdict, baseline_of, difference_from
from results.scores.ranking import MOST_COMPARED, objectives_of
from results.scores.selection import best_again
from trainables.common.errors import DataError, OneClassError
from trainables.config.baseline import is_baseline
from trainables.data.group_names import group_unit

# Name of what is shipped, its trials, its predictions, and whether these were chosen anew without each fold.
_Shipped = tuple[str, tuple[int, ...], OutOfFold, bool]


def baseline_verdict(run: RunFolder, chosen: Ensemble | None = None) -> BaselineVerdict | None:
    """Compare what a run ships with its baseline on colour and intensity only.

    An ensemble is compared by its nested predictions, a best trial by those of the best one chosen anew
    without each fold, since the best of many owes a part of its own score to luck; where too few patients are
    left for that, by its own, which the verdict says.

    Args:
        run: Folder of the search.
        chosen: The ensemble that it ships; None compares its best trial, and so does one that has lost
            predictions of its trials.

    Returns:
        None where no trial is complete, where the run has no baseline, or where their predictions are gone or
        do not hold the same images.
    """
    objectives = objectives_of(run.search())
    complete = objectives.rank([record for record in run.records() if record.state == "complete"])
    try:
        baseline = baseline_of(run, complete) if complete else None
        if baseline is None:
            return None
        found = _of_ensemble(run, chosen) if chosen is not None else None
        if chosen is not None and found is not None:
            objectives = objectives.at(chosen.operation)
        name, trials, predictions, is_chosen_anew = found or _of_best_trial(run, complete)
        difference = None
        if not set(trials) <= {record.number for record in complete if is_baseline(record.config)}:
            difference = difference_from(
                baseline.predictions, predictions, objectives=objectives, seed=run.search().request.seed
            )
    except (RunError, DataError, ScoreError):
        return None
    unit = group_unit(predictions.groups)
    return BaselineVerdict(name, baseline.name, difference, objectives.metrics[0], is_chosen_anew, unit)


def _of_ensemble(run: RunFolder, chosen: Ensemble) -> _Shipped | None:
    """Name, members and nested predictions of an ensemble; None where those of its trials are gone."""
    try:
        predictions = nested_of(run, chosen)
    except (RunError, EnsembleError):
        return None
    members = ", ".join(map(str, chosen.trials))
    name = f"trial {members}" if len(chosen.trials) == 1 else f"ensemble {chosen.method} of trials {members}"
    return name, chosen.trials, predictions, True


def _of_best_trial(run: RunFolder, complete: Sequence[TrialRecord]) -> _Shipped:
    """Name, number and predictions of the best trial, chosen anew without each fold where that can be."""
    search = run.search()
    objectives = objectives_of(search)
    readable = list(run.readable_predictions(complete[:MOST_COMPARED]))
    if not readable:
        raise RunError(f"no trial of {run.path} has predictions that can be read")
    best, predictions = readable[0]
    is_chosen_anew = False
    # With too few patients to hold any out its own predictions are all there is.
    with contextlib.suppress(ScoreError, OneClassError):
        predictions = best_again(readable, objectives, seed=search.request.seed)
        is_chosen_anew = True
    return f"trial {best.number}", (best.number,), predictions, is_chosen_anew
