"""Overtuning of a run from Python: what `SearchResult.overtuning` and `orchestrate overtuning` call."""

import contextlib

from orchestrator.nesting.overtuning import measure_overtuning
from orchestrator.reporting.overtuning_events import write_overtuning_events
from results.run.run_folder import RunFolder
from results.scores.overtuning import Overtuning


def overtuning_of_run(run: RunFolder) -> Overtuning:
    """Judge the search of a run by its records, and show the curve in TensorBoard. It prints nothing.

    Args:
        run: Folder of the search, finished or not.

    Raises:
        RunError: If no trial was completed.
        ScoreError: If there are too few patients of a class.
    """
    found = measure_overtuning(run)
    with contextlib.suppress(OSError):  # a folder that cannot be written is no reason to say nothing
        write_overtuning_events(run, found)
    return found
