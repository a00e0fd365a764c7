"""Tracking of searches with tools that people have open: one run for the search, and one below it a trial.

What is logged is text and numbers: settings, curves, scores, and files of the run folder that name no
patient. No image is. A trial is logged when it has ended, by a thread of its own, so that a tool that does
not answer holds up nothing but its own log: after its first failure it is asked no more, and the end waits a
bounded time for it.
"""

import importlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from orchestrator.callbacks import Callback, EndedSearch
from orchestrator.reporting import trackers
from orchestrator.reporting.background import BackgroundThread
from orchestrator.reporting.tracker import Scalars, TrackedSearch, Tracker
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from trainables.common.discovery import constants_of
from trainables.common.errors import ConfigError, MachineError, UnknownNameError
from trainables.common.text import first_line

_FILES: Final = ("search.yaml", "leaderboard.csv")  # and the ensembles: none of them names a patient
_END_SECONDS: Final = 300.0  # that the end of a search waits for its log,
_INTERRUPTED_SECONDS: Final = 20.0  # and the end of an interrupted one


def tracker_named(name: str) -> Tracker:
    """Return a tracker by its name.

    Raises:
        UnknownNameError: If there is none.
        ConfigError: If its package is not installed.
    """
    known = {one.name: one for one in constants_of(trackers, Tracker)}
    if name not in known:
        raise UnknownNameError("tracker", name, known)
    found = known[name]
    try:
        importlib.import_module(found.package)
    except ImportError as error:
        raise ConfigError(
            f"--track {name} needs the package {found.package}, which cannot be imported ({error}); "
            f"install it "
            f"with: pip install '.[{found.extra}]'"
        ) from error
    return found


def tracking_callbacks(names: Sequence[str]) -> tuple[Callback, ...]:
    """Return a callback for each tracker, by its name.

    Raises:
        UnknownNameError: If there is no such tracker.
        ConfigError: If its package is not installed.
    """
    return tuple(TrackingCallback(tracker_named(name)) for name in dict.fromkeys(names))


class TrackingCallback(Callback):
    """Logs a search to a tool as its trials end.

    Args:
        tracker: The tool.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._pool = BackgroundThread(f"track-{tracker.name}")
        self._search: TrackedSearch | None = None  # the thread's own, and so is what it has failed with
        self._failure: Exception | None = None
        self._is_said = False
        self._curves: dict[int, dict[int, dict[str, float]]] = defaultdict(dict)
        self._metric = ""

    def on_search_start(self, run: RunFolder, record: SearchRecord) -> None:
        """Open the log."""
        self._metric = record.metric

        def begin() -> None:
            self._search = self._tracker.open(run, record)

        self._log(begin)

    def on_epoch_end(
        self, number: int, epoch: int, epochs: int, value: float, scalars: Mapping[str, float]
    ) -> None:
        """Keep the scalars of an epoch until its trial has ended; folds are left out.

        Raises:
            MachineError: If the tool has failed, once.
        """
        kept = {name: float(one) for name, one in scalars.items() if not name.startswith("fold_")}
        earlier = {own: curve for own, curve in self._curves[number].items() if own < epoch}
        self._curves[number] = {**earlier, epoch: kept}  # a trial that is run again has epochs twice
        self._raise_failed()

    def on_trial_end(self, record: TrialRecord) -> None:
        """Log a trial.

        Raises:
            MachineError: If the tool has failed, once.
        """
        curves = self._curves.pop(record.number, {})
        scores = _scores(record, self._metric)
        self._log_search(lambda search: search.log_trial(record, curves, scores))
        self._raise_failed()

    def on_search_end(self, result: EndedSearch) -> None:
        """Log the end of the search, and wait until the log is whole, for a bounded time.

        Raises:
            MachineError: If the tool has failed and nobody was told, or does not take the log in time.
        """
        best, files, is_interrupted = result.best, _files(result.run), result.is_interrupted
        scores = {} if best is None else _scores(best, self._metric)
        self._log_search(lambda search: search.end(scores, files, is_interrupted=is_interrupted))
        seconds = _INTERRUPTED_SECONDS if is_interrupted else _END_SECONDS
        try:
            left = self._pool.finish(seconds)
        finally:
            self._pool.close()
        self._raise_failed()
        if left and not self._is_said:
            raise MachineError(
                f"{self._tracker.name} did not take the rest of the log within {seconds:.0f} s, and is not "
                "waited for any longer; look at its server and at the network. The run folder has all"
            )

    def _log_search(self, act: Callable[[TrackedSearch], None]) -> None:
        def log() -> None:
            if self._search is not None:
                act(self._search)

        self._log(log)

    def _log(self, act: Callable[[], None]) -> None:
        """Have the thread do something, unless the tool has failed before."""

        def log() -> None:
            if self._failure is not None:
                return
            try:
                act()
            except Exception as error:  # each tool has errors of its own
                self._failure = error

        if self._failure is None:
            self._pool.submit(log)

    def _raise_failed(self) -> None:
        if self._failure is None or self._is_said:
            return
        self._is_said = True
        raise MachineError(
            f"nothing more is logged to {self._tracker.name}, which failed: "
            f"{first_line(self._failure)}; look at its server, its settings and the network. The run "
            "folder has all, and a resumed search is logged from there on"
        ) from self._failure


def _scores(record: TrialRecord, metric: str) -> Scalars:
    found = dict(record.values)
    if record.value is not None:
        found[metric] = record.value
    return MappingProxyType(found if record.state == "complete" else {})


def _files(run: RunFolder) -> list[Path]:
    found = [run.path / name for name in _FILES] + sorted(run.ensembles.glob("*.json"))
    return [path for path in found if path.is_file()]
