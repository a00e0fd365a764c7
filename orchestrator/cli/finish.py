"""After a search: leaderboard, ensembles and an exported bundle, in one go."""

from rich.console import Console

from orchestrator.cli.common import short_path
from orchestrator.reporting.console import print_message, print_next, results
from results.ensembles.build import build_ensembles
from results.ensembles.methods import METHODS
from results.ensembles.tables import ensemble_table
from results.export.bundle import export_bundle
from results.predictors.selected_model import has_classical_member
from results.run.run_folder import RunFolder
from results.scores.leaderboard import leaderboard, leaderboard_table
from results.scores.ranking import objectives_of

_SHOWN = 5


def finish_run(run: RunFolder, console: Console) -> None:
    """Print the ranking, build the ensembles, export the best to `<run>/bundle` unless it is classical."""
    output = results(falls_silent=True)
    output.print(leaderboard_table(leaderboard(run), limit=_SHOWN, objectives=objectives_of(run.search())))
    ensembles = build_ensembles(run, methods=tuple(METHODS), seed=run.search().request.seed)
    output.print(ensemble_table(ensembles, objectives_of(run.search())))
    if any(one.is_chosen and has_classical_member(run, one.trials) for one in ensembles):
        print_message(console, "not exported: classical models of scikit-learn have no ONNX form here")
        print_next(console, "orchestrate", "evaluate", short_path(run.path))
        return
    report = export_bundle(run, run.path / "bundle")
    for message in report.messages():
        print_message(console, message)
    print_next(console, *report.manifest.command(short_path(run.path / "bundle")))
