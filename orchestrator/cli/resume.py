"""`orchestrate resume`."""

import argparse

from orchestrator.cli.common import add_code, add_finish, add_format, add_run, given_again

HELP = "go on with a search that was interrupted or killed"
EPILOG = """\
Finished trials stay as they are; those that were running are run again under
their own numbers, from their last checkpoint where they had one. So are
trials whose files are damaged, and those whose worker died or for which the
machine was not ready: a full disk, a missing file. Others that failed are
tried again if --retry names their cause, too.

examples:
  orchestrate resume latest
  orchestrate resume benign_malignant/first --minutes 30
  orchestrate resume first --retry exception out_of_memory
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser)
    parser.add_argument("--address", help="a Ray cluster: HOST:PORT, auto, or local to start one here")
    parser.add_argument(
        "--minutes",
        type=float,
        help="stop this session after this time, which is not kept (default: the search's own budget)",
    )
    parser.add_argument(
        "--trials", type=int, help="number of trials in all (default: as the search was asked)"
    )
    parser.add_argument(
        "--retry",
        nargs="*",
        metavar="CAUSE",
        help="try trials again that ended for one of these causes, besides lost_worker and environment, "
        "which are tried again anyway; without a cause none are",
    )
    add_code(parser)
    parser.add_argument("--study-storage", metavar="URL", help="the storage of its own study, likewise")
    parser.add_argument(
        "--results", metavar="URI", help="its own copy of the run folder, likewise; none goes on without"
    )
    parser.add_argument(
        "--track", action="append", metavar="NAME", help="its own trackers, likewise; none goes on without"
    )
    parser.add_argument(
        "--data", metavar="PATH", help="where its data lie now, if they were moved; they must be the same"
    )
    parser.add_argument(
        "--store", metavar="PATH", help="where its stored data and features lie now, likewise"
    )
    add_finish(parser)
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Resume; returns the exit code."""
    from results.run.finding import find_run

    folder = find_run(arguments.run, arguments.runs)  # before what takes seconds to import
    from orchestrator.api.search import resume_search
    from orchestrator.cli.closing import CommandDisplay, close_search

    display = CommandDisplay()
    result = resume_search(
        folder,
        address=arguments.address,
        minutes=arguments.minutes,
        trials=arguments.trials,
        retry=arguments.retry,
        space=arguments.space,
        sampler=arguments.sampler,
        pruner=arguments.pruner,
        study_storage=arguments.study_storage,
        results=arguments.results,
        track=arguments.track,
        data=arguments.data,
        store=arguments.store,
        progress=display,
    )
    again = given_again(arguments, "space", "sampler", "pruner")
    return close_search(result, display.console, finish=arguments.finish, form=arguments.format, again=again)
