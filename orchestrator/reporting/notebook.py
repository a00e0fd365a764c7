"""Live view of a search in a notebook: one HTML table below the cell, drawn anew in its place."""

import html
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.callbacks import SearchView
from orchestrator.reporting.worker_time import WorkerTime, shares_text
from results.run.records import SearchRecord, TrialRecord
from results.run.split_labels import marks, scored
from results.scores.ranking import objectives_of
from results.scores.settings_text import labelled_settings, settings_text
from trainables.common.text import clock_text, count_text, done_text
from trainables.config.trial_config import TrialConfig, flatten

SECONDS_BETWEEN: Final = 0.5  # two drawings of the table: each is a message to the browser
_MOST_ENDED: Final = 10  # ended trials that are shown; all are in `SearchResult.trials()`
_MOST_NOTES: Final = 12
_COLUMNS: Final = ("trial", "state", "epoch", "", "settings")


@dataclass(slots=True)
class _Line:
    """A row of the table: a trial that runs or has ended."""

    number: int
    state: str
    settings: str
    epoch: str = ""
    value: float | None = None


class NotebookTable(SearchView):
    """The table of one search.

    Args:
        draw: Function that shows HTML, in the place of what it showed before; None takes IPython's display.
        clock: Function that returns seconds; injected for tests.
    """

    def __init__(
        self, draw: Callable[[str], None] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._draw, self._clock = draw or _Cell(), clock
        self._record: SearchRecord | None = None
        self._worker_time: WorkerTime | None = None
        self._running: dict[int, _Line] = {}
        self._ended, self._latest = 0, deque[_Line](maxlen=_MOST_ENDED)
        self._notes: list[str] = []
        self._best: TrialRecord | None = None
        self._begun = self._drawn = clock() - SECONDS_BETWEEN
        self._end = ""
        self._lock = threading.RLock()  # a watchdog may speak from another thread

    def begin(
        self, record: SearchRecord, already: Sequence[TrialRecord], worker_time: WorkerTime | None = None
    ) -> None:
        """Start the table of a search.

        Args:
            record: Request and facts of the search.
            already: Trials that have ended in earlier sessions.
            worker_time: Time of the workers, whose shares are shown; None to leave them out.
        """
        self._worker_time = worker_time
        self._record, self._begun = record, self._clock()
        for one in already:
            self._add(one)

    def __exit__(self, *error: object) -> None:
        self._end = self._end or "ended"
        self._update(is_last=True)

    def note(self, message: str) -> None:
        """Show a sentence below the table."""
        self._notes.append(message)
        self._update()

    def interrupted(self) -> None:
        """Show that the user stopped the search."""
        self._end = "interrupted"

    def on_trial_start(self, number: int, config: TrialConfig) -> None:
        """Show a trial that starts."""
        with self._lock:
            text = settings_text(flatten(config.model_dump(mode="json")))
            self._running[number] = _Line(number, "preparing", text)
        self._update()

    def on_epoch_end(
        self, number: int, epoch: int, epochs: int, value: float, scalars: Mapping[str, float]
    ) -> None:
        """Show an epoch."""
        with self._lock:
            if line := self._running.get(number):
                line.state, line.epoch, line.value = "running", f"{epoch}/{epochs}", value
        self._update()

    def on_trial_requeued(self, number: int, reason: str) -> None:
        """Show why a trial no longer runs though it has not ended."""
        with self._lock:
            self._running.pop(number, None)
        self.note(f"trial {number}: {reason}")

    def on_trial_end(self, record: TrialRecord) -> None:
        """Show a trial that has ended."""
        with self._lock:
            self._running.pop(record.number, None)
            self._add(record)
        self._update()

    def _add(self, record: TrialRecord) -> None:
        state = f"{record.state} ({record.cause})" if record.cause else record.state
        line = _Line(record.number, state, labelled_settings(record), str(record.epochs), record.value)
        self._ended += 1
        self._latest.append(line)
        if record.state == "complete" and record.value is not None and self._record is not None:
            known = [record] if self._best is None else [self._best, record]
            self._best = objectives_of(self._record).best(known)

    def _update(self, *, is_last: bool = False) -> None:
        with self._lock:
            if is_last or self._clock() - self._drawn >= SECONDS_BETWEEN:
                self._drawn = self._clock()
                self._draw(self.as_html())

    def as_html(self) -> str:
        """Return what the table shows now; all texts are escaped."""
        if self._record is None:
            return _list_of(self._notes)
        record = self._record
        metric = scored(record.metric, record.split_name)
        before = marks(is_synthetic=record.is_synthetic, split=record.split_name)
        ended = f"{done_text(self._ended, record.request.asked_trials, 'trial')} ended"
        best = "no trial is complete yet"
        if self._best is not None:
            best = f"best: trial {self._best.number} with {metric} {self._best.scored_value:.3f}"
        parts = [ended, f"{len(self._running)} running", best, clock_text(self._clock() - self._begun)]
        if self._end:
            parts = [self._end, ended, best, clock_text(self._clock() - self._begun)]
        title = _escaped(f"{before}search {record.task}/{record.name} on {record.source}")
        running = [] if self._end else sorted(self._running.values(), key=lambda line: line.number)
        lines = [*running, *reversed(self._latest)]
        return (
            f"<p><b>{title}</b><br>{_escaped('; '.join(parts))}{self._shares()}</p>"
            f"{_table(lines, metric, best=self._best)}{_list_of(self._notes)}"
        )

    def _shares(self) -> str:
        """A line that says what the time of the workers went into."""
        said = shares_text(self._worker_time.shares()) if self._worker_time else ""
        return f"<br>time: {_escaped(said)}" if said else ""


def _table(lines: Sequence[_Line], metric: str, *, best: TrialRecord | None) -> str:
    if not lines:
        return ""
    head = "".join(f"<th style='text-align:left'>{_escaped(name or metric)}</th>" for name in _COLUMNS)
    rows = "".join(_row(line, is_best=best is not None and line.number == best.number) for line in lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _row(line: _Line, *, is_best: bool) -> str:
    value = "" if line.value is None else f"{line.value:.3f}"
    cells = (str(line.number), line.state, line.epoch, value, line.settings)
    weight = " style='font-weight:bold'" if is_best else ""
    shown = "".join(f"<td style='text-align:left'>{_escaped(cell)}</td>" for cell in cells)
    return f"<tr{weight}>{shown}</tr>"


def _list_of(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    shown = notes[-_MOST_NOTES:]
    items = "".join(f"<li>{_escaped(note)}</li>" for note in shown)
    return f"<details><summary>{count_text(len(notes), 'remark')}</summary><ul>{items}</ul></details>"


def _escaped(text: str) -> str:
    return html.escape(text)


class _Cell:
    """The output of the running cell of a notebook; it is drawn anew in its place."""

    def __init__(self) -> None:
        self._handle: Any = None

    def __call__(self, text: str) -> None:
        from IPython.display import HTML, display

        if self._handle is None:
            self._handle = display(HTML(text), display_id=True)
        else:
            self._handle.update(HTML(text))
