"""`orchestrate search`."""

import argparse
import sys
from pathlib import Path

HELP = "search architectures and training settings for a task"
EPILOG = """\
examples:
  orchestrate search benign_malignant
      the embedded synthetic phantom: needs no data
  orchestrate search benign_malignant --data patches.npz --trials 24 --minutes 30
  orchestrate search mass_calcification --data pisa_folder/ --weights-dir weights/
  orchestrate search benign_malignant --data images/ --set optimizer.name=adam
  orchestrate search benign_malignant --space my_space:space --gpus-per-trial 0.25
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "task", metavar="TASK", help="benign_malignant, mass_calcification or normal_abnormal"
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        default="phantom",
        metavar="PATH",
        help="an .npz file, a folder of .npy tensors in the Pisa layout, a folder CLASS/FILE of images, or "
        "phantom (default): synthetic patches",
    )
    data.add_argument(
        "--source", help="how to read PATH: npz, pisa, folder or phantom (default: by what it is)"
    )
    data.add_argument(
        "--label-codes", choices=("task", "pisa", "003"), help="what label numbers mean (default: found out)"
    )
    data.add_argument("--folds", type=int, default=4, help="folds of the cross-validation (default: 4)")
    data.add_argument(
        "--test-share",
        type=float,
        default=0.2,
        help="share of the patients sealed for the test, unless the data bring a test set (default: 0.2)",
    )
    data.add_argument("--seed", type=int, default=0, help="of split, sampler and training (default: 0)")
    budget = parser.add_argument_group("budget")
    budget.add_argument("--trials", type=int, default=24, help="number of trials (default: 24)")
    budget.add_argument("--minutes", type=float, help="stop after this time (default: no limit)")
    budget.add_argument(
        "--trial-minutes", type=float, help="longest single trial (default: a sixth of --minutes, else 10)"
    )
    budget.add_argument("--epochs", type=int, default=30, help="largest number of epochs (default: 30)")
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
    machine.add_argument("--address", help="a Ray cluster: HOST:PORT, auto, or local to start one here")
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
    from orchestrator.request import SearchRequest, check_request, typed_command
    from search_spaces.pins import parse_pins

    request = SearchRequest(
        task=arguments.task,
        data=arguments.data,
        source=arguments.source,
        label_codes=arguments.label_codes,
        name=arguments.name,
        runs=arguments.runs,
        store=arguments.store,
        features=arguments.features,
        store_gb=arguments.store_gb,
        shared_store=arguments.shared_store,
        space=arguments.space,
        pins=parse_pins(arguments.pins),
        trials=arguments.trials,
        minutes=arguments.minutes,
        trial_minutes=arguments.trial_minutes,
        folds=arguments.folds,
        test_share=arguments.test_share,
        seed=arguments.seed,
        epochs=arguments.epochs,
        workers=arguments.workers,
        cpus_per_trial=arguments.cpus_per_trial,
        gpus_per_trial=arguments.gpus_per_trial,
        weights_dir=arguments.weights_dir,
        may_download=not arguments.offline,
        keep_weights=arguments.keep_weights,
        study_storage=arguments.study_storage,
        command=typed_command(sys.argv[1:]),
    )
    check_request(request)
    from orchestrator.conduct import start_search

    return start_search(request, address=arguments.address, console=messages(), finish=arguments.finish)
