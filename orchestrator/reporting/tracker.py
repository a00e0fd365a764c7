"""What a tracker is: a tool that searches can be logged to, and the log of one search in it."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder

Scalars = Mapping[str, float]


class TrackedSearch(ABC):
    """The log of one search in a tool."""

    @abstractmethod
    def log_trial(self, record: TrialRecord, curves: Mapping[int, Scalars], scores: Scalars) -> None:
        """Log a trial that has ended, as a run of its own below that of the search.

        Args:
            record: Record of the trial.
            curves: Epoch -> scalars.
            scores: Metric -> final value, of a complete trial.
        """

    @abstractmethod
    def end(self, scores: Scalars, files: list[Path], *, is_interrupted: bool) -> None:
        """Log the end of the search: the scores of its best trial, and files of the run folder."""


@dataclass(frozen=True, slots=True)
class Tracker:
    """A tool that searches can be logged to.

    Attributes:
        name: Name by which it is asked for.
        package: Package that it needs, as it is imported.
        extra: Optional dependencies of this project that bring it.
        open: Opens the log of a search, or goes on with it.
    """

    name: str
    package: str
    extra: str
    open: Callable[[RunFolder, SearchRecord], TrackedSearch]


def plain_settings(record: TrialRecord) -> dict[str, str]:
    """Return the settings of a trial as texts, with its state and why it ended."""
    facts = {"state": record.state, "cause": record.cause, "recipe": record.recipe or None}
    return {name: str(value) for name, value in {**facts, **record.config}.items() if value is not None}


def set_limits(limits: Mapping[str, str]) -> None:
    """Set how long a client waits for its server, by its environment variables; what the user has set stays.

    Args:
        limits: Name of a variable -> its value.
    """
    for name, value in limits.items():
        os.environ.setdefault(name, value)
