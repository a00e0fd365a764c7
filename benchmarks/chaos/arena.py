"""A working folder with small data, a space whose proposals are logged, and searches that run in it."""

import dataclasses
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.chaos.checks import (
    HANDED_OUT,
    Snapshot,
    differences,
    lost_and_repeated,
    snapshot,
    standing_faults,
)
from benchmarks.chaos.epochs import lost_and_repeated_folds
from benchmarks.chaos.ledger import Outcome
from benchmarks.chaos.processes import below, send, wait_for
from benchmarks.chaos.witness import FOLDER, log_of
from results.run.run_folder import RunFolder

ROOT: Final = Path(__file__).parents[2]
TASK: Final = "benign_malignant"
UNDISTURBED: Final = "undisturbed"
AT_START: Final = Path(__file__).with_name("at_start")  # what every Python of a search imports first
PATIENTS: Final = 40
FOLDS: Final = 3
PATIENCE: Final = 240.0  # seconds for a search to end
NO_RAY: Final = "it did not start"  # what a driver says on a machine that is too busy for Ray's own patience
ATTEMPTS: Final = 3  # then
_SIDE: Final = 48

# A trial takes half a second. It is logged when the search hands it out: each proposal asks the space once.
SPACE: Final = f"""
import os
from pathlib import Path

def space(trial, context):
    own = getattr(trial, "_trial", trial)
    name = getattr(getattr(own, "study", None), "study_name", "")
    folder = Path(os.environ["CHAOS_RUNS"]) / name
    if name.startswith("{TASK}/") and folder.is_dir():
        with (folder / "{HANDED_OUT}").open("a") as log:
            log.write(f"{{own.number}}\\n")
    return {{
        "model.backbone": "efficientnet_lite0", "model.trained_stages": 0, "model.cut": "top",
        "input.size_px": {_SIDE}, "model.head.pooling": "gap", "model.head.batch_norm": True,
        "model.head.hidden": (trial.suggest_int("width", 4, 64),),
        "model.head.dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "optimizer.name": trial.suggest_categorical("optimizer", ("adam", "rmsprop")),
        "optimizer.lr": trial.suggest_float("lr", 1e-5, 1e-2, log=True),
        "optimizer.schedule": "constant", "training.epochs": trial.suggest_int("epochs", 30, 80),
        "training.patience": None, "training.batch_size": 16, "training.sampling": "none",
        "training.class_weight": "none",
    }}
"""


