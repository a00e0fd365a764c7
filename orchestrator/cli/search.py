"""`orchestrate search`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cli.common import add_finish, add_format
from orchestrator.cli.options import add_options, given_options

if TYPE_CHECKING:
    from orchestrator.request import SearchRequest

HELP = "search architectures and training settings for a task"
EPILOG = """\
examples:
  orchestrate search benign_malignant
      the embedded synthetic phantom: needs no data
  orchestrate search benign_malignant --data patches.npz --trials 24 \\
      --minutes 30
  orchestrate search mass_calcification --data pisa_folder/ \\
      --weights-dir weights/
  orchestrate search benign_malignant --data images/ --set optimizer.name=adam
  orchestrate search benign_malignant --data patches.npz --holdout 0.3 \\
      --test-share 0
  orchestrate search benign_malignant --data patches.npz \\
      --recipe E004-VGG_BM_BEST
  orchestrate search --task tasks.yaml --data biopsies/
      a task of your own (docs/how-to-tasks.md)
  orchestrate search benign_malignant --space my_space:space \\
      --gpus-per-trial 0.25
  orchestrate search --config search.yaml --trials 48
  orchestrate search --config runs/benign_malignant/first/search.yaml \\
      --name again
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_request(parser)
    parser.add_argument("--address", help="a Ray cluster: HOST:PORT, auto, or local to start one here")
    add_finish(parser)
    add_format(parser)


def add_request(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a search, and the file that they may come from."""
    add_options(parser)
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="read options from a YAML file, or those of a run from its search.yaml; what is typed wins",
    )


def run(arguments: argparse.Namespace) -> int:
    """Search; returns the exit code."""
    from orchestrator.api.beginning import ray_begun
    from orchestrator.request import check_request, typed_command

    request = request_of(arguments)
    with ray_begun(request, arguments.address) as begun:  # beside what takes seconds to import
        check_request(request)
        from orchestrator.api.search import search_as_asked
        from orchestrator.cli.closing import CommandDisplay, close_search

        display = CommandDisplay()
        command = typed_command(sys.argv[1:])
        result = search_as_asked(request, arguments.address, display, command=command, begun=begun)
    return close_search(result, display.console, finish=arguments.finish, form=arguments.format)


def request_of(arguments: argparse.Namespace) -> "SearchRequest":
    """Return the requested search: typed options win over the file, then recipes, then defaults.

    Raises:
        OrchestrateError: If an option does not exist, or its value is not allowed.
    """
    from orchestrator.api.requests import completed
    from orchestrator.request import read_config
    from results.run.request_options import refuse_empty
    from search_spaces.fixed_params import parse_fixed_params

    typed = given_options(arguments)
    if "fixed_params" in typed:
        typed["fixed_params"] = parse_fixed_params(typed["fixed_params"])
    asked = _merged(read_config(arguments.config) if arguments.config else {}, typed)
    for name, value in asked.items():
        refuse_empty(name, value)
    return completed(asked)


def _merged(config: dict[str, Any], typed: dict[str, Any]) -> dict[str, Any]:
    """Options of the file with those that are typed, setting by setting for `--set`."""
    merged = config | typed
    if "fixed_params" in typed and "fixed_params" in config:
        merged["fixed_params"] = {**config["fixed_params"], **typed["fixed_params"]}
    # A task and a file of tasks belong together: those of the file do not go with what is typed.
    if "own_task" in typed and "task" not in typed:
        merged.pop("task", None)
    if "task" in typed and "own_task" not in typed and not isinstance(config.get("own_task"), str):
        merged.pop("own_task", None)
    # A cross-validation and a hold-out exclude each other: what is typed takes the place of the file's.
    for name, other in (("folds", "holdout"), ("holdout", "folds")):
        if name in typed and other not in typed:
            merged.pop(other, None)
    return merged
