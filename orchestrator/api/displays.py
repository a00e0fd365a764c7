"""Where a search from Python shows what it does: nowhere, on the terminal, or in a notebook."""

import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from rich.console import Console

from orchestrator.api.result import SearchResult
from orchestrator.callbacks import SearchView
from orchestrator.reporting.console import messages, print_message, print_warning
from orchestrator.reporting.notebook import NotebookTable
from orchestrator.reporting.terminal import SearchProgress
from results.scores.ranking import objectives_of

if TYPE_CHECKING:
    from orchestrator.tuning.setup import Prepared


class Display:
    """Shows nothing, and keeps what a search says in words.

    Attributes:
        notes: Sentences that were said: about the data, the machine and what could not be done.
        ends_process: The process may be ended if Ray does not answer after an interrupt; a notebook's not.
    """

    ends_process = False

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        """Keep a sentence, and show it where something is shown."""
        self.notes.append(message)

    def warn(self, message: str) -> None:
        """Keep a sentence that must not be missed, and show it where something is shown."""
        self.note(message)

    def open_view(self, prepared: "Prepared") -> AbstractContextManager[SearchView]:
        """Open the view of a search that is about to start its trials."""
        return _Silent(self)

    def ended(self, result: SearchResult) -> None:
        """Show that the search has ended."""


class _Silent(SearchView):
    """A view that keeps what is said."""

    def __init__(self, display: Display) -> None:
        self._display = display

    def note(self, message: str) -> None:
        """Keep the sentence."""
        self._display.note(message)


class TerminalDisplay(Display):
    """Shows a search on the terminal, as `orchestrate search` does.

    Args:
        console: Console to write to; standard error by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        self.console = messages() if console is None else console

    def note(self, message: str) -> None:
        """Print a sentence."""
        super().note(message)
        print_message(self.console, message)

    def warn(self, message: str) -> None:
        """Print a sentence that must not be missed."""
        super().note(message)
        print_warning(self.console, message)

    def open_view(self, prepared: "Prepared") -> AbstractContextManager[SearchView]:
        """Open the live view."""
        record = prepared.timed
        return SearchProgress(
            task=record.task,
            name=record.name,
            data=record.source,
            trials=record.request.asked_trials,
            minutes=record.request.minutes,
            workers=prepared.slots,
            is_synthetic=record.is_synthetic,
            metric=record.metric,
            objectives=objectives_of(record),
            split=record.split_name,
            already=prepared.run.records(),
            worker_time=prepared.worker_time,
            to_come=lambda: prepared.study.left if prepared.study.has_more else 0,
            console=self.console,
        )


class NotebookDisplay(Display):
    """Shows a search as a table below the cell of a notebook, which is drawn anew in its place."""

    def __init__(self) -> None:
        super().__init__()
        self._table = NotebookTable()

    def note(self, message: str) -> None:
        """Show the sentence below the table."""
        super().note(message)
        self._table.note(message)

    def open_view(self, prepared: "Prepared") -> AbstractContextManager[SearchView]:
        """Open the table."""
        self._table.begin(prepared.record, prepared.run.records(), prepared.worker_time)
        return self._table


def display_of(progress: "bool | Display | None") -> Display:
    """Return where to show a search.

    Args:
        progress: None shows a table in a notebook and nothing elsewhere; True shows the search in any case,
            on the terminal where there is no notebook; False shows nothing; a `Display` is taken as it is.
    """
    if isinstance(progress, Display):
        return progress
    if progress is not False and is_in_notebook():
        return NotebookDisplay()
    return TerminalDisplay() if progress else Display()


def is_in_notebook() -> bool:
    """True where this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None