@dataclasses.dataclass(slots=True)
class Driver:
    """A search that runs as a process of its own.

    Attributes:
        process: The process; it leads a session of its own, as one that a terminal started.
        log: What it prints.
        begun: Reading of the monotonic clock at its start.
    """

    process: subprocess.Popen[bytes]
    log: Path
    begun: float

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def has_ended(self) -> bool:
        """True once it has ended by itself or by a signal."""
        return self.process.poll() is not None

    @property
    def printed(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    def has_said(self, *texts: str) -> bool:
        """True if it has printed one of some texts, wherever lines end."""
        printed = "".join(self.printed.split())
        return any("".join(text.split()) in printed for text in texts)

    def kill(self) -> None:
        """Kill it as a power cut would, with nothing done to its workers."""
        self.process.kill()
        self.process.wait()

    def wait(self, seconds: float) -> int | None:
        """Wait for its end; returns the exit code, or None if it does not end, and then ends it."""
        if not wait_for(lambda: self.has_ended, seconds=seconds):
            self.end()
            return None
        return self.process.returncode

    def end(self) -> None:
        """End it and all processes below it."""
        send([*below(self.pid), self.pid], signal.SIGKILL)  # it reaches frozen ones, too
        self.process.wait()


class Arena:
    """The working folder of all scenarios of a lane.

    Args:
        folder: An empty folder on a disk.
        seed: Seed of everything that is drawn.
        environment: Variables that all searches get.
        patience: Seconds for a search to end; a machine under load is slow.
        until: Reading of the monotonic clock after which no further fault is injected; None for no limit.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        environment: Mapping[str, str] | None = None,
        patience: float = PATIENCE,
        until: float | None = None,
    ) -> None:
        self.folder, self.random, self.patience = folder, random.Random(seed), patience
        self.until = until
        self.runs = folder / "runs"
        python_path = [str(AT_START), str(ROOT), os.environ.get("PYTHONPATH", "")]
        self.environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, python_path)),
            "CHAOS_RUNS": str(self.runs),
            FOLDER: str(folder),
            **(environment or {}),
        }
        self._drivers: list[Driver] = []
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "chaos_space.py").write_text(SPACE)
        if not (folder / "patches.npz").exists():
            write_patches(folder / "patches.npz")

    @property
    def is_late(self) -> bool:
        """True once no further fault is to be injected."""
        return self.until is not None and time.monotonic() >= self.until

    def run(self, name: str) -> RunFolder:
        """Run folder of a search."""
        return RunFolder(self.runs / TASK / name)

    def log(self, name: str) -> Path:
        """Log of the epochs that folds of a search have trained, see `witness`."""
        return log_of(Path(self.environment[FOLDER]), name)

    def search(self, name: str, trials: int, *options: str, **environment: str) -> Driver:
        """Start a search with one worker and one seed, whose trials nothing stops early.

        It returns once a trial is handed out, or the search has ended by itself. Where the machine is too
        busy for a Ray to start, it is tried again.
        """
        driver = None
        for _ in range(ATTEMPTS):
            if self.begun(name):
                given = options[:2] if options[:1] == ("--address",) else ()
                driver = self.resume(name, *given, **environment)
            else:
                driver = self.begin(name, trials, *options, **environment)
            self.wait_for_trials(name, 1, driver)
            if not (driver.has_ended and driver.has_said(NO_RAY)):
                break
        assert driver is not None
        return driver

    def begin(self, name: str, trials: int, *options: str, **environment: str) -> Driver:
        """Start a search, and do not wait."""
        return self.start(
            name,
            *("search", TASK, "--data", "patches.npz", "--name", name, "--trials", str(trials)),
            *("--space", "chaos_space:space", "--pruner", "none", "--folds", str(FOLDS), "--epochs", "80"),
            *(
                "--set",
                "model.backbone=efficientnet_lite0",
                "--workers",
                "1",
                "--cpus-per-trial",
                "1",
                "--offline",
                "--no-audit",
                "--no-pictures",
            ),
            *(options if "--address" in options else ("--address", "local", *options)),
            **environment,
        )

    def resume(self, name: str, *options: str, **environment: str) -> Driver:
        """Go on with a search, in a process of its own."""
        given = options if "--address" in options else ("--address", "local", *options)
        return self.start(name, "resume", str(self.run(name).path), *given, **environment)

    def start(self, name: str, *arguments: str, prefix: Sequence[str] = (), **environment: str) -> Driver:
        """Start a verb of the command line."""
        log = self.folder / f"{name}.{len(self._drivers)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "orchestrator.cli.main", *arguments],
                cwd=self.folder,
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._drivers.append(Driver(process, log, time.monotonic()))
        return self._drivers[-1]

    def begun(self, name: str) -> bool:
        """True once the run folder is one that can be resumed."""
        return self.run(name).search_file.exists()

    def handed_out(self, name: str) -> int:
        """Number of trials that the search has handed out, repeats included."""
        try:
            return len((self.run(name).path / HANDED_OUT).read_text().split())
        except FileNotFoundError:
            return 0

    def wait_for_trials(self, name: str, more: int, driver: Driver, *, seconds: float | None = None) -> bool:
        """Wait until so many more trials are handed out, or seconds have passed; None for all patience.

        Returns:
            False if they were not, or the driver ended before.
        """
        goal = self.handed_out(name) + more
        longest = self.patience if seconds is None else seconds
        wait_for(lambda: driver.has_ended or self.handed_out(name) >= goal, seconds=longest)
        return not driver.has_ended and self.handed_out(name) >= goal

    def finish(self, name: str, *options: str, **environment: str) -> list[str]:
        """Resume a search to its end; returns what went wrong, as sentences."""
        for _ in range(ATTEMPTS):
            driver = self.resume(name, *options, **environment)
            code = driver.wait(self.patience)
            if code == 0:
                return []
            if not driver.has_said(NO_RAY):
                break
        said = driver.printed.strip().splitlines()[-3:]
        return [f"resume ended with {code}: {' '.join(said)[-400:]}"]

    def judged(
        self, name: str, before: Sequence[Snapshot], *, trials: int, reference: str | None = UNDISTURBED
    ) -> "Verdict":
        """Return what a search that has ended has lost since some moments, and what is wrong with it.

        Args:
            name: Name of the search.
            before: The run at those moments.
            trials: Number of trials that the search was to run.
            reference: Search that nobody disturbed, with the same trials; None where there is nothing to
                compare, since this one did not come to its end.
        """
        run, after = self.run(name), snapshot(self.run(name))
        lost, repeated = (set(own) for own in lost_and_repeated_folds(self.log(name), run.records(), FOLDS))
        for moment in before:
            for found, own in zip((lost, repeated), lost_and_repeated(moment, after), strict=True):
                found.update(own)
        faults = standing_faults(run, trials=trials)
        if reference is not None and not faults:
            faults += differences(run, self.run(reference))
        return Verdict(sorted(lost), sorted(repeated), faults)

    def end(self) -> None:
        """End every process that is left of the searches."""
        for driver in self._drivers:
            if not driver.has_ended:
                driver.end()

    def remove(self) -> None:
        """Remove the working folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What a search has lost and repeated, and what is wrong with its folder; sentences."""

    lost: list[str]
    repeated: list[str]
    faults: list[str]

    def outcome(
        self, fault: str, asked: int, injected: int, seconds: float, *also: str, note: str = ""
    ) -> Outcome:
        """Return it as a row; whatever is wrong after many faults counts against one of them."""
        faults = (*also, *self.lost, *self.repeated, *self.faults)
        return Outcome(
            fault=fault,
            asked=asked,
            injected=injected,
            survived=injected - min(injected, len(faults)),
            lost=len(self.lost) + sum("instead of" in text for text in self.faults),
            repeated=len(self.repeated),
            faults=tuple(text.replace("\n", " ")[:300] for text in faults[:6]),
            seconds=round(seconds, 1),
            note=note,
        )


def write_patches(path: Path) -> None:
    """Write 80 patches of 40 patients; the malignant ones hold a spot that is hard to see."""
    drawn = np.random.default_rng(0)
    labels = np.repeat(np.tile([0, 1], PATIENTS // 2), 2)
    images = drawn.integers(0, 20_000, (2 * PATIENTS, _SIDE, _SIDE)).astype(np.uint16)
    images[labels == 1, 20:28, 20:28] += 6_000
    patients = np.array([f"p{index // 2:02d}" for index in range(2 * PATIENTS)])
    np.savez(path, images=images, labels=labels, patient=patients)
