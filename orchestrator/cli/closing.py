"""The end of a search on the command line: live view, closing summary, ensembles of recipes, exit code."""

import functools
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

from rich.console import Console, RenderableType

from orchestrator.cli.common import short_path
from orchestrator.preflight.preflight import Notify
from orchestrator.reporting.compute_savings import count_images, savings_from_sharing, savings_message
from orchestrator.reporting.console import (
    SYNTHETIC_WARNING,
    Sections,
    essentials,
    print_message,
    print_warning,
)
from orchestrator.reporting.terminal import SearchProgress, closing_summary
from orchestrator.reporting.worker_time import shares_text
from orchestrator.tuning.session import OpenView, SearchOutcome, SearchView, write_reports
from orchestrator.tuning.setup import Prepared
from orchestrator.tuning.trial_manager import RUN_ALONE
from results.errors import RunError
from results.run.records import TrialRecord
from results.run.run_folder import RunFolder
from results.scores.baseline import baseline_verdict
from results.scores.leaderboard import OPTIMISTIC, OPTIMISTIC_NOTE, settings_text
from results.scores.ranking import Objective
from trainables.common.errors import SplitError
from trainables.common.text import command_text
from trainables.data.splits import read_split

INTERRUPTED = 130


def terminal_view(console: Console) -> OpenView:
    """Return a function that opens the live view of a search."""

    def open_view(prepared: Prepared) -> AbstractContextManager[SearchView]:
        record = prepared.record
        return SearchProgress(
            task=record.task,
            name=record.name,
            data=record.source,
            trials=record.request.trials,
            minutes=record.request.minutes,
            workers=prepared.slots,
            is_synthetic=record.is_synthetic,
            metric=record.metric,
            split=record.split_name,
            already=prepared.run.records(),
            worker_time=prepared.worker_time,
            console=console,
        )

    return open_view


def close_search(outcome: SearchOutcome, console: Console, *, finish: bool, form: str = "table") -> int:
    """Print the closing summary of a search and finish the work on it; returns the exit code.

    Args:
        outcome: The search that ended.
        console: Console for messages.
        finish: Also print the leaderboard, build ensembles and export the best.
        form: `table`, `json` or `csv`: how results are printed; JSON also has the folder and the best trial.

    Raises:
        RunError: If no trial was completed.
    """
    run, complete = outcome.run, outcome.complete
    # First of all: whatever fails after it, the user knows what there is and how to go on.
    essentials(console).print(_summary(outcome, has_commands=not console.quiet), soft_wrap=True)
    for message in write_reports(outcome):
        print_warning(console, message)
    if outcome.is_interrupted:
        return INTERRUPTED
    if not complete:
        raise RunError(_nothing_complete(short_path(run.path), outcome.records))
    verdict = baseline_verdict(run)
    if verdict is not None and verdict.message():
        print_message(console, verdict.message())
    from orchestrator.postprocessing.recipe_ensembles import combine_recipes

    output = Sections(form)
    combine_recipes(run, outcome.search, complete, console, output)
    if finish:
        from orchestrator.cli.finish import finish_run

        finish_run(run, console, output)
    output.close(**_facts(outcome))
    return 0


def notify_on(console: Console) -> Notify:
    """Return a function that prints messages on a console."""
    return functools.partial(print_message, console)


def _summary(outcome: SearchOutcome, *, has_commands: bool) -> RenderableType:
    search, records = outcome.search, outcome.records
    best = Objective(search.metric).best(outcome.complete)
    return closing_summary(
        records=records,
        metric=search.metric,
        best=None if best is None else (best.number, best.value or 0.0, _described(best)),
        notes=(
            ("beware", SYNTHETIC_WARNING * search.is_synthetic),
            ("shared", _saved(outcome)),
            ("time", shares_text(outcome.time_shares)),
        ),
        folder=short_path(outcome.run.path),
        commands=_next_commands(
            outcome.run,
            has_results=bool(outcome.complete),
            may_resume=outcome.is_interrupted and search.request.trials > len(records),
        )
        if has_commands
        else (),
        split=search.split_name,
    )


def _facts(outcome: SearchOutcome) -> dict[str, Any]:
    """What a script wants to know of a search that has ended."""
    search, records = outcome.search, outcome.records
    best = Objective(search.metric).best(outcome.complete)
    return {
        "run": str(outcome.run.path),
        "metric": search.metric,
        "split": search.split_name,
        "is_synthetic": search.is_synthetic,
        "trials": dict(Counter(record.state for record in records)),
        "best": None if best is None else {"trial": best.number, "value": best.value, "config": best.config},
        "worker_seconds": asdict(outcome.time_shares),
    }


def _described(record: TrialRecord) -> str:
    text = settings_text(record.config)
    return f"{text} {OPTIMISTIC} {OPTIMISTIC_NOTE}" if record.is_optimistic else text


def _saved(outcome: SearchOutcome) -> str:
    """The compute that sharing has saved; empty if the split that it is counted by is gone."""
    try:
        split = read_split(outcome.run.split_file)
    except SplitError:
        return ""
    return savings_message(savings_from_sharing(outcome.records, count_images(split, outcome.search.classes)))


def _next_commands(run: RunFolder, *, has_results: bool, may_resume: bool) -> list[str]:
    folder = short_path(run.path)
    commands = [("orchestrate", "resume", folder)] if may_resume else []
    if has_results:
        commands += [
            ("tensorboard", "--logdir", short_path(run.path.parents[1])),
            ("orchestrate", "leaderboard", folder),
            ("orchestrate", "ensemble", folder),
        ]
    return [command_text(*words) for words in commands]


def _nothing_complete(folder: str, records: tuple[TrialRecord, ...]) -> str:
    said = [
        (record.number, record.error.removeprefix(f"{RUN_ALONE}:\n").splitlines())
        for record in records
        if record.error
    ]
    # A traceback says what went wrong in its last line, Ray in its first.
    why = "".join(
        f"; trial {number} said: {(lines[0] if 'worker' in lines[0] else lines[-1])[:150]}"
        for number, lines in said[:1]
    )
    collapsed = sum(record.cause == "collapse" for record in records)
    how = f"{len(records)} ended"
    if collapsed:
        how += f", {collapsed} of them collapsed: every image has the same score"
    advice = "Give the search more time (--minutes, --trial-minutes) or look at trials/*/record.json"
    if collapsed == len(records):
        advice = "Another learning rate, another scaling or less regularisation may help"
    return f"no trial of {folder} was completed ({how}){why}. {advice}"
