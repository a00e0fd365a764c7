"""`orchestrate evaluate`."""

import argparse
import sys

from orchestrator.cli.common import add_format, add_model, add_run, model_options, open_run, short_path
from orchestrator.reporting.console import messages, print_next, print_warning, show, warn_if_synthetic
from trainables.common.text import count_text

HELP = "open the sealed test part, once, and score the ensemble on it"
EPILOG = """\
Every opening is written to test_openings.jsonl before a label is read. The
first one is the honest one: a model that was chosen after looking at the test
part is no longer tested by it.

examples:
  orchestrate evaluate latest
  orchestrate evaluate latest --ensemble average --format json
  orchestrate evaluate latest --trial 7
  orchestrate evaluate latest --trial 7 --refit
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser)
    add_model(
        parser, refit="predict with the models that `orchestrate refit` trained on the whole training part"
    )
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and print; returns the exit code."""
    from orchestrator.postprocessing.test_set import open_test_part
    from orchestrator.request import typed_command
    from results.predictors.selected_model import reason_against_export
    from results.predictors.test_evaluation import (
        evaluation_as_csv,
        evaluation_as_json,
        evaluation_table,
    )

    folder = open_run(arguments)
    evaluation = open_test_part(
        folder,
        ensemble=arguments.ensemble,
        trial=arguments.trial,
        by=typed_command(sys.argv[1:]),
        refit=arguments.refit,
    )
    if evaluation.opening > 1:
        before = count_text(evaluation.opening - 1, "time")
        print_warning(
            messages(),
            f"the test part of these patients was opened {before} before, over all runs; "
            "this is not a first look",
        )
    warn_if_synthetic(folder)
    show(
        arguments.format,
        table=lambda: evaluation_table(evaluation),
        rows=lambda: evaluation_as_json(evaluation),
        csv=lambda: evaluation_as_csv(evaluation),
    )
    if not reason_against_export(folder, evaluation.trials):
        model = [*model_options(arguments), *(["--refit"] if arguments.refit else [])]
        print_next(messages(), "orchestrate", "export", short_path(folder.path), *model, "--out", "bundle/")
    return 0
