"""The end of a search on the command line: closing summary, ensembles of recipes, exit code."""

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console, RenderableType

from orchestrator.api.displays import TerminalDisplay
from orchestrator.api.result import SearchResult
from orchestrator.cli.common import short_path, warn_of_baseline
from orchestrator.reporting.closing_summary import closing_summary
from orchestrator.reporting.compute_savings import count_images, savings_from_sharing, savings_message
from orchestrator.reporting.console import (
    SYNTHETIC_WARNING,
    Sections,
    essentials,
    print_message,
    print_next,
)
from orchestrator.reporting.worker_time import shares_text
from orchestrator.study.trial_spec import TIME_WAS_UP
from orchestrator.tuning.remarks import RUN_ALONE
from results.ensembles.tables import ensemble_table, ensembles_as_csv, ensembles_as_json
from results.errors import RunError
from results.run.records import TrialRecord
from results.run.run_folder import RunFolder
from results.scores.leaderboard_table import OPTIMISTIC, OPTIMISTIC_NOTE
from results.scores.metrics import metric_named
from results.scores.outer_result import readable_outer
from results.scores.outer_table import outer_as_csv, outer_as_json, outer_table
from results.scores.ranking import Objectives, objectives_of
from results.scores.repeats import readable_repeats
from results.scores.repeats_table import repeats_as_csv, repeats_as_json, repeats_table
from results.scores.settings_text import labelled_settings
from trainables.common.errors import INTERRUPTED, SplitError
from trainables.common.text import command_text, count_text, trials_text
from trainables.data.split_record import read_split


class CommandDisplay(TerminalDisplay):
    """Shows a search on standard error; at its end it says what there is, and what to type next."""

    ends_process = True

    def ended(self, result: SearchResult) -> None:
        """Print the closing summary."""
        summary = _summary(result, has_commands=not self.console.quiet)
        essentials(self.console).print(summary, soft_wrap=True)


def close_search(
    result: SearchResult, console: Console, *, finish: bool, form: str = "table", again: Sequence[str] = ()
) -> int:
    """Finish the work on a search whose closing summary is printed; returns the exit code.

    Args:
        result: The search that ended.
        console: Console for messages.
        finish: Also print the leaderboard, build ensembles and export the best.
        form: `table`, `json` or `csv`: how results are printed; JSON also has the folder and the best trial.
        again: Words that commands which go on with the run need, too.

    Raises:
        RunError: If no trial was completed.
    """
    run, complete = result.run, result.complete
    if result.is_interrupted:
        return INTERRUPTED
    if not complete:
        raise RunError(_nothing_complete(short_path(run.path), result.records))
    with Sections(form, lambda: _facts(result)) as output:
        show_recipes(result, console, output)
        if finish:
            from orchestrator.cli.finish import finish_run

            finish_run(result, console, output)
        warn_of_baseline(result, console)
        repeats, nested = readable_repeats(run), readable_outer(run)
        if repeats is not None:
            output.add(
                "repeats",
                table=lambda: repeats_table(repeats),
                rows=lambda: repeats_as_json(repeats),
                csv=lambda: repeats_as_csv(repeats),
            )
        if nested is not None:
            output.add(
                "nested",
                table=lambda: outer_table(nested),
                rows=lambda: outer_as_json(nested),
                csv=lambda: outer_as_csv(nested),
            )
    asked = (("repeat", repeats, result.request.repeats), ("nest", nested, result.request.outer))
    missing = [
        verb for verb, found, number in asked if number is not None and (found is None or found.outdated)
    ]
    left = result.unfinished or missing
    for verb in left:
        print_next(console, "orchestrate", verb, short_path(run.path), *again)
    return INTERRUPTED if left else 0


