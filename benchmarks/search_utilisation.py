"""How busy the device is over a whole search: its mean, and the share of the time in which it did nothing.

    python -m benchmarks.search_utilisation [--device cpu|cuda] [--of trials|search] [--patients 60]
        [--trials 16] [--seconds 60]

A `search` is `orchestrate search` on the phantom, with a Ray of its own, from command to last record: what
lies before and between the trials counts. `trials` are what a search would try, one after the other in one
process, as one of its workers runs them: its first points, then nets whose last block or all layers train.
They need neither Ray nor Optuna, and are what is measured where those are not installed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.device_watch import IDLE_BELOW, DeviceWatch
from benchmarks.imported_packages import missing
from benchmarks.utilisation import BACKBONES, KINDS, TASK, phantom_material, share_text
from results.run.run_folder import RunFolder
from results.scores.metrics import scores
from search_spaces.recipes.portfolio import portfolio_points
from trainables.config.trial_config import decode
from trainables.models.taps import frozen_parts
from trainables.validation.factory import open_validation

SEARCH_NEEDS: Final = ("ray", "optuna")


@dataclass(frozen=True, slots=True)
class Found:
    """What was seen over a search.

    Attributes:
        what: What ran.
        trials: Number of trials that ended with a score.
        seconds: Wall time.
        busy: Mean share in [0, 1] in which the device worked; None if the driver does not say.
        idle: Share of the time in [0, 1] in which it did next to nothing; None likewise.
    """

    what: str
    trials: int
    seconds: float
    busy: float | None
    idle: float | None


def searched_settings() -> list[dict[str, Any]]:
    """Return what a search would try: first points that need no further weights, then layers that train."""
    points = [point for point in portfolio_points() if _runs_on_installed_weights(point)]
    return [*points, *(dict(settings) for _, settings in KINDS)]


def _runs_on_installed_weights(settings: dict[str, Any]) -> bool:
    return {part.model.backbone for part in frozen_parts(decode(settings))} <= set(BACKBONES)


def watch_trials(device: torch.device, *, patients: int, trials: int, seconds: float) -> Found:
    """Run trials one after the other in this process; after `seconds` none is begun."""
    ended = 0
    with tempfile.TemporaryDirectory() as folder:
        data, runtime = phantom_material(Path(folder), patients, device)
        began = time.perf_counter()
        with DeviceWatch(device, cores=torch.get_num_threads()) as watch:
            for settings in searched_settings()[:trials]:
                if time.perf_counter() - began >= seconds:
                    break
                run = open_validation(decode(settings), data, runtime, seed=0, score=scores, metric="auc")
                while not run.is_over:
                    run.epoch()
                ended += 1
    return Found("trials, one after the other", ended, watch.seconds, watch.busy, watch.idle)


def watch_search(device: torch.device, *, trials: int, seconds: float) -> Found:
    """Run `orchestrate search` on the embedded phantom, in a process of its own.

    Raises:
        RuntimeError: If the search fails, or no trial of it ends with a score.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "orchestrator.cli.main", "search", TASK, "--offline"]
        command += ["--address", "local", "--trials", str(trials), "--minutes", f"{seconds / 60:g}"]
        command += ["--runs", folder, "--name", "watched", "--test-share", "0"]
        command += ["--gpus-per-trial", "0"] if device.type == "cpu" else []
        environment = {**os.environ, "COLUMNS": "110"}
        with DeviceWatch(device, cores=os.cpu_count() or 1) as watch:
            asked = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        run = RunFolder(Path(folder) / TASK / "watched")
        ended = sum(record.state == "complete" for record in run.records()) if run.path.exists() else 0
    if asked.returncode or not ended:
        raise RuntimeError(f"the search ended with status {asked.returncode}: {asked.stdout}{asked.stderr}")
    return Found("orchestrate search", ended, watch.seconds, watch.busy, watch.idle)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--of", choices=("trials", "search"), help="default: a search where it can run")
    parser.add_argument("--patients", type=int, default=60, help="of the phantom, for trials (default: 60)")
    parser.add_argument("--trials", type=int, default=16, help="at most so many (default: 16)")
    parser.add_argument("--seconds", type=float, default=60.0, help="no trial begins later (default: 60)")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    device, lacks = torch.device(arguments.device), missing(SEARCH_NEEDS)
    limits = {"trials": arguments.trials, "seconds": arguments.seconds}
    if arguments.of == "trials" or (arguments.of is None and lacks):
        found = watch_trials(device, patients=arguments.patients, **limits)
    else:
        found = watch_search(device, **limits)
    print(f"| over | trials | seconds | device busy | idle (below {IDLE_BELOW:.0%}) |")
    print("| --- | ---: | ---: | ---: | ---: |")
    shares = f"{share_text(found.busy)} | {share_text(found.idle)}"
    print(f"| {found.what} | {found.trials} | {found.seconds:.1f} | {shares} |")
    if arguments.of is None and lacks:
        print(f"\nNo search: it lacks {', '.join(lacks)}.")
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(found), indent=1) + "\n")


if __name__ == "__main__":
    main()
