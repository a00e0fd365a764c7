"""Overtuning of a run: its trials, and beside them the nested scores and the sealed part if there are any."""

from typing import Any

from results.ensembles.ensemble import read_ensemble
from results.ensembles.later_trials import said_of_later_trials
from results.errors import EnsembleError, RunError
from results.run.run_folder import RunFolder
from results.run.test_accesses import read_accesses
from results.scores.interval import Interval
from results.scores.outer_result import readable_outer
from results.scores.overtuning import Overtuning, overtuning_of
from results.scores.ranking import objectives_of


def measure_overtuning(run: RunFolder) -> Overtuning:
    """Judge the search of a run by its records alone; nothing runs, and no sealed patient is read.

    Trials that miss a requirement are left out, unless all do.

    Args:
        run: Folder of the search, finished or not.

    Raises:
        RunError: If no trial was completed.
        ScoreError: If there are too few patients of a class.
    """
    search, objectives = run.search(), objectives_of(run.search())
    complete = [record for record in run.records() if record.state == "complete" and record.value is not None]
    if not complete:
        raise RunError(
            f"overtuning is judged by complete trials, and {run.path} has none, so nothing can be claimed "
            f"about it; go on with: {run.resume_command}"
        )
    able = [record for record in complete if objectives.violation(record) == 0] or complete
    ordered = sorted(able, key=lambda record: record.number)  # as they were handed out, not as they ended
    trials = [(record.number, own) for record, own in run.readable_predictions(ordered)]
    if not trials:
        raise RunError(
            f"the predictions of all complete trials of {run.path} are damaged; run them again with: "
            f"{run.resume_command}"
        )
    found = overtuning_of(trials, objectives, seed=search.request.seed)
    outer, nested = readable_outer(run), _nested(run)
    later = "" if nested is None else said_of_later_trials(run)
    ages = [f"The {later}." if later else "", "" if outer is None else outer.outdated]
    return found.model_copy(
        update={
            "nested": nested,
            "outdated": tuple(age for age in ages if age),
            "outer": None if outer is None else outer.shipped.value,
            "split": search.split_name,
            **_sealed(run, found.metric),
        }
    )


def _nested(run: RunFolder) -> Interval | None:
    try:
        return read_ensemble(run).nested.interval
    except EnsembleError:
        return None


def _sealed(run: RunFolder, metric: str) -> dict[str, Any]:
    """Score at the first opening of the sealed part by this run, and of which model; empty without one."""
    for access in read_accesses(run):
        result = access.result or {}
        found = result.get("metrics", {}).get(metric)
        if found is not None:
            return {
                "sealed": Interval(float(found["estimate"]), float(found["low"]), float(found["high"])),
                "sealed_model": access.model,
                "sealed_opening": result.get("opening"),
            }
    return {}
