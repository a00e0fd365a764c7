"""After a search: leaderboard, ensembles and an exported bundle, in one go."""

import functools

from rich.console import Console

from orchestrator.api.result import SearchResult
from orchestrator.cli.common import short_path
from orchestrator.reporting.console import Sections, print_message, print_next
from results.ensembles.tables import ensemble_table, ensembles_as_csv, ensembles_as_json
from results.predictors.selected_model import reason_against_export
from results.scores.leaderboard_table import leaderboard_table, rows_as_csv, rows_as_json
from results.scores.ranking import objectives_of

_SHOWN = 5


def finish_run(result: SearchResult, console: Console, output: Sections) -> None:
    """Print the ranking, build the ensembles, export the best to `<run>/bundle` where it takes images."""
    run, rows, objectives = result.run, result.ranking(), objectives_of(result.record)
    output.add(
        "leaderboard",
        table=lambda: leaderboard_table(
            rows,
            limit=_SHOWN,
            objectives=objectives,
            unit=result.record.request.unit,
            classes=len(result.record.classes),
        ),
        rows=lambda: rows_as_json(rows),
        csv=lambda: rows_as_csv(rows),
    )
    say = functools.partial(print_message, console)
    ensembles = result.build_ensembles_as_before(say=say)
    output.add(
        "ensembles",
        table=lambda: ensemble_table(ensembles, objectives),
        rows=lambda: ensembles_as_json(ensembles),
        csv=lambda: ensembles_as_csv(ensembles),
    )
    reasons = [reason_against_export(run, one.trials) for one in ensembles if one.is_chosen]
    if any(reasons):
        print_message(console, f"not exported: {reasons[0]}")
        if run.has_sealed_part:
            print_next(console, "orchestrate", "evaluate", short_path(run.path))
        return
    earlier = run.set_bundle_aside()
    if earlier is not None:
        print_message(console, f"the earlier bundle is kept as {earlier.name}")
    report = result.export_report(run.bundle, say=say)
    for message in report.messages():
        print_message(console, message)
    print_next(console, *report.manifest.command(short_path(run.bundle)))
