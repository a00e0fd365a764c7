"""Tracking of searches with tools that people have open: one run for the search, and one below it a trial.

What is logged is text and numbers: settings, curves, scores, and files of the run folder. No image is. A
trial is logged when it has ended, so that a tool that does not answer holds up nothing but its own log.
"""

import importlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from orchestrator.callbacks import Callback, EndedSearch
from orchestrator.reporting import trackers
from orchestrator.reporting.tracker import Scalars, TrackedSearch, Tracker
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from trainables.common.discovery import constants_of
from trainables.common.errors import ConfigError, UnknownNameError

_FILES: Final = ("search.yaml", "leaderboard.csv", "split.json", "test_openings.jsonl")


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
        self._search: TrackedSearch | None = None
        self._curves: dict[int, dict[int, dict[str, float]]] = defaultdict(dict)
        self._metric = ""

    def on_search_start(self, run: RunFolder, record: SearchRecord) -> None:
        """Open the log."""
        self._metric = record.metric
        self._search = self._tracker.open(run, record)

    def on_epoch_end(
        self, number: int, epoch: int, epochs: int, value: float, scalars: Mapping[str, float]
    ) -> None:
        """Keep the scalars of an epoch until its trial has ended; folds are left out."""
        kept = {name: float(one) for name, one in scalars.items() if not name.startswith("fold_")}
        self._curves[number][epoch] = kept

    def on_trial_end(self, record: TrialRecord) -> None:
        """Log a trial."""
        curves = self._curves.pop(record.number, {})
        if self._search is not None:
            self._search.log_trial(record, curves, _scores(record, self._metric))

    def on_search_end(self, result: EndedSearch) -> None:
        """Log the end of the search."""
        if self._search is not None:
            best = result.best
            scores = {} if best is None else _scores(best, self._metric)
            self._search.end(scores, _files(result.run), is_interrupted=result.is_interrupted)


def _scores(record: TrialRecord, metric: str) -> Scalars:
    found = dict(record.values)
    if record.value is not None:
        found[metric] = record.value
    return MappingProxyType(found if record.state == "complete" else {})


def _files(run: RunFolder) -> list[Path]:
    found = [run.path / name for name in _FILES] + sorted((run.path / "ensembles").glob("*.json"))
    return [path for path in found if path.is_file()]
