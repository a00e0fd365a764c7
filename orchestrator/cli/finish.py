"""After a search: leaderboard, ensembles and an exported bundle, in one go."""

from rich.console import Console

from orchestrator.cli.common import short_path
from orchestrator.reporting.console import Sections, print_message, print_next
from results.ensembles.build import build_ensembles
from results.ensembles.tables import ensemble_table, ensembles_as_csv, ensembles_as_json
from results.export.bundle import export_bundle
from results.predictors.selected_model import reason_against_export
from results.run.run_folder import RunFolder
from results.scores.leaderboard import leaderboard, leaderboard_table, rows_as_csv, rows_as_json

_SHOWN = 5


def finish_run(run: RunFolder, console: Console, output: Sections) -> None:
    """Print the ranking, build the ensembles, export the best to `<run>/bundle` where it takes images."""
    rows = leaderboard(run)
    output.add(
        "leaderboard",
        table=lambda: leaderboard_table(rows, limit=_SHOWN),
        rows=lambda: rows_as_json(rows),
        csv=lambda: rows_as_csv(rows),
    )
    ensembles = build_ensembles(run, seed=run.search().request.seed)
    output.add(
        "ensembles",
        table=lambda: ensemble_table(ensembles),
        rows=lambda: ensembles_as_json(ensembles),
        csv=lambda: ensembles_as_csv(ensembles),
    )
    reasons = [reason_against_export(run, one.trials) for one in ensembles if one.is_chosen]
    if any(reasons):
        print_message(console, f"not exported: {reasons[0]}")
        print_next(console, "orchestrate", "evaluate", short_path(run.path))
        return
    report = export_bundle(run, run.path / "bundle")
    for message in report.messages():
        print_message(console, message)
    print_next(console, *report.manifest.command(short_path(run.path / "bundle")))
