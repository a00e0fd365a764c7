"""Options shared by several verbs: the run, its folder and the output format."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.api.ranked import RankedTrials
    from results.run.run_folder import RunFolder
    from results.scores.operating_point import Operation

DEFAULT_ENSEMBLE: Final = "best"


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add RUN and --runs."""
    parser.add_argument("run", metavar="RUN", help="a run folder, TASK/NAME or NAME below --runs, or latest")
    add_runs(parser)


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add --runs."""
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")


def add_code(parser: argparse.ArgumentParser) -> None:
    """Add --space, --sampler and --pruner, by which the user names code that a run from elsewhere names."""
    parser.add_argument(
        "--space",
        metavar="MODULE:FUNCTION",
        help="the search's own space, said again for a run that was made elsewhere",
    )
    parser.add_argument("--sampler", metavar="MODULE:FUNCTION", help="its own sampler, likewise")
    parser.add_argument("--pruner", metavar="MODULE:FUNCTION", help="its own pruner, likewise")


def given_again(arguments: argparse.Namespace, *names: str) -> list[str]:
    """Return those of the options that were typed, word by word, for the command that goes on."""
    given = [(f"--{name}", getattr(arguments, name)) for name in names]
    return [word for option, value in given if value is not None for word in (option, str(value))]


def at_least_one(text: str) -> int:
    """Return a number that an option takes.

    Raises:
        ArgumentTypeError: If it is below 1.
    """
    if not text.isascii() or not text.lstrip("+-").isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number of 1 or more is needed, found {text}")
    return int(text)


def add_finish(parser: argparse.ArgumentParser) -> None:
    """Add --finish."""
    parser.add_argument(
        "--finish",
        action="store_true",
        help="then print the leaderboard, build ensembles and export the best",
    )


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add --format."""
    parser.add_argument(
        "--format", choices=("table", "json", "csv"), default="table", help="how to print (default: table)"
    )


def open_run(arguments: argparse.Namespace) -> "RunFolder":
    """The run folder that the user named; says on standard error what of it is damaged, or not known.

    Damaged are trials and claims, and not known those that were completed after the ensemble was built.
    """
    from orchestrator.reporting.console import messages, print_warning
    from results.run.damage import damaged_trials, damaged_weights
    from results.run.finding import find_run

    folder = find_run(arguments.run, arguments.runs)
    for damage in damaged_trials(folder).values():
        print_warning(messages(), str(damage))
    for number, error in damaged_weights(folder).items():
        if folder.weights_folder(number).is_dir():  # a copy of a run may be without weights
            print_warning(messages(), str(error))
    for said in (*_damaged_claims(folder), _later_trials(folder, arguments)):
        if said:
            print_warning(messages(), said)
    return folder


def _damaged_claims(folder: "RunFolder") -> list[str]:
    """What is wrong with the scores of a nested search and of repeats, which the run is read without then."""
    if not (folder.outer_file.exists() or folder.repeats_file.exists()):
        return []  # before what takes time to import
    from results.errors import DamagedFileError
    from results.scores.outer_result import read_outer
    from results.scores.repeats import read_repeats

    said = []
    for read in (read_outer, read_repeats):
        try:
            read(folder)
        except DamagedFileError as error:
            said.append(str(error))
    return said


def _later_trials(folder: "RunFolder", arguments: argparse.Namespace) -> str:
    """What the ensemble that a verb takes does not know of the trials; empty for a trial and other verbs."""
    ensemble = getattr(arguments, "ensemble", None)
    if ensemble is None or arguments.trial is not None or not folder.ensembles.is_dir():
        return ""
    from orchestrator.api.ranked import RankedTrials

    return RankedTrials(folder).said_of_later_trials(ensemble)


def warn_of_baseline(result: "RankedTrials", console: "Console") -> None:
    """Say if what a run ships is not better than colour and intensity only."""
    from orchestrator.reporting.console import print_warning

    verdict = result.against_baseline()
    if verdict is not None and verdict.message():
        print_warning(console, verdict.message())


def add_model(parser: argparse.ArgumentParser, *, refit: str = "") -> None:
    """Add --ensemble and --trial, which name a model of a run, and --refit.

    Args:
        parser: Parser of the verb.
        refit: Help text of --refit; empty for a verb that does not have it.
    """
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--ensemble", default=DEFAULT_ENSEMBLE, help="name of the ensemble (default: %(default)s)"
    )
    which.add_argument("--trial", type=int, help="a single trial instead")
    if refit:
        parser.add_argument("--refit", action="store_true", help=refit)


def add_operation(parser: argparse.ArgumentParser, *, kept: str = "") -> None:
    """Add --at, --prevalence and --triage, which say what decisions are for.

    Args:
        parser: Parser of the verb.
        kept: What is taken from a model that was built already, as the end of "(default: ...".
    """
    before = f"{kept}, else " if kept else ""
    parser.add_argument(
        "--at",
        metavar="AIM=NUMBER",
        help="what the threshold is chosen for, out of fold: sensitivity, specificity, recall-rate or ppv "
        "and a share, or cost=10:1, a missed positive to a false alarm "
        f"(default: {before}what the search optimises)",
    )
    parser.add_argument(
        "--prevalence",
        type=float,
        metavar="SHARE",
        help="share of positives where the model will be used, to which probabilities and --at are moved "
        f"(default: {before}that of the data)",
    )
    parser.add_argument(
        "--triage",
        metavar="SHARES",
        help="a second rule of two thresholds, benign, do not know and recall, such as "
        "missed=0.02,alarms=0.1: the largest shares of positives called benign, and of negatives recalled"
        f"{f' (default: {kept}, else none)' * bool(kept)}",
    )


def operation_of(arguments: argparse.Namespace) -> "Operation":
    """Return what was asked of decisions; see `add_operation`."""
    from results.scores.operating_point import Operation

    return Operation.of(at=arguments.at, prevalence=arguments.prevalence, triage=arguments.triage)


def operation_options(arguments: argparse.Namespace) -> list[str]:
    """Return the options that ask the same of decisions, word by word."""
    given = (("--at", arguments.at), ("--prevalence", arguments.prevalence), ("--triage", arguments.triage))
    return [word for name, value in given if value is not None for word in (name, str(value))]


def model_options(arguments: argparse.Namespace) -> list[str]:
    """Return the options that name the same model, word by word; none for the one that is taken without."""
    if arguments.trial is not None:
        return ["--trial", str(arguments.trial)]
    return [] if arguments.ensemble == DEFAULT_ENSEMBLE else ["--ensemble", arguments.ensemble]


def short_path(path: Path) -> str:
    """Return a path as the user would type it here: relative where it lies below the working folder."""
    from trainables.common.text import typed_path

    try:
        return typed_path(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return typed_path(path)
