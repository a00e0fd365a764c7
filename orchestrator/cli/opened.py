"""The result that a verb works on: verbs that only rank do without it, since it reaches torch and Ray."""

import argparse

from orchestrator.api.result import SearchResult
from orchestrator.cli.common import open_run
from orchestrator.reporting.console import messages, print_message


def open_result(arguments: argparse.Namespace) -> SearchResult:
    """The result of the run that the user named; says so where its ensembles are yet to be built.

    What they do not know of the run's trials was said as its folder was opened.
    """
    folder = open_run(arguments)
    result = SearchResult(folder)
    result.is_told_of_later_trials = True
    has_built = any(folder.ensemble_file(name).is_file() for name in ("best", arguments.ensemble))
    if arguments.trial is None and not has_built and result.complete:
        print_message(messages(), "no ensembles of this run were built yet: building them first")
    return result