def show_recipes(result: SearchResult, console: Console, output: Sections) -> None:
    """Build the ensembles among the recipes of a search, and print them under the names of these."""
    objectives = objectives_of(result.record)
    for found in result.combine_recipes():
        name, method, built = found.recipe.name, found.recipe.method, found.built
        if found.missing:
            print_message(console, f"{name}: no complete trial of its members {', '.join(found.missing)}")
        if built:
            print_message(console, f"{name}: {method} of {trials_text(found.trials)}")
            output.add(
                name,
                table=functools.partial(ensemble_table, built, objectives),
                rows=functools.partial(ensembles_as_json, built),
                csv=functools.partial(ensembles_as_csv, built),
            )


def _summary(result: SearchResult, *, has_commands: bool) -> RenderableType:
    search, records, best = result.record, result.records, result.best
    objectives = objectives_of(search)
    return closing_summary(
        records=records,
        metric=search.metric,
        best=None if best is None else (best.number, best.scored_value, _described(best, objectives)),
        notes=(
            ("beware", SYNTHETIC_WARNING * search.is_synthetic),
            ("late", _late(best)),
            ("ended", "" if search.terminated is None else search.terminated.message),
            ("left", _left(result)),
            ("shared", _saved(result)),
            ("time", shares_text(result.time_shares)),
        ),
        folder=short_path(result.path),
        commands=_next_commands(
            result.run,
            has_results=best is not None,
            may_resume=(result.is_interrupted or search.terminated is not None)
            and search.request.most_trials > len(records),
        )
        if has_commands
        else (),
        split=search.split_name,
    )


def _facts(result: SearchResult) -> dict[str, Any]:
    """What a script wants to know of a search that has ended."""
    search, records, best = result.record, result.records, result.best
    return {
        "run": str(result.path),
        "metric": search.metric,
        "terminated": None if search.terminated is None else search.terminated.model_dump(),
        "split": search.split_name,
        "is_synthetic": search.is_synthetic,
        "trials": dict(Counter(record.state for record in records)),
        "best": None
        if best is None
        else {
            "trial": best.number,
            "value": best.value,
            "values": best.values,
            "config": best.config,
        },
        "worker_seconds": asdict(result.time_shares),
    }


def _described(record: TrialRecord, objectives: Objectives) -> str:
    """Settings of the best trial, its other values, and what it misses."""
    values = objectives.values_of(record)
    others = [f"{name} {metric_named(name).text(values.get(name))}" for name in objectives.needed[1:]]
    missed = objectives.missed(values)
    said = [", ".join(others), f"misses what was required: {', '.join(missed)}" if missed else ""]
    text = "  ".join([*(part for part in said if part), labelled_settings(record)])
    return f"{text} {OPTIMISTIC} {OPTIMISTIC_NOTE}" if record.is_optimistic else text


def _late(best: TrialRecord | None) -> str:
    """What the best trial had to do without, since the time was up."""
    remark = "" if best is None else best.error or ""
    return f"{remark}; give --minutes more" if remark.startswith(TIME_WAS_UP) else ""


def _saved(result: SearchResult) -> str:
    """The compute that sharing has saved; empty if the split that it is counted by is gone."""
    try:
        split = read_split(result.run.split_file)
    except SplitError:
        return ""
    return savings_message(savings_from_sharing(result.records, count_images(split, result.record.classes)))


def _left(result: SearchResult) -> str:
    """Say how many trials the time limit left out, and how to have them; nothing of another end."""
    search, ended = result.record, len(result.records)
    is_late = search.request.minutes is not None  # all that runs of earlier versions say
    if search.ended is not None:
        is_late = search.ended == "time"
    if not is_late or result.is_interrupted or search.terminated is not None:
        return ""
    left = search.request.most_trials - ended
    if left <= 0 or search.request.fills_its_time:
        return ""
    again = command_text("orchestrate", "resume", short_path(result.path), "--minutes", "N")
    if search.driver:  # others have run some of them
        return (
            f"the time was up before all {search.request.most_trials} trials of the study had begun; {again}"
        )
    return f"{count_text(left, 'trial')} of {search.request.most_trials} not run in the time; {again}"


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


def _nothing_complete(folder: str, records: Sequence[TrialRecord]) -> str:
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
