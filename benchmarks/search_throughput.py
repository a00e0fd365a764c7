"""The same 32 configurations through our search, with a cold and a warm store, and through plain Ray Tune.

    python -m benchmarks.search_throughput --data FILE [--device cpu|cuda] [--backbone efficientnet_lite0]
        [--weights-dir DIR] [--configurations 32] [--plain-sample 2] [--seeds 3] [--json FILE]

Frozen backbone, two cut levels, three contrasts, three heads, two learning rates, four patient-grouped folds
from one split, the eight symmetries in training, one view at prediction, two trials at once, in one Ray that
runs already; with `--device cuda` the two share a GPU, on either side. The plain side runs a random sample of
the configurations; its time is scaled by their number. `--plain-sample 0` leaves it out, to compare two
versions of ours.
"""

import argparse
import dataclasses
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.plain_configurations import COUNT, Configuration, configurations
from benchmarks.plain_search import PlainData, PlainResult, run_plain
from cluster.background import KnownConnection
from cluster.connect import Connection, connect, disconnect
from orchestrator.request import SearchRequest
from orchestrator.study.trial_spec import TrialSpec
from orchestrator.tuning.ray_backend import Resources, run_trials
from orchestrator.tuning.setup import Prepared, prepare_search
from orchestrator.tuning.trial_manager import TrialManager
from results.run.records import TrialRecord
from results.run.run_folder import RunFolder
from trainables.config.tasks import task_named
from trainables.config.trial_config import TrialConfig
from trainables.data.patches import open_patch_set
from trainables.data.split_record import read_split
from trainables.data.training_data import training_data_of
from trainables.models.weights import find_weights

TASK: Final = "benign_malignant"
WORKERS: Final = 2
FOLDS: Final = 4
_Z95: Final = 1.96


class FixedList:
    """A study that hands out a list of configurations and prunes none."""

    def __init__(self, configs: Sequence[TrialConfig]) -> None:
        self.proposals = [TrialSpec(number, config, {}) for number, config in enumerate(configs)]
        self.records: dict[int, TrialRecord] = {}

    def ask(self) -> TrialSpec | None:
        """Return the next trial, or None at the end of the list."""
        return self.proposals.pop(0) if self.proposals else None

    def should_prune(self, number: int, epoch: int, value: float, fold_values: Sequence[float] = ()) -> bool:
        """Return False: no trial is pruned."""
        return False

    def tell(self, record: TrialRecord) -> None:
        """Keep the record."""
        self.records[record.number] = record


@dataclass(frozen=True, slots=True)
class OurResult:
    """Outcome of our search over a list.

    Attributes:
        seconds: Seconds from the file of images to the last record, preparation included.
        preparation: Seconds before the first trial: data, split, probe, export of the frozen stages.
        values: Mean fold AUC of each configuration, in order.
        prefix_seconds: Worker seconds in which features were computed.
        trial_seconds: Worker seconds of all trials, without the time between them.
        computed_views: Number of view files that were computed.
    """

    seconds: float
    preparation: float
    values: list[float]
    prefix_seconds: float
    trial_seconds: float
    computed_views: int


def main() -> None:
    """Measure and print."""
    began = time.perf_counter()
    arguments = read_arguments(sys.argv[1:])
    with tempfile.TemporaryDirectory() as scratch:
        connection = connect("local", cpus=WORKERS)
        try:
            check_device(arguments.device, connection.gpus)
            found = _compare(arguments, Path(scratch), connection)
        finally:
            disconnect(connection)
    found["process_seconds"] = time.perf_counter() - began
    Console().print(_table(found))
    for line in _sentences(found):
        print(line)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Read the words of a command line; those that make no comparison end the process with a sentence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--weights-dir", type=Path)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument(
        "--configurations", type=int, default=COUNT, metavar="N", help="the first N of all, for a quick look"
    )
    parser.add_argument(
        "--plain-sample", type=int, default=2, help="an even number of configurations; 0: ours alone"
    )
    parser.add_argument("--seeds", type=int, default=3, help="of ours, to know how much chance moves a score")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(words)
    if not 1 <= arguments.configurations <= COUNT:
        sys.exit(f"--configurations must be from 1 to {COUNT}")
    if arguments.plain_sample % WORKERS or not 0 <= arguments.plain_sample <= arguments.configurations:
        sys.exit(f"--plain-sample must be a multiple of {WORKERS} up to {arguments.configurations}")
    return arguments


