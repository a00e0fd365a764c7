"""Live view of a search on the terminal.

On a terminal it is a small panel that redraws itself; elsewhere one plain line for each finished trial, and a
heartbeat line when nothing else was printed for a while.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.callbacks import SearchView
from orchestrator.reporting.closing_summary import causes_text
from orchestrator.reporting.console import messages
from orchestrator.reporting.time_left import seconds_left
from orchestrator.reporting.worker_time import WorkerTime, shares_text
from results.run.records import Cause, State, TrialRecord
from results.run.search_request import TRIALS_OF_TIME
from results.run.split_labels import GROUPED, SplitName, marks, scored
from results.scores.ranking import BY_AUC, Objective, Objectives
from results.scores.settings_text import labelled_settings, settings_text
from trainables.common.text import clock_text, count_text, done_text, printable
from trainables.config.trial_config import TrialConfig, flatten

HEARTBEAT_SECONDS: Final = 30.0
_WAKE_SECONDS: Final = 5.0
_MOST_RUNNING_LINES: Final = 6
_FRAME: Final = 4  # columns that the panel's border and padding take
_STATES: Final = ("complete", "pruned", "failed")


def fitted(text: str, width: int) -> str:
    """Cut a text to a number of terminal columns.

    >>> fitted("resnet50 top+1 adam", 12), fitted("vgg16", 12)
    ('resnet50 ...', 'vgg16')
    """
    if cell_len(text) <= width:
        return text
    return f"{Text(text)[: max(width - 3, 0)].plain}..."[: max(width, 0)]


@dataclass(slots=True)
class _Running:
    text: str
    epoch: int = 0
    epochs: int = 0
    value: float | None = None


@dataclass(slots=True, kw_only=True)
class SearchProgress(SearchView):
    """Live view of one search; a context manager whose methods the driver's thread calls.

    Attributes:
        task: Name of the task.
        name: Name of the run.
        data: Source of the images.
        trials: Number of trials asked for, those of earlier sessions included; None where the time limit
            alone ends the search.
        minutes: Time budget of this session; None without one.
        workers: Number of trials at once.
        is_synthetic: The images are generated; stated in the title.
        metric: Metric that the search optimises.
        objectives: All that it optimises and requires, which decides on the best trial.
        split: Name of the kind of split; a naive one is stated in the title and with every score.
        already: Records of trials that ended in earlier sessions of the search.
        worker_time: Time of the workers, whose shares are shown; None to leave them out.
        to_come: Returns the number of trials that are yet to be handed out here, which is asked for when a
            trial starts or ends; None takes all that were asked for and have neither begun nor ended.
        console: Console to write to; standard error by default, so that standard output stays for results.
        clock: Function that returns seconds, for the elapsed time; injected for tests.
    """

    task: str
    name: str
    data: str
    trials: int | None
    minutes: float | None
    workers: int
    is_synthetic: bool
    metric: str = "auc"
    objectives: Objectives = BY_AUC
    split: SplitName = GROUPED
    already: Sequence[TrialRecord] = ()
    worker_time: WorkerTime | None = None
    to_come: Callable[[], int] | None = None
    console: Console = field(default_factory=messages)
    clock: Callable[[], float] = time.monotonic
    _running: dict[int, _Running] = field(default_factory=dict, init=False)
    _ended: Counter[str] = field(default_factory=Counter, init=False)
    _causes: Counter[str] = field(default_factory=Counter, init=False)
    _ended_here: int = field(default=0, init=False)
    _to_come: int | None = field(default=None, init=False)
    _best: tuple[int, float, str] | None = field(default=None, init=False)
    _best_misses: float = field(default=math.inf, init=False)
    _is_interrupted: bool = field(default=False, init=False)
    _is_store_said: bool = field(default=False, init=False)
    _begun: float = field(default=0.0, init=False)
    _last_line: float = field(default=0.0, init=False)
    _live: Live | None = field(default=None, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)
    _closing: threading.Event = field(default_factory=threading.Event, init=False)
    _pulse: threading.Thread | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        for record in self.already:
            text = labelled_settings(record)
            missed = self.objectives.violation(record)
            self._count(record.number, record.state, record.cause, record.value, text, missed)

    def __enter__(self) -> Self:
        self._begun = self._last_line = self.clock()
        if self._is_live:
            self._live = Live(
                get_renderable=self._panel, console=self.console, refresh_per_second=4, transient=True
            )
            self._live.start()
        else:
            self._say(
                f"{self._title()}: {self._asked()}, {self.workers} at once{self._budget()}", is_cut=False
            )
            self._pulse = threading.Thread(target=self._beat_until_closed, name="progress", daemon=True)
            self._pulse.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        if self._live is not None:
            self._live.stop()
        if self._pulse is not None:
            self._pulse.join()

    def started(self, number: int, text: str) -> None:
        """Show a trial that starts; `text` is its configuration on one line."""
        to_come = None if self.to_come is None else self.to_come()
        with self._lock:
            self._to_come = to_come
            self._running[number] = _Running(text)
            self._beat()

    def epoch(self, number: int, epoch: int, epochs: int, value: float) -> None:
        """Show that all folds of a trial finished an epoch.

        Args:
            number: Trial number.
            epoch: Epoch, 1-based.
            epochs: Largest number of epochs of the trial.
            value: Value of the search metric so far.
        """
        with self._lock:
            text = self._running[number].text if number in self._running else ""
            self._running[number] = _Running(text, epoch, epochs, value)
            self._beat()

    def finished(
        self,
        number: int,
        state: State,
        cause: Cause | None,
        value: float | None,
        text: str,
        *,
        missed: float = 0.0,
    ) -> None:
        """Show a trial that ended.

        Args:
            number: Trial number.
            state: End state of the trial.
            cause: Reason why it did not run to the end; None for complete trials.
            value: Value of the search metric; None if no epoch finished.
            text: Configuration of the trial on one line.
            missed: By how much it misses what the search requires; 0 if it keeps all of it.
        """
        to_come = None if self.to_come is None else self.to_come()
        with self._lock:
            self._to_come = to_come
            self._running.pop(number, None)
            self._count(number, state, cause, value, text, missed)
            self._ended_here += 1
            if self._live is None or state == "failed":
                self._say(self._finished_line(number, state, cause, value, text))

    def postponed(self, number: int, reason: str) -> None:
        """Show why a trial no longer runs though it has not ended."""
        with self._lock:
            self._running.pop(number, None)
            self._say(f"trial {number}: {reason}")

    def note(self, message: str) -> None:
        """Print a sentence above the panel."""
        with self._lock:
            self._say(message, is_cut=False)

    def interrupted(self) -> None:
        """Show that the user stopped the search."""
        with self._lock:
            self._is_interrupted = True
            ended = count_text(self._ended.total(), "trial")
            self._say(f"interrupted: {ended} ended and kept, {len(self._running)} cut short")

    def on_trial_start(self, number: int, config: TrialConfig) -> None:
        """Show the trial in the panel."""
        self.started(number, settings_text(flatten(config.model_dump(mode="json"))))

    def on_epoch_end(
        self, number: int, epoch: int, epochs: int, value: float, scalars: Mapping[str, float]
    ) -> None:
        """Show the epoch of the trial."""
        self.epoch(number, epoch, epochs, value)

    def on_trial_requeued(self, number: int, reason: str) -> None:
        """Show that the trial will be started again later."""
        self.postponed(number, reason)

    def on_trial_end(self, record: TrialRecord) -> None:
        """Show the end of the trial."""
        text, missed = labelled_settings(record), self.objectives.violation(record)
        self.finished(record.number, record.state, record.cause, record.value, text, missed=missed)
        if record.prefix is not None and record.prefix.note and not self._is_store_said:
            self._is_store_said = True  # once, since every further trial has the same reason
            self.note(f"features are not kept, which costs every trial time: {record.prefix.note}")

    @property
    def _is_live(self) -> bool:
        console = self.console
        return console.is_interactive and not console.is_dumb_terminal and not console.quiet

    def _count(
        self, number: int, state: State, cause: Cause | None, value: float | None, text: str, missed: float
    ) -> None:
        self._ended[state] += 1
        if state == "failed" and cause is not None:
            self._causes[cause] += 1
        if state != "complete" or value is None:
            return
        best = self._best[1] if self._best and missed == self._best_misses else None
        if missed <= self._best_misses and Objective(self.metric).is_better(value, best):
            self._best, self._best_misses = (number, value, text), missed

    def _say(self, text: str, *, is_cut: bool = True) -> None:
        line = fitted(text, self.console.width) if is_cut else text
        self.console.print(Text(printable(line)), soft_wrap=True)
        self._last_line = self.clock()

    def _beat(self) -> None:
        """Print a heartbeat line if there is no panel and nothing was printed for a while."""
        if self._live is None and self.clock() - self._last_line >= HEARTBEAT_SECONDS:
            self._say(self._heartbeat_line(), is_cut=False)

    def _beat_until_closed(self) -> None:
        while not self._closing.wait(_WAKE_SECONDS):
            with self._lock:
                self._beat()

    def _heartbeat_line(self) -> str:
        best = ""
        if self._best:
            best = f", best {scored(f'{self._best[1]:.3f}', self.split)} (trial {self._best[0]})"
        return f"{self._ended_text()} ended, {len(self._running)} running{best}; {self._times()}"

    def _finished_line(
        self, number: int, state: State, cause: Cause | None, value: float | None, text: str
    ) -> str:
        why = f" ({cause})" if cause else ""
        score = f" {scored(self.metric, self.split)} {value:.3f}" if value is not None else ""
        of_all = "" if self.trials is None else f"/{self.trials}"
        return f"[{self._ended.total()}{of_all}] trial {number} {state}{why}{score}  {text}"

    def _title(self) -> str:
        before = marks(is_synthetic=self.is_synthetic, split=self.split)  # a narrow terminal cuts the end
        return f"{before}search {self.task}/{self.name} on {self.data}"

    def _asked(self) -> str:
        return "as many trials as fit" if self.trials is None else count_text(self.trials, "trial")

    def _ended_text(self) -> str:
        return done_text(self._ended.total(), self.trials, "trial")

    def _progress(self) -> tuple[float, float]:
        """What the search takes, and what of it is done: trials, or seconds where its time alone ends it."""
        if self.trials is None and self.minutes is not None:
            return 60.0 * self.minutes, min(60.0 * self.minutes, self.clock() - self._begun)
        return max(self.trials or 0, 1), self._ended.total()

    def _budget(self) -> str:
        return "" if self.minutes is None else f", {self.minutes:g} min"

    def _times(self) -> str:
        elapsed = self.clock() - self._begun
        left = seconds_left(
            finished=self._ended_here,
            remaining=self._remaining(),
            elapsed_seconds=elapsed,
            budget_seconds=None if self.minutes is None else 60.0 * self.minutes,
        )
        budget = "" if self.minutes is None else f" of {clock_text(60.0 * self.minutes)}"
        return f"elapsed {clock_text(elapsed)}{budget}, left {'?' if left is None else clock_text(left)}"

    def _remaining(self) -> int:
        """Number of trials that have not ended: a grid has an end, and other searches run some of a study."""
        if self._to_come is not None:
            return self._to_come + len(self._running)
        most = TRIALS_OF_TIME if self.trials is None else self.trials
        return max(0, most - self._ended.total())

    def _panel(self) -> RenderableType:
        with self._lock:
            width = self.console.width - _FRAME
            lines = [self._counts_line(), self._best_line(), self._shares_line(), *self._running_lines()]
            return Panel(
                Group(self._bar(width), *(_row(line, width) for line in lines)),
                title=Text(fitted(printable(self._title(), keeps=""), width - 2)),
                title_align="left",
                border_style="yellow" if self._is_interrupted else "blue",
            )

    def _bar(self, width: int) -> RenderableType:
        said = Text(f"{self._ended_text()}   {self._times()}")
        total, done = self._progress()
        bar = ProgressBar(
            total=total,
            completed=done,
            width=max(5, width - cell_len(said.plain) - 3),
        )
        row = Table.grid(padding=(0, 3, 0, 0))
        row.add_row(bar, said)
        return row

    def _counts_line(self) -> str:
        ended = "   ".join(f"{state} {self._ended[state]}" for state in _STATES)
        return f"running {len(self._running)}   {ended}{causes_text(self._causes)}"

    def _best_line(self) -> str:
        if self._best is None:
            return "best: no trial is complete yet"
        number, value, text = self._best
        return f"best: trial {number}  {scored(self.metric, self.split)} {value:.3f}  {text}"

    def _shares_line(self) -> str:
        said = shares_text(self.worker_time.shares()) if self.worker_time else ""
        return f"time: {said or 'not yet known'}"

    def _running_lines(self) -> list[str]:
        numbers = sorted(self._running)
        is_long = len(numbers) > _MOST_RUNNING_LINES
        shown = numbers[: _MOST_RUNNING_LINES - 1] if is_long else numbers
        lines = [_running_line(number, self._running[number]) for number in shown]
        return [*lines, f"and {len(numbers) - len(shown)} more"] if is_long else lines


def _row(line: str, width: int) -> Text:
    return Text(fitted(printable(line, keeps=""), width), no_wrap=True)


def _running_line(number: int, trial: _Running) -> str:
    if trial.value is None:
        return f"trial {number:<4} preparing            {trial.text}"
    return f"trial {number:<4} epoch {trial.epoch:>3}/{trial.epochs:<3} {trial.value:.3f}  {trial.text}"
