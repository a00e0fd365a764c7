"""A search from its request to its last record, or from where it was interrupted. Prints nothing."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from cluster.background import BackgroundConnection, Connector
from cluster.connect import Connection
from orchestrator.reporting.worker_time import TimeShares
from orchestrator.request import SearchRequest
from orchestrator.tuning.connecting import connection_of, may_begin
from orchestrator.tuning.reference import keep_reference
from orchestrator.tuning.reopen import DEFAULT_OPTIONS, ResumeOptions, reopen_search
from orchestrator.tuning.session_trials import note_end, run_prepared
from orchestrator.tuning.setup import Prepared, prepare_search
from orchestrator.tuning.surroundings import Surroundings
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.scores.leaderboard import leaderboard
from results.scores.leaderboard_table import rows_as_csv
from trainables.common.files import write_atomically
from trainables.common.text import first_line
from trainables.runtime.devices import kept_threads

_NOTHING_TO_RESUME: Final = (
    "interrupted before there was a run, so that there is nothing to resume: start the search again"
)


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """A search that has ended.

    Attributes:
        run: Run folder of the search.
        search: Request and facts of the search.
        records: Records of all trials that ended, in order of their numbers.
        is_interrupted: Ctrl-C, SIGTERM, SIGHUP or `StopSearch` of a callback ended it.
        time_shares: What the time of the workers of this session went into.
    """

    run: RunFolder
    search: SearchRecord
    records: tuple[TrialRecord, ...]
    is_interrupted: bool
    time_shares: TimeShares = field(default_factory=TimeShares)

    @property
    def complete(self) -> list[TrialRecord]:
        """Trials that ran to their end."""
        return [record for record in self.records if record.state == "complete"]


@dataclass(frozen=True, slots=True)
class Begin:
    """How a search begins.

    Attributes:
        prepare: Function that prepares it, given a function that connects to Ray.
        resumed: Its run folder where it was begun before; None for a new one.
    """

    prepare: Callable[[Connector], Prepared]
    resumed: RunFolder | None = None


def run_search(request: SearchRequest, surroundings: Surroundings, *, command: str = "") -> SearchOutcome:
    """Prepare and run a search.

    Args:
        request: Options of the search.
        surroundings: What it runs on, and who follows it.
        command: Command line, for the record.

    Raises:
        OrchestrateError: Whatever makes the search impossible, before any trial starts.
    """

    def prepare(connect: Connector) -> Prepared:
        try:
            return prepare_search(request, connect, surroundings.notify, command=command)
        except KeyboardInterrupt:
            surroundings.notify(_NOTHING_TO_RESUME)
            raise

    return _run(prepare, surroundings, resumed=None, request=request, begins=may_begin(request))


def resume_search(
    run: RunFolder,
    surroundings: Surroundings,
    *,
    minutes: float | None = None,
    trials: int | None = None,
    options: ResumeOptions = DEFAULT_OPTIONS,
) -> SearchOutcome:
    """Go on with an interrupted search.

    Args:
        run: Run folder of the search.
        surroundings: What it runs on, and who follows it.
        minutes: Time limit of this session in minutes, which is not kept; None takes the search's own.
        trials: Number of trials in all; None keeps the search's own.
        options: Trials to try again, and the search space where it must be named.

    Raises:
        OrchestrateError: If the run folder, its data or its study cannot be read.
    """
    changes: dict[str, Any] = {} if trials is None else {"trials": trials}
    changed = run.search()
    if changed.terminated is not None:
        surroundings.notify(
            f"the terminator ended this search after {changed.terminated.trials} trials; it goes on without"
        )
        changes["terminator"] = False
        changed = changed.model_copy(update={"terminated": None})
    changed = changed.with_options(**changes)

    def prepare(connect: Connector) -> Prepared:
        return reopen_search(run, connect, surroundings.notify, options, record=changed, minutes=minutes)

    ended = [own for own in run.records() if own.state == "complete" or own.cause not in options.retry]
    left = changed.request.most_trials - len(ended)
    return _run(
        prepare, surroundings, resumed=run, request=changed.request, left=max(0, left), begins=left > 0
    )


def run_each(
    searches: Iterable[Begin],
    surroundings: Surroundings,
    *,
    request: SearchRequest,
    left: int | None = None,
    begins: bool = False,
) -> Generator[SearchOutcome, None, None]:
    """Run several searches in one Ray session, one after the other, each when its outcome is asked for.

    Args:
        searches: Searches to begin or to go on with.
        surroundings: What they run on, and who follows them.
        request: Options that a Ray of their own follows: `nice`, `memory_gb` and those of trials at once.
        left: Number of trials that are left to run in each; None for all that are asked for.
        begins: Start a Ray of their own at once, before the first of them is prepared.

    Raises:
        OrchestrateError: Whatever makes a search impossible.
    """
    with kept_threads(), _connector(surroundings, request, left=left) as connect:
        for begin in searches:
            with ExitStack() as stack:
                if begin.resumed is not None:
                    lease = stack.enter_context(begin.resumed.exclusive(surroundings.notify))
                if begins:
                    connect.begin_own()
                prepared = begin.prepare(connect)
                if begin.resumed is None:
                    lease = stack.enter_context(prepared.run.exclusive())
                # A resume that runs nothing else leaves the reference all the time that it takes.
                is_last = begin.resumed is not None and not prepared.has_more
                begun = time.monotonic()
                is_interrupted = not is_last and _is_interrupted_at_first(prepared, surroundings)
                if prepared.has_more and not is_interrupted:
                    spent = time.monotonic() - begun
                    is_interrupted = run_prepared(prepared, surroundings, connect(), lease, spent=spent)
                records = tuple(prepared.run.records())
                if not is_interrupted:
                    note_end(prepared, surroundings.notify)
                    _keep_last_reference(prepared, records, surroundings, is_last=is_last)
            yield SearchOutcome(
                prepared.run,
                prepared.record,
                records,
                is_interrupted,
                prepared.worker_time.shares(),
            )


def _is_interrupted_at_first(prepared: Prepared, surroundings: Surroundings) -> bool:
    """Score the reference before the first trial; returns True if the user interrupts it."""
    try:
        keep_reference(prepared.run, prepared.timed, surroundings.notify)
    except KeyboardInterrupt:
        surroundings.notify(f"interrupted before the first trial; go on with: {prepared.run.resume_command}")
        return True
    return False


def _keep_last_reference(
    prepared: Prepared, records: Sequence[TrialRecord], surroundings: Surroundings, *, is_last: bool
) -> None:
    """Score the reference after the last trial; an interrupt ends nothing else, as all trials have ended."""
    try:
        keep_reference(
            *(prepared.run, prepared.timed, surroundings.notify),
            has_begun=True,
            is_last=is_last,
            records=records,
        )
    except KeyboardInterrupt:
        surroundings.notify("the reference on colour and intensity is left to `orchestrate resume`")


def _run(
    prepare: Callable[[Connector], Prepared],
    surroundings: Surroundings,
    *,
    resumed: RunFolder | None,
    request: SearchRequest,
    left: int | None = None,
    begins: bool,
) -> SearchOutcome:
    searches = [Begin(prepare, resumed)]
    with closing(run_each(searches, surroundings, request=request, left=left, begins=begins)) as outcomes:
        return next(outcomes)


def write_reports(outcome: SearchOutcome) -> list[str]:
    """Write the leaderboard, and pictures of the best trials for TensorBoard.

    Neither is worth the end of a search: what cannot be written is left out.

    Returns:
        What was left out, and why, in sentences.
    """
    if not outcome.complete:
        return []
    missed = []
    for name, write in (("the leaderboard", _write_leaderboard), ("pictures for TensorBoard", _draw)):
        try:
            write(outcome)
        except Exception as error:  # the data may be gone, the disk full, or the memory too small
            missed.append(f"{name} could not be written: {first_line(error)}")
    return missed


def _write_leaderboard(outcome: SearchOutcome) -> None:
    write_atomically(outcome.run.leaderboard_file, rows_as_csv(leaderboard(outcome.run)))


def _draw(outcome: SearchOutcome) -> None:
    from orchestrator.reporting.best_trials import draw_best

    draw_best(outcome.run, outcome.search, outcome.complete)


@contextmanager
def _connector(
    surroundings: Surroundings, request: SearchRequest, *, left: int | None = None
) -> Iterator[BackgroundConnection]:
    """Yield what connects to Ray; disconnect at the end."""

    def say(found: Connection) -> None:
        surroundings.notify(found.message)
        if request.memory_gb is not None and not found.is_own:
            surroundings.notify(
                f"--memory-gb {request.memory_gb:g} is for a Ray of the search's own: here trials share what "
                "`ray start --memory` says on each machine"
            )
        if found.warning:
            surroundings.notify(f"WARNING: {found.warning}")

    connection = surroundings.begun or connection_of(request, surroundings.address, left=left)
    connection.said = say
    try:
        yield connection
    finally:
        connection.close()
