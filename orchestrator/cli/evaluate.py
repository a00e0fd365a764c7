"""`orchestrate evaluate`."""

import argparse
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cli.common import (
    DEFAULT_ENSEMBLE,
    add_format,
    add_model,
    add_operation,
    add_runs,
    model_options,
    operation_of,
    operation_options,
    short_path,
)
from orchestrator.cli.data_audit import READING
from orchestrator.cli.options import add_options, given_options
from orchestrator.reporting.console import (
    messages,
    print_message,
    print_next,
    print_warning,
    show,
    warn_if_synthetic,
)
from trainables.common.errors import ConfigError
from trainables.common.text import count_text

if TYPE_CHECKING:
    from results.scores.outside import OutsideEvaluation

HELP = "open the sealed test part, once, or score a model on other labelled data"
EPILOG = """\
Every opening is written to test_openings.jsonl before a label is read. The
first one is the honest one: a model that was chosen after looking at the test
part is no longer tested by it.

With --data the model is scored on labelled data that it never saw, such as
those of another hospital: metrics, calibration, strata of the columns, and how
far the pixels lie from the training images. Patients with an image that the
model was trained on are left out. A bundle is scored this way, too; each look
is counted in the store.

examples:
  orchestrate evaluate latest
  orchestrate evaluate latest --ensemble average --format json
  orchestrate evaluate latest --trial 7
  orchestrate evaluate latest --trial 7 --refit
  orchestrate evaluate latest --at sensitivity=0.95 --prevalence 0.006
  orchestrate evaluate latest --data other_hospital.npz
  orchestrate evaluate bundle/ --data other_hospital/ --format json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "run", metavar="RUN|BUNDLE", help="a run folder, TASK/NAME or NAME below --runs, latest, or a bundle"
    )
    add_runs(parser)
    add_model(
        parser, refit="predict with the models that `orchestrate refit` trained on the whole training part"
    )
    parser.add_argument(
        "--data", metavar="PATH", help="other labelled data, as --data of a search takes them"
    )
    add_operation(parser, kept="as the model was built")
    parser.add_argument("--task", metavar="FILE", help="the YAML file of a bundle's task that is your own")
    add_options(parser, (*READING, "store"))
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and print; returns the exit code."""
    from orchestrator.api.claims import is_bundle

    if is_bundle(Path(arguments.run)):
        _check_bundle_options(arguments)
        return _show_outside(_of_bundle(arguments), arguments.format)
    if arguments.task is not None:
        raise ConfigError("--task is for bundles; a run knows its task")
    if arguments.data is not None:
        return _show_outside(_of_run(arguments), arguments.format)
    unused = list(given_options(arguments, (*READING, "store")))
    if unused:
        raise ConfigError(
            f"--{unused[0].replace('_', '-')} says how to read other data; name them with --data"
        )
    return _open_test_part(arguments)


def _open_test_part(arguments: argparse.Namespace) -> int:
    from orchestrator.cli.opened import open_result
    from orchestrator.request import typed_command
    from results.predictors.selected_model import reason_against_export
    from results.predictors.test_evaluation import (
        evaluation_as_csv,
        evaluation_as_json,
        evaluation_table,
    )

    result = open_result(arguments)
    ensemble = "the best model" if arguments.ensemble == "best" else f"ensemble {arguments.ensemble}"
    model = ensemble if arguments.trial is None else f"trial {arguments.trial}"
    print_message(messages(), f"scoring {model} on the sealed test part ...")
    evaluation = result.evaluate(
        ensemble=arguments.ensemble,
        trial=arguments.trial,
        by=typed_command(sys.argv[1:]),
        refit=arguments.refit,
        operation=operation_of(arguments),
    )
    if evaluation.opening > 1:
        before = count_text(evaluation.opening - 1, "time")
        print_warning(
            messages(),
            f"this test part was opened {before} before, over all runs; this is not a first look",
        )
    if evaluation.unknown_looks:
        print_warning(messages(), evaluation.unknown_looks)
    warn_if_synthetic(result.run)
    show(
        arguments.format,
        table=lambda: evaluation_table(evaluation),
        rows=lambda: evaluation_as_json(evaluation),
        csv=lambda: evaluation_as_csv(evaluation),
    )
    if not reason_against_export(result.run, evaluation.trials):
        words = [*model_options(arguments), *(["--refit"] if arguments.refit else [])]
        words += operation_options(arguments)
        print_next(messages(), "orchestrate", "export", short_path(result.path), *words, "--out", "bundle/")
    return 0


def _check_bundle_options(arguments: argparse.Namespace) -> None:
    if arguments.data is None:
        raise ConfigError(
            f"{arguments.run} is a bundle, which holds no test part: name labelled data with --data, or "
            "evaluate the run that it came from"
        )
    if arguments.trial is not None or arguments.refit or arguments.ensemble != DEFAULT_ENSEMBLE:
        raise ConfigError("a bundle holds one model: leave --ensemble, --trial and --refit out")
    if operation_options(arguments):
        raise ConfigError(
            "a bundle decides as it was exported: leave --at, --prevalence and --triage "
            "out, or export it again"
        )


def _reading(arguments: argparse.Namespace) -> dict[str, Any]:
    """What reads the data: options that were given, the command for the log, and where remarks go."""
    from orchestrator.request import typed_command

    given = given_options(arguments, (*READING, "store", "runs"))
    return given | {"by": typed_command(sys.argv[1:]), "notify": functools.partial(print_message, messages())}


def _of_bundle(arguments: argparse.Namespace) -> "OutsideEvaluation":
    from orchestrator.api.claims import evaluate_bundle

    return evaluate_bundle(arguments.run, arguments.data, task=arguments.task, **_reading(arguments))


def _of_run(arguments: argparse.Namespace) -> "OutsideEvaluation":
    from orchestrator.cli.opened import open_result

    return open_result(arguments).evaluate_on(
        arguments.data,
        ensemble=arguments.ensemble,
        trial=arguments.trial,
        refit=arguments.refit,
        operation=operation_of(arguments),
        **_reading(arguments),
    )


def _show_outside(evaluation: "OutsideEvaluation", how: str) -> int:
    from results.scores.outside_table import outside_as_csv, outside_table

    console = messages()
    for note in evaluation.notes:
        print_warning(console, note)
    if evaluation.look > 1:
        before = count_text(evaluation.look - 1, "time")
        print_warning(console, f"these data were looked at {before} before; this is not a first look")
    if evaluation.is_synthetic:
        print_warning(console, "SYNTHETIC images: these numbers say nothing about patients")
    show(
        how,
        table=lambda: outside_table(evaluation),
        rows=lambda: evaluation.model_dump(mode="json"),
        csv=lambda: outside_as_csv(evaluation),
    )
    return 0
