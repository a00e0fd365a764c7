"""After a search: leaderboard, ensembles and an exported bundle, in one go."""

from rich.console import Console

from orchestrator.api.result import SearchResult
from orchestrator.cli.common import short_path
from orchestrator.reporting.console import print_message, print_next, results
from results.ensembles.tables import ensemble_table
from results.predictors.selected_model import has_classical_member
from results.scores.leaderboard import leaderboard_table

_SHOWN = 5


def finish_run(result: SearchResult, console: Console) -> None:
    """Print the ranking, build the ensembles, export the best to `<run>/bundle` unless it is classical."""
    output, run = results(falls_silent=True), result.run
    output.print(leaderboard_table(result.ranking(), limit=_SHOWN))
    ensembles = result.build_ensembles()
    output.print(ensemble_table(ensembles))
    if any(one.is_chosen and has_classical_member(run, one.trials) for one in ensembles):
        print_message(console, "not exported: classical models of scikit-learn have no ONNX form here")
        print_next(console, "orchestrate", "evaluate", short_path(run.path))
        return
    report = result.export_report(run.path / "bundle")
    for message in report.messages():
        print_message(console, message)
    print_next(console, *report.manifest.command(short_path(run.path / "bundle")))
