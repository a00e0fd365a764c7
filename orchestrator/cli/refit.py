"""`orchestrate refit`."""

import argparse

from orchestrator.cli.common import add_model, add_run, model_options, short_path
from orchestrator.reporting.console import messages, print_message, print_next

HELP = "train an ensemble's members, or one trial, again on the whole training part"
EPILOG = """\
Retrain, then test: one model of each member is trained on all folds, without
validation, for the epochs that cross-validation chose. The sealed test part
is not read. Calibration, threshold and the weights of an ensemble stay those
of the search. The models are kept in trials/NUMBER/refit/; `orchestrate
evaluate` and `orchestrate export` take them with --refit.

examples:
  orchestrate refit latest
  orchestrate refit latest --trial 7 --seeds 3
  orchestrate evaluate latest --trial 7 --refit
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser)
    add_model(parser)
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="K",
        help="train K models of each member, whose probabilities are averaged (default: as many as "
        "each of its folds had in the search)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Refit and print a summary; returns the exit code."""
    from orchestrator.cli.opened import open_result
    from results.predictors.selected_model import reason_against_export

    result, console = open_result(arguments), messages()
    name, members = result.refit_members(
        ensemble=arguments.ensemble, trial=arguments.trial, seeds=arguments.seeds
    )
    print_message(console, f"training {name} on the whole training part; the test part stays sealed")
    for member in members:
        print_message(console, member.message())
    words = (short_path(result.path), *model_options(arguments), "--refit")
    if result.run.has_sealed_part:
        print_next(console, "orchestrate", "evaluate", *words)
    elif not reason_against_export(result.run, [member.number for member in members]):
        print_next(console, "orchestrate", "export", *words, "--out", "bundle/")
    return 0
