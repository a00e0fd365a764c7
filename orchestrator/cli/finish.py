"""After a search: leaderboard, ensembles and an exported bundle, in one go."""

from rich.console import Console

from orchestrator.cli.common import short_path
from orchestrator.reporting.console import print_message, print_next, results
from results.ensembles.build import build_ensembles
from results.ensembles.methods import METHODS
from results.ensembles.tables import ensemble_table
from results.export.bundle import export_bundle
from results.predictors.selected_model import reason_against_export
from results.run.run_folder import RunFolder
from results.scores.leaderboard import leaderboard, leaderboard_table

_SHOWN = 5


def finish_run(run: RunFolder, console: Console) -> None:
    """Print the ranking, build the ensembles, export the best to `<run>/bundle` where it takes images."""
    output = results(falls_silent=True)
    output.print(leaderboard_table(leaderboard(run), limit=_SHOWN))
    ensembles = build_ensembles(run, methods=tuple(METHODS), seed=run.search().request.seed)
    output.print(ensemble_table(ensembles))
    reasons = [reason_against_export(run, one.trials) for one in ensembles if one.is_chosen]
    if any(reasons):
        print_message(console, f"not exported: {reasons[0]}")
        print_next(console, "orchestrate", "evaluate", short_path(run.path))
        return
    report = export_bundle(run, run.path / "bundle")
    for message in report.messages():
        print_message(console, message)
    print_next(console, *report.manifest.command(short_path(run.path / "bundle")))