def check_device(device: str, gpus: float) -> None:
    """End the process with a sentence if Ray offers no GPU although one is asked for."""
    if device == "cuda" and gpus < 1:
        sys.exit("--device cuda needs a GPU, and Ray finds none here; --device cpu runs on the CPU")


def _compare(arguments: argparse.Namespace, scratch: Path, connection: Connection) -> dict[str, Any]:
    points = configurations()[: arguments.configurations]
    trials = [point.as_trial(arguments.backbone, arguments.epochs) for point in points]
    chosen = sorted(random.Random(1).sample(range(len(points)), arguments.plain_sample))
    ours = {}
    for name in ("cold", "warm"):
        start = time.perf_counter()
        prepared = _prepared(arguments, scratch, connection, name)
        seconds = time.perf_counter() - start
        ours[name] = _run_ours(prepared, trials, scratch / name, seed=0, preparation=seconds)
    sampled = [trials[number] for number in chosen]
    found = {
        "data": Path(arguments.data).name,
        "device": arguments.device,
        "backbone": arguments.backbone,
        "configurations": len(points),
        "epochs": arguments.epochs,
        "cold": dataclasses.asdict(ours["cold"]),
        "warm": dataclasses.asdict(ours["warm"]),
    }
    if not chosen:
        return found
    again = [
        _run_ours(prepared, sampled, scratch / f"seed-{seed}", seed=seed)
        for seed in range(1, arguments.seeds)
    ]
    plain = _run_plain(prepared, arguments, [points[number] for number in chosen], scratch)
    mean_of_seed = [statistics.fmean(ours["cold"].values[number] for number in chosen)]
    mean_of_seed += [statistics.fmean(one.values) for one in again]
    return found | {
        "plain_sample": len(chosen),
        "plain_sample_seconds": plain.seconds,
        "plain_seconds": plain.seconds * len(points) / len(chosen),
        "auc_plain": statistics.fmean(plain.values),
        "auc_ours_by_seed": mean_of_seed,
        "plain_values": plain.values,
        "our_values": [ours["cold"].values[number] for number in chosen],
    }


def _prepared(arguments: argparse.Namespace, scratch: Path, connection: Connection, name: str) -> Prepared:
    """Preparation of a search before its trials: data, split, probe and export."""
    request = SearchRequest(
        task=TASK,
        data=arguments.data,
        name=name,
        runs=scratch / "runs",
        fixed_params={"model.backbone": arguments.backbone},
        trials=arguments.configurations,
        folds=FOLDS,
        epochs=arguments.epochs,
        workers=WORKERS,
        gpus_per_trial=1 / WORKERS if arguments.device == "cuda" else 0.0,
        weights_dir=arguments.weights_dir,
        may_download=False,
    )
    return prepare_search(request, KnownConnection(connection), print)


