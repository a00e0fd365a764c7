"""Which trial becomes the student of an ensemble."""

from collections.abc import Callable
from typing import Final

from results.errors import ExportError
from results.export.graph_cost import measure_models
from results.predictors.selected_model import reason_against_export
from results.run.prediction_costs import PredictionTime
from results.run.run_folder import RunFolder
from results.scores.leaderboard import leaderboard
from trainables.config.trial_config import decode
from trainables.estimators.registry import estimator_named

_MOST_MEASURED: Final = 8  # a measurement takes seconds


def chosen_student(run: RunFolder, max_ms: float | None, say: Callable[[str], None]) -> int:
    """Choose the best trial that is fast enough, or the fastest of those that may be the best.

    Args:
        run: Folder of the search.
        max_ms: Longest time of an image on one core, in milliseconds; None for any.
        say: Function called with a sentence before each measurement.

    Raises:
        ExportError: If no trial can be a student, or none is fast enough.
    """
    able = {  # best first
        row.trial: row.tied
        for row in leaderboard(run)
        if row.trial is not None and not _reason(run, row.trial)
    }
    if not able:
        raise ExportError(
            f"no complete trial of {run.path} can be a student: one needs the weights of a net, or a head "
            "that follows the weights of rows (logistic, mlp, boosting)"
        )
    if max_ms is None:
        tied = [trial for trial, may_be_best in able.items() if may_be_best] or list(able)[:1]
        costs = {
            trial: cost for trial in tied[:_MOST_MEASURED] if (cost := _cost(run, trial, say)) is not None
        }
        return min(costs, key=lambda one: costs[one].core_ms) if costs else tied[0]
    fastest: float | None = None
    for trial in able:
        cost = _cost(run, trial, say)
        if cost is not None and cost.core_ms <= max_ms:
            return trial
        if cost is not None:
            fastest = cost.core_ms if fastest is None else min(fastest, cost.core_ms)
    found = "none could be measured" if fastest is None else f"the fastest takes {fastest:.1f} ms"
    raise ExportError(
        f"no trial of {run.path} answers within {max_ms:g} ms an image on one core; {found}. Allow more "
        "(--max-ms), or name one (--distil TRIAL)"
    )


def check_student(run: RunFolder, number: int) -> None:
    """Refuse a trial that cannot be a student.

    Raises:
        ExportError: With the reason.
    """
    if reason := _reason(run, number):
        raise ExportError(
            f"trial {number} of {run.path} cannot be a student: {reason}; name another (--distil)"
        )


def _reason(run: RunFolder, number: int) -> str:
    """Why a trial cannot be a student; empty where it can."""
    record = run.record(number)
    if record is None or record.state != "complete":
        return "it is not complete"
    if against := reason_against_export(run, [number]):
        return against
    head = decode(record.config).classical.name
    if head != "none" and not estimator_named(head).weighs_rows:
        return f"its head ({head}) learns whole labels, and not the shares that an ensemble predicts"
    return ""


def _cost(run: RunFolder, trial: int, say: Callable[[str], None]) -> PredictionTime | None:
    return measure_models(run, [(trial,)], say=say).get((trial,))
