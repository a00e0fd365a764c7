"""`orchestrate search`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.request import SearchRequest

HELP = "search architectures and training settings for a task"
EPILOG = """\
examples:
  orchestrate search benign_malignant
      the embedded synthetic phantom: needs no data
  orchestrate search benign_malignant --data patches.npz --trials 24 --minutes 30
  orchestrate search mass_calcification --data pisa_folder/ --weights-dir weights/
  orchestrate search benign_malignant --data images/ --set optimizer.name=adam
  orchestrate search benign_malignant --data patches.npz --holdout 0.3 --test-share 0
  orchestrate search benign_malignant --data patches.npz --recipe E004-VGG_BM_BEST
  orchestrate search benign_malignant --space my_space:space --gpus-per-trial 0.25
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "task",
        metavar="TASK",
        help="benign_malignant, mass_calcification, normal_abnormal, five_class, finding_type, "
        "finding_pathology, idc, healthy_sick or wisconsin",
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        metavar="PATH",
        help="an .npz file, a folder of .npy tensors in the Pisa layout, a folder CLASS/FILE of images, or "
        "phantom (default): synthetic patches; the task wisconsin has a table of its own",
    )
    data.add_argument(
        "--source", help="how to read PATH: npz, pisa, folder or phantom (default: by what it is)"
    )
    data.add_argument(
        "--label-codes", choices=("task", "pisa", "003"), help="what label numbers mean (default: found out)"
    )
    data.add_argument("--folds", type=int, help="folds of the cross-validation (default: 4)")
    data.add_argument(
        "--holdout",
        type=float,
        metavar="SHARE",
        help="instead of folds one validation part: this share of the patients that the test part leaves, in "
        "tenths or a simpler fraction; 80/10/10 is --holdout 0.111 --test-share 0.1",
    )
    data.add_argument(
        "--naive-split",
        action="store_true",
        help="split single images, whoever their patient is: to compare with scores made that way; too high",
    )
    data.add_argument(
        "--test-share",
        type=float,
        help="share of the patients sealed for the test, unless the data bring a test set (default: 0.2, or "
        "the recipe's)",
    )
    data.add_argument("--seed", type=int, default=0, help="of split, sampler and training (default: 0)")
    budget = parser.add_argument_group("budget")
    budget.add_argument(
        "--trials", type=int, help="number of trials (default: 24, or the points of the recipes)"
    )
    budget.add_argument("--minutes", type=float, help="stop after this time (default: no limit)")
    budget.add_argument(
        "--trial-minutes", type=float, help="longest single trial (default: a sixth of --minutes, else 10)"
    )
    budget.add_argument("--epochs", type=int, help="largest number of epochs (default: 30, or the recipes')")
    space = parser.add_argument_group("space")
    space.add_argument("--space", metavar="MODULE:FUNCTION", help="a search space of your own")
    space.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="pins",
        help="hold a setting fixed, such as optimizer.name=adam; may be repeated",
    )
    space.add_argument("--weights-dir", type=Path, help="folder of state dicts named after their backbones")
    space.add_argument("--offline", action="store_true", help="never download pretrained weights")
    machine = parser.add_argument_group("machine")
    machine.add_argument("--workers", type=int, help="trials at once (default: as many as fit)")
    machine.add_argument(
        "--cpus-per-trial", type=float, default=1.0, help="CPU cores of a trial (default: 1)"
    )
    machine.add_argument(
        "--gpus-per-trial", type=float, help="GPUs of a trial (default: 0.25 where there is one)"
    )
    machine.add_argument(
        "--process-per-fold",
        action="store_true",
        help="train the folds of a trial one after the other, each in a process that takes its memory along "
        "when it ends: slower, for models that hardly fit",
    )
    machine.add_argument("--address", help="a Ray cluster: HOST:PORT, auto, or local to start one here")
    building = parser.add_argument_group("building on what is known")
    building.add_argument(
        "--recipe",
        action="append",
        default=[],
        metavar="ID",
        dest="recipes",
        help="run an experiment of the catalogue (orchestrate recipes list) and nothing else, unless "
        "--trials asks for more; may be repeated; `all` tries all of the task's first",
    )
    building.add_argument(
        "--start-from",
        metavar="RUN[:TRIAL]",
        help="finished trial whose weights model.weights=start takes over; its folds hold here too",
    )
    building.add_argument(
        "--type-from",
        metavar="RUN[:TRIAL]",
        help="finished trial of mass_calcification whose prediction model.type_input takes in",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--name", help="the run folder becomes RUNS/TASK/NAME (default: the time of day)")
    output.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")
    output.add_argument(
        "--store", type=Path, help="folder of stored data and features (default: RUNS/.store)"
    )
    output.add_argument(
        "--features",
        choices=("float16", "float32", "off"),
        default="float16",
        help="how features of frozen layers are stored; off computes them in memory for each trial "
        "(default: float16)",
    )
    output.add_argument(
        "--store-gb",
        type=float,
        metavar="N",
        help="most that stored features may take on a node's disk (default: 200, or 80 %% of what is free)",
    )
    output.add_argument(
        "--shared-store",
        type=Path,
        metavar="PATH",
        help="folder that all nodes see: what one has computed, the others copy",
    )
    output.add_argument("--study-storage", metavar="URL", help="an Optuna storage (default: a journal file)")
    output.add_argument(
        "--keep-weights", type=int, default=12, help="best trials whose weights stay (default: 12)"
    )
    output.add_argument(
        "--finish",
        action="store_true",
        help="then print the leaderboard, build ensembles and export the best",
    )


def run(arguments: argparse.Namespace) -> int:
    """Search; returns the exit code."""
    from orchestrator.cli.common import messages
    from orchestrator.request import check_request

    request = request_of(arguments)
    check_request(request)
    from orchestrator.tuning.session import start_search

    return start_search(request, address=arguments.address, console=messages(), finish=arguments.finish)


def request_of(arguments: argparse.Namespace) -> "SearchRequest":
    """The search that is asked for; options that are called like a field of the request are that field."""
    import dataclasses

    from orchestrator.preflight.initial_points import defaults_for
    from orchestrator.request import SearchRequest, typed_command
    from search_spaces.fixed_params import parse_fixed_params
    from trainables.config.tasks import task_named
    from trainables.data.sources import default_data

    task, given = task_named(arguments.task), vars(arguments)
    fields = {field.name for field in dataclasses.fields(SearchRequest)}
    asked = {name: value for name, value in given.items() if name in fields and value is not None}
    if "folds" in asked or "holdout" in asked:  # one of the two takes the place of the recipe's protocol
        asked = {"folds": None, "holdout": None} | asked
    own = {
        "data": arguments.data or default_data(task),
        "pins": parse_fixed_params(arguments.pins),
        "recipes": tuple(arguments.recipes),
        "may_download": not arguments.offline,
        "command": typed_command(sys.argv[1:]),
    }
    return SearchRequest(**(dataclasses.asdict(defaults_for(arguments.recipes, task.name)) | asked | own))