def _run_ours(
    prepared: Prepared,
    configs: Sequence[TrialConfig],
    folder: Path,
    *,
    seed: int,
    preparation: float = 0.0,
) -> OurResult:
    """Run configurations through trial manager and Ray backend, in a run folder of their own."""
    run, record = RunFolder(folder), prepared.record.with_options(seed=seed)
    folder.mkdir()
    run.split_file.write_bytes(prepared.run.split_file.read_bytes())
    run.write_search(record)
    proposer = FixedList(configs)
    manager = TrialManager(run, record, proposer, (), deadline=None, clock=time.time)
    start = time.perf_counter()
    run_trials(manager, run, Resources(record.request.fewest_cpus, record.gpus_per_trial, WORKERS))
    seconds = preparation + time.perf_counter() - start
    records = [proposer.records[number] for number in range(len(configs))]
    failed = [one for one in records if one.state != "complete"]
    if failed:
        raise RuntimeError(f"trial {failed[0].number} of ours failed: {failed[0].error}")
    uses = [one.prefix for one in records if one.prefix is not None]
    return OurResult(
        seconds=seconds,
        preparation=preparation,
        values=[one.scored_value for one in records],
        prefix_seconds=sum(use.computed_seconds for use in uses),
        trial_seconds=sum(one.wall_seconds for one in records),
        computed_views=sum(use.computed for use in uses),
    )


def _run_plain(
    prepared: Prepared, arguments: argparse.Namespace, sample: Sequence[Configuration], scratch: Path
) -> PlainResult:
    record = prepared.record
    patch_set = open_patch_set(*record.data_location)
    training_data = training_data_of(patch_set, task_named(TASK), read_split(prepared.run.split_file))
    images = scratch / "images.npy"
    np.save(images, patch_set.images[training_data.rows])
    data = PlainData(
        images=images,
        labels=training_data.labels,
        folds=training_data.folds,
        max_value=patch_set.max_value,
        size_px=record.space_context["sizes_px"][arguments.backbone],
        backbone=arguments.backbone,
        weights=find_weights(arguments.backbone, weights_dir=arguments.weights_dir, may_download=False),
        epochs=arguments.epochs,
        seed=0,
        device=arguments.device,
    )
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "0"
    return run_plain(data, sample, workers=WORKERS, folder=scratch / "plain")


def _table(found: Mapping[str, Any]) -> Table:
    count, plain = found["configurations"], found.get("plain_seconds")
    table = Table(box=None, pad_edge=False)
    for title in (f"{count} configurations", "Seconds", "Ratio"):
        table.add_column(title, justify="left" if title.endswith("ations") else "right")
    if plain:
        table.add_row(f"plain, {found['plain_sample']} run and scaled by {count}", f"{plain:.0f}", "1x")
    for name in ("cold", "warm"):
        seconds = found[name]["seconds"]
        ratio = f"{plain / seconds:.0f}x" if plain else ""
        table.add_row(f"ours, {name} store", f"{seconds:.1f}", ratio)
    return table


def _sentences(found: Mapping[str, Any]) -> list[str]:
    lines = _score_sentences(found) if "auc_plain" in found else []
    for name in ("cold", "warm"):
        one = found[name]
        around = WORKERS * (one["seconds"] - one["preparation"]) - one["trial_seconds"]
        lines.append(
            f"ours, {name}: {one['preparation']:.1f} s before the trials; worker time "
            f"{one['trial_seconds']:.1f} s in trials, {one['prefix_seconds']:.1f} s of it for "
            f"{one['computed_views']} views; "
            f"{around:.1f} s between and around trials"
        )
    lines.append(f"mean AUC of all configurations: {statistics.fmean(found['cold']['values']):.6f}")
    lines.append(f"the whole process took {found['process_seconds']:.0f} s")
    return lines


def _score_sentences(found: Mapping[str, Any]) -> list[str]:
    seeds = found["auc_ours_by_seed"]
    difference = statistics.fmean(seeds) - found["auc_plain"]
    lines = [
        f"AUC over the {found['plain_sample']} configurations that both ran: plain {found['auc_plain']:.3f}, "
        f"ours {statistics.fmean(seeds):.3f} over {len(seeds)} seed(s), difference {difference:+.3f}"
    ]
    if len(seeds) > 1:
        half = _Z95 * statistics.stdev(seeds) * (1 + 1 / len(seeds)) ** 0.5
        lines.append(
            f"chance alone (other seeds of ours) moves that difference by up to {half:.3f} in 19 of 20 runs"
        )
    return lines


if __name__ == "__main__":
    main()
