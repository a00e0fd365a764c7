"""Callbacks: what a program of its own may do at the events of a search, and how it ends one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, Self

from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.run.search_request import SearchRequest
from trainables.config.trial_config import TrialConfig

if TYPE_CHECKING:
    import pandas as pd


class StopSearch(Exception):  # noqa: N818 - no error: a callback asks for the end of the search
    """Raised by a callback to end the search as Ctrl-C does: what has ended is kept, and resume goes on."""


class EndedSearch(Protocol):
    """A search that has ended, as callbacks see it; `orchestrator.SearchResult` is one."""

    @property
    def run(self) -> RunFolder:
        """Run folder of the search."""
        ...

    @property
    def record(self) -> SearchRecord:
        """Request and facts of the search."""
        ...

    @property
    def request(self) -> SearchRequest:
        """Options of the search."""
        ...

    @property
    def best(self) -> TrialRecord | None:
        """Record of the best complete trial; None without one."""
        ...

    @property
    def is_interrupted(self) -> bool:
        """True if the user, a signal or `StopSearch` ended the search before its budget was used."""
        ...

    def trials(self) -> "pd.DataFrame":
        """Return a table with a row for each trial that has ended."""
        ...

    def leaderboard(self) -> "pd.DataFrame":
        """Return the trials as they are ranked."""
        ...


class Callback:
    """Base class of callbacks; each method does nothing unless it is overridden.

    All methods are called in the process that started the search, one at a time. One that fails never ends
    the search: its first failure is said, or kept in `SearchResult.notes`. One that raises `StopSearch` does.

    >>> class StopAtGoodScore(Callback):
    ...     def on_trial_end(self, record: TrialRecord) -> None:
    ...         if record.state == "complete" and record.value is not None and record.value > 0.95:
    ...             raise StopSearch
    """

    def on_search_start(self, run: RunFolder, record: SearchRecord) -> None:
        """Follow the start of a search, or its resumption, before its first trial.

        Args:
            run: Run folder of the search.
            record: Request and facts of the search.
        """

    def on_trial_start(self, number: int, config: TrialConfig) -> None:
        """Follow a trial that was handed out to a worker.

        Args:
            number: 0-based number of the trial.
            config: Configuration of the trial.
        """

    def on_epoch_end(
        self, number: int, epoch: int, epochs: int, value: float, scalars: Mapping[str, float]
    ) -> None:
        """Follow an epoch that all folds of a trial have finished.

        Args:
            number: 0-based number of the trial.
            epoch: Epoch, 1-based.
            epochs: Largest number of epochs of the trial.
            value: Value of the search metric, as the leaderboard would show it.
            scalars: Losses and further metrics of the epoch, means over folds.
        """

    def on_trial_requeued(self, number: int, reason: str) -> None:
        """Follow a trial that has not ended, but will be started again.

        Args:
            number: 0-based number of the trial.
            reason: Reason in words.
        """

    def on_trial_end(self, record: TrialRecord) -> None:
        """Follow the end of a trial.

        Args:
            record: Record of the trial, which is in the run folder already.
        """

    def on_search_end(self, result: EndedSearch) -> None:
        """Follow the end of a search, after its last trial.

        Args:
            result: The result, an `orchestrator.SearchResult`; of an interrupted search, too.
        """


class SearchView(Callback):
    """A callback that also shows messages, such as the live view of the terminal. This one shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def note(self, message: str) -> None:
        """Show a message."""

    def interrupted(self) -> None:
        """Show that the user stopped the search."""
