"""The worker of `benchmarks.scale` and `benchmarks.soak`: trials that take their time and compute nothing.

It imports no torch, so that hundreds of workers fit on one machine.
"""

import math
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from results.run.records import TrialRecord
from results.run.run_folder import RunFolder
from trainables.config.trial_config import TrialConfig, flatten
from trainables.features.feature_use import FeatureUse

EPOCHS: Final = 30
_SPREAD: Final = 0.4  # of the logarithm of a trial's length
_OPENING: Final = 0.05  # share of a trial's length that it takes to open its features
_SLEPT: Final[list[tuple[float, float]]] = []  # beginnings and ends of all sleep of this process


@dataclass(frozen=True, slots=True)
class Epoch:
    """An epoch as a worker reports it; the fields are those of `EpochReport`."""

    epoch: int
    value: float
    scalars: dict[str, float]
    collapsed: tuple[int, ...] = ()
    is_last: bool = False
    fold_values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """A report of a worker; the fields are those of `WorkerReport`, which imports torch."""

    opened: FeatureUse | None = None
    epochs: tuple[Epoch, ...] = ()
    is_end: bool = False
    memory: None = None
    device: str = "cpu"
    failure: None = None
    epoch_seconds: float | None = None
    needs_depot: bool = False
    waits_for: str = ""
    waits_elsewhere: bool = False
    helpers: int = 0


def length_of(number: int, mean_seconds: float) -> float:
    """Return the seconds that a trial takes, the same in every run: log-normal around a mean."""
    drawn = random.Random(number).gauss(-(_SPREAD**2) / 2, _SPREAD)
    return mean_seconds * math.exp(drawn)


def value_of(number: int, epoch: int) -> float:
    """Return a score in [0.5, 1) that rises with the epochs, looks random and is the same in every run."""
    best = 0.5 + (number * 0.6180339887 % 1.0) / 2
    return 0.5 + (best - 0.5) * (1.0 - math.exp(-epoch / 5.0))


class PretendedTrial:
    """A trial as a list of steps: what each reports, and how long it takes.

    Args:
        number: Trial number.
        compared_at: Epochs at which it waits for an answer.
        mean_seconds: Mean length of the trials.
        report_seconds: Time between two reports.
    """

    def __init__(
        self, number: int, compared_at: tuple[int, ...], *, mean_seconds: float, report_seconds: float
    ) -> None:
        self.number, self.epoch, self.is_opened = number, 0, False
        self.compared_at, self.report_seconds = frozenset(compared_at), report_seconds
        seconds = length_of(number, mean_seconds)
        self.opening_seconds = _OPENING * seconds
        self.epoch_seconds = (seconds - self.opening_seconds) / EPOCHS
        self.worked = 0.0

    def step(self) -> tuple[Report, float]:
        """Return the next report, and the seconds that the step takes."""
        begun, opened, epochs = self.worked, None, list[Epoch]()
        if not self.is_opened:
            self.is_opened, self.worked = True, self.worked + self.opening_seconds
            opened = FeatureUse("stored views", "block7", 8, 0, 8, opening_seconds=self.opening_seconds)
        while self.epoch < EPOCHS and (opened is None or self.worked - begun < self.report_seconds):
            self.epoch, self.worked = self.epoch + 1, self.worked + self.epoch_seconds
            epochs.append(self._report(self.epoch))
            if self.epoch in self.compared_at or self.worked - begun >= self.report_seconds:
                break
        is_end = self.epoch == EPOCHS
        report = Report(opened, tuple(epochs), is_end, epoch_seconds=self.epoch_seconds)
        return report, self.worked - begun

    def _report(self, epoch: int) -> Epoch:
        value = value_of(self.number, epoch)
        folds = tuple(value + offset for offset in (-0.02, -0.01, 0.01, 0.02))
        scalars = {"loss/train": 0.5, "loss/validation": 0.6, "auc/validation": value, "fold_1/auc": folds[0]}
        return Epoch(epoch, value, scalars, is_last=epoch == EPOCHS, fold_values=folds)


def write_complete(
    run: RunFolder, number: int, config: TrialConfig, params: dict[str, Any], seconds: float
) -> None:
    """Write the record of a trial that has ended, as its worker does."""
    run.add_record(
        TrialRecord(
            number=number,
            state="complete",
            value=value_of(number, EPOCHS),
            best_epoch=EPOCHS,
            epochs=EPOCHS,
            config=flatten(config.model_dump(mode="json")),
            params=params,
            wall_seconds=seconds,
            fingerprint="f" * 64,
            seed=0,
            finished_at=datetime.now(UTC),
        )
    )


def slept() -> list[tuple[float, float]]:
    """Return the beginnings and ends of all sleep in this process, in seconds of the wall clock."""
    return list(_SLEPT)


class Sleeper:
    """Replacement for `TrialRunner` that sleeps as long as a trial would train.

    Attributes:
        mean_seconds: Mean length of a trial; set on a subclass of each benchmark.
    """

    mean_seconds = 10.0

    def __init__(
        self,
        run: RunFolder,
        number: int,
        config: TrialConfig,
        params: dict[str, Any],
        *,
        compared_at: tuple[int, ...] = (),
        report_seconds: float = 0.0,
        **given: Any,
    ) -> None:
        self.run, self.number, self.config, self.params = run, number, config, params
        self.compared_at, self.report_seconds = tuple(compared_at), max(0.3, report_seconds)
        self.slept = 0.0
        self._trial: PretendedTrial | None = None

    def step(self) -> Report:
        """Sleep and report."""
        if self._trial is None:
            self._trial = PretendedTrial(
                self.number,
                self.compared_at,
                mean_seconds=self.mean_seconds,
                report_seconds=self.report_seconds,
            )
        report, seconds = self._trial.step()
        begun = time.time()
        time.sleep(seconds)
        ended = time.time()
        self.slept += ended - begun
        _SLEPT.append((begun, ended))
        if report.is_end:
            write_complete(self.run, self.number, self.config, self.params, self.slept)
        return report
