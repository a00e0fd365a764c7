"""Our search against the script of `benchmarks.by_hand_script`, on the same images and folds, with curves.

    python -m benchmarks.by_hand DATA [--sets infn films idc mias phantom] [--minutes 4] [--seeds 1]
        [--same-folds] [--first-seed 0] [--only SIDE] [--hand-minutes N] [--work DIR] [--json FILE]

DATA is the folder of real images and weights. Each side runs by itself as a process of its own, from a cold
store; its clock starts when the process is started, so imports, Ray, reading and features count. What it has
found after some seconds is judged from the out-of-fold predictions of the trials that had ended: the nested
AUC of its ensemble, chosen and fitted again without each fold. The script averages its five best trials; our
search takes the ensemble that it would export. There is no test part: all patients are in the folds. Each
seed has folds of its own, unless `--same-folds` asks how much a search owes to its seed and to timing alone.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from results.ensembles.limits import DEFAULT_MEMBERS
from results.ensembles.members import Members, align, kind_of
from results.ensembles.methods import METHODS
from results.ensembles.nested import EnsembleScore, choose, nested_evaluation
from results.run.records import OutOfFold
from results.run.run_folder import RunFolder
from results.scores.fold_scores import collapsed_folds
from trainables.config.baseline import is_baseline
from trainables.config.tasks import task_named
from trainables.data.patches import select_rows
from trainables.data.sources import load_patch_set
from trainables.data.splits import make_split

SECONDS: Final = (15, 30, 45, 60, 90, 120, 180, 240, 300, 360, 480, 600)
FOLDS: Final = 4
_HAND_MEMBERS: Final = 5


@dataclass(frozen=True, slots=True)
class DataSet:
    """A set of images with its question.

    Attributes:
        task: Name of the task.
        path: Path below the folder of real data; None for the phantom.
        label_codes: What label numbers mean; None finds out.
    """

    task: str
    path: str | None
    label_codes: Any = None


SETS: Final = {
    "infn": DataSet("benign_malignant", "infn_mass_patches_150.npz", "pisa"),
    "films": DataSet("benign_malignant", "ddsm_mass_films_227.npz", "task"),
    "idc": DataSet("idc", "idc"),
    "mias": DataSet("normal_abnormal", "mias_pisa_layout"),
    "phantom": DataSet("benign_malignant", None),
}


@dataclass(frozen=True, slots=True)
class Point:
    """What one side has found after some seconds.

    Attributes:
        seconds: Seconds since its process was started.
        trials: Number of trials that had ended.
        best: Highest AUC of a trial, mean over folds; chosen by that score, so it is too high.
        nested: Nested AUC of the ensemble, with the ends of its 95 % interval.
        method: How the ensemble combines.
        single: Nested AUC of the best trial, chosen anew without each fold.
        gain: What the ensemble has above that, with the ends of the interval that holds for all methods
            together in 95 %; None where no trial stands beside the first.
    """

    seconds: float
    trials: int
    best: float
    nested: tuple[float, float, float]
    method: str
    single: float
    gain: tuple[float, float, float] | None


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of real images and weights")
    parser.add_argument("--sets", nargs="+", choices=tuple(SETS), default=tuple(SETS))
    parser.add_argument("--minutes", type=float, default=4.0, help="time of our search (default: 4)")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--same-folds", action="store_true", help="the folds of seed 0 for all seeds")
    parser.add_argument("--hand-trials", type=int, default=80)
    parser.add_argument("--hand-minutes", type=float, help="end the script after that time (default: never)")
    parser.add_argument("--only", choices=("hand", "ours"), help="one side only")
    parser.add_argument("--work", type=Path, help="folder for runs and predictions; kept")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        work = (arguments.work or Path(scratch)).resolve()
        for name in arguments.sets:
            runs = list[dict[str, list[Point]]]()
            for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
                folder = work / f"{name}-{seed}"
                folder.mkdir(parents=True, exist_ok=True)
                own = compare(SETS[name], arguments, folder, seed)
                found[f"{name}, seed {seed}"] = {
                    side: [asdict(point) for point in points] for side, points in own.items()
                }
                runs.append(own)
                print("\n".join(as_lines(f"{name}, seed {seed}", own)), flush=True)
                if arguments.json:
                    arguments.json.write_text(json.dumps(found, indent=1) + "\n")
            if len(runs) > 1:
                print("\n".join(over_seeds(name, runs)), flush=True)


def compare(
    data_set: DataSet, arguments: argparse.Namespace, folder: Path, seed: int
) -> dict[str, list[Point]]:
    """Run both sides on one set, one after the other; returns the curve of each."""
    images, truth = _written(data_set, arguments.data, folder, 0 if arguments.same_folds else seed)
    curves = {}
    if arguments.only != "ours":
        curves["by hand"] = _by_hand(images, truth, arguments, folder / "hand", seed)
    if arguments.only != "hand":
        curves["ours"] = _ours(data_set, arguments, folder, seed)
    return curves


def as_lines(title: str, curves: Mapping[str, Sequence[Point]]) -> list[str]:
    """The curves as a Markdown table under a title."""
    lines = [
        f"\n### {title}\n",
        "| side | seconds | trials | best trial | nested AUC | method | above best |",
    ]
    lines.append("| --- | ---: | ---: | ---: | --- | --- | --- |")
    for side, points in curves.items():
        for point in points:
            middle, low, high = point.nested
            above = "-" if point.gain is None else "{:+.3f} [{:+.3f}, {:+.3f}]".format(*point.gain)
            lines.append(
                f"| {side} | {point.seconds:.0f} | {point.trials} | {point.best:.3f} | "
                f"{middle:.3f} [{low:.3f}, {high:.3f}] | {point.method} | {above} |"
            )
    return lines


def over_seeds(name: str, runs: Sequence[Mapping[str, Sequence[Point]]]) -> list[str]:
    """What runs of several seeds have found by the same time, as a Markdown table.

    Columns are means over the runs with their standard deviation; a run without any score by then has 0.5.
    """
    sides = list(runs[0])
    lines = [f"\n### {name}, {len(runs)} seeds\n"]
    lines.append(f"| seconds | {' | '.join(sides)} | {'difference' if len(sides) == 2 else ''} |")
    lines.append("| ---: | " + " | ".join("---" for _ in range(len(sides) + 1)) + " |")
    for seconds in (
        one for one in SECONDS if one <= max(own[-1].seconds for run in runs for own in run.values())
    ):
        found = np.array([[value_at(run[side], seconds) for run in runs] for side in sides])
        cells = [*found, *([found[1] - found[0]] if len(sides) == 2 else [])]
        shown = " | ".join(f"{own.mean():.3f} ± {own.std(ddof=1):.3f}" for own in cells)
        lines.append(f"| {seconds} | {shown} |")
    return lines


def value_at(points: Sequence[Point], seconds: float) -> float:
    """Return the nested AUC that was known by a time; 0.5 if no trial had ended."""
    return next((own.nested[0] for own in reversed(points) if own.seconds <= seconds), 0.5)


def _written(data_set: DataSet, data: Path, folder: Path, seed: int) -> tuple[Path, OutOfFold]:
    """Write images, labels and folds for the script; also return labels, folds and patients."""
    task = task_named(data_set.task)
    patch_set, _ = load_patch_set(
        _location(data_set, data), task=task, label_codes=data_set.label_codes, store=folder / "data"
    )
    rows = select_rows(patch_set, task)
    split = make_split(
        rows, fingerprint=patch_set.fingerprint, task=task.name, folds=FOLDS, test_share=0.0, seed=seed
    )
    folds = split.folds_of(rows)
    kept = folds >= 0
    truth = OutOfFold(
        rows.rows[kept], rows.labels[kept], folds[kept], rows.groups[kept].astype(np.str_), np.zeros((0, 2))
    )
    path = folder / "images.npz"
    images = np.asarray(patch_set.images[truth.rows])
    top = patch_set.max_value
    np.savez(path, images=images, labels=truth.labels, folds=truth.folds, max_value=top)
    return path, truth


def _location(data_set: DataSet, data: Path) -> str:
    return "phantom" if data_set.path is None else str(data / data_set.path)


def _by_hand(
    images: Path, truth: OutOfFold, arguments: argparse.Namespace, out: Path, seed: int
) -> list[Point]:
    out.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.by_hand_script", str(images), str(out)]
    command += ["--trials", str(arguments.hand_trials), "--seed", str(seed)]
    weights = arguments.data / "weights" / "vgg16_features_fp16.pt"
    if weights.exists():
        command += ["--vgg16", str(weights)]
    began = time.time()
    _run_for(command, arguments.hand_minutes)
    trials: dict[int, tuple[float, OutOfFold]] = {}
    for path in sorted(out.glob("*.npz")):
        if not zipfile.is_zipfile(path):
            continue  # the script was ended while it wrote
        with np.load(path) as stored:
            predictions = OutOfFold(
                truth.rows, truth.labels, truth.folds, truth.groups, stored["probabilities"]
            )
            trials[int(path.stem)] = float(stored["time"]) - began, predictions
    return _curve(trials, ("average",), _HAND_MEMBERS, seed, considered=_HAND_MEMBERS)


def _run_for(command: Sequence[str], minutes: float | None) -> None:
    """Run a command to its end, or end it after so many minutes."""
    with subprocess.Popen(command) as process:
        try:
            status = process.wait(None if minutes is None else 60.0 * minutes)
        except subprocess.TimeoutExpired:
            process.kill()
            return
    if status != 0:
        raise SystemExit(f"the script failed with exit code {status}")


def _ours(data_set: DataSet, arguments: argparse.Namespace, folder: Path, seed: int) -> list[Point]:
    command = [sys.executable, "-m", "orchestrator.cli.main", "search", data_set.task]
    command += ["--data", _location(data_set, arguments.data), "--test-share", "0", "--seed", str(seed)]
    command += ["--split-seed", "0"] if arguments.same_folds else []
    command += ["--minutes", f"{arguments.minutes:g}", "--offline", "--address", "local"]
    command += ["--runs", str(folder / "runs"), "--name", "ours"]
    command += ["--weights-dir", str(arguments.data / "weights")]
    if data_set.label_codes is not None:
        command += ["--label-codes", data_set.label_codes]
    began = time.time()
    subprocess.run(command, check=True, env={**os.environ, "COLUMNS": "100"})
    run = RunFolder(folder / "runs" / data_set.task / "ours")
    complete = [record for record in run.records() if record.state == "complete"]
    ended = {record.number: record.finished_at.timestamp() - began for record in complete}
    trials = {
        record.number: (ended[record.number], predictions)
        for record, predictions in run.readable_predictions(complete)
    }
    kinds = {record.number: kind_of(record.config) for record in complete}
    baselines = frozenset(record.number for record in complete if is_baseline(record.config))
    return _curve(trials, tuple(METHODS), DEFAULT_MEMBERS, seed, kinds=kinds, baselines=baselines)


def _curve(
    trials: Mapping[int, tuple[float, OutOfFold]],
    methods: Sequence[str],
    members: int,
    seed: int,
    *,
    kinds: Mapping[int, str] = MappingProxyType({}),
    baselines: frozenset[int] = frozenset(),
    considered: int | None = None,
) -> list[Point]:
    """Judge what had ended by each time; what has collapsed is a member only if nothing else is there."""
    last = max((seconds for seconds, _ in trials.values()), default=0.0)
    collapsed = {number for number, (_, own) in trials.items() if collapsed_folds(own)}
    points = []
    for seconds in (*(one for one in SECONDS if one < last), last):
        ended = {number: own for number, (end, own) in trials.items() if end <= seconds}
        if ended:
            sound = {number: own for number, own in ended.items() if number not in collapsed} or ended
            pool = align(sound, kinds=kinds, baselines=baselines & frozenset(sound))
            points.append(_point(seconds, pool, methods, members, seed, considered))
    return points


def _point(
    seconds: float, pool: Members, methods: Sequence[str], members: int, seed: int, considered: int | None
) -> Point:
    usable = methods if len(pool.trials) > 1 else ()
    scores = nested_evaluation(pool, usable, max_members=members, seed=seed, considered=considered)
    chosen: EnsembleScore = choose(scores, seed=seed)
    gain = chosen.difference
    alone = nested_evaluation(pool.only(pool.order(1)), (), max_members=1, seed=seed)[0]
    return Point(
        seconds=seconds,
        trials=len(pool.trials),
        best=alone.auc.estimate,
        nested=(chosen.auc.estimate, chosen.auc.low, chosen.auc.high),
        method=chosen.method,
        single=scores[0].auc.estimate,
        gain=None if gain is None else (gain.estimate, gain.low, gain.high),
    )


if __name__ == "__main__":
    main()
