"""Searches below a folder of runs: which run, how far they are, and which process runs them."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cluster.verbs import SEARCHES, WITHIN
from orchestrator.reporting.processes import lock_holders, running_process
from orchestrator.reporting.submitted import RUNNING, is_of_any_task, job_of_run, name_of, task_of, verb_of
from results.errors import RunError
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from results.scores.ranking import objectives_of
from results.tables import result_table
from trainables.common.errors import OrchestrateError
from trainables.common.text import clock_text, printable

_NAME_WIDTH: Final = 22  # of 80 columns
_STATES: Final = ("complete", "pruned", "failed")


@dataclass(frozen=True, slots=True)
class SearchStatus:
    """How far one search is.

    Attributes:
        run: Run folder, absolute.
        task: Name of the task.
        name: Name of the run.
        pid: Process that runs the search on this machine; None if none does.
        asked: Number of trials that the search was asked for; None where its time limit alone ends it.
        trials: State -> number of trials that have ended so.
        metric: Main metric.
        best: Value of it of the best complete trial; None without one, and where a metric is the user's own
            code, which is not run for a list.
        best_trial: Number of that trial.
        started_at: Time of the start, with time zone, as ISO text.
        minutes: Time limit of the search; None for none.
        job: Job of Ray that it runs as, or ran as last: id, status and message; None if it was not submitted.
        has_no_more: It has ended with fewer trials than it was asked for, and there is no other to run; or
            its time is up, which alone was to end it.
        verb: Verb that its process or its job runs, or ran last: `nest` and `repeat` run searches within it.
    """

    run: str
    task: str
    name: str
    pid: int | None
    asked: int | None
    trials: Mapping[str, int]
    metric: str
    best: float | None
    best_trial: int | None
    started_at: str
    minutes: float | None
    job: Mapping[str, Any] | None = field(default=None)
    has_no_more: bool = False
    verb: str = "search"

    @property
    def is_running(self) -> bool:
        """True while a process of this machine runs it."""
        return self.pid is not None

    @property
    def ended(self) -> int:
        """Number of trials that have ended."""
        return sum(self.trials.values())

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**asdict(self), "is_running": self.is_running, "ended": self.ended}

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> "SearchStatus":
        """Return what `as_json` of another machine printed.

        Raises:
            KeyError: If a value is missing.
        """
        # A machine with an earlier version does not say whether there is more, nor which verb runs.
        known = {"has_no_more": False, "verb": "search", **values}
        return cls(**{name: known[name] for name in cls.__slots__})


def searches_below(runs: Path, jobs: Sequence[Mapping[str, Any]] = ()) -> list[SearchStatus]:
    """Return the searches below a folder of runs: those that run first, then the latest first.

    Args:
        runs: Folder of all runs.
        jobs: Jobs of Ray, as `cluster.on_head.jobs` returns them, the latest first.
    """
    holders = lock_holders()
    found = []
    for path in runs.glob("*/*/search.yaml"):
        try:
            found.append(status_of(RunFolder(path.parent), holders=holders, jobs=jobs))
        except RunError:  # another verb names what cannot be read
            continue
    return sorted(found, key=lambda one: (one.is_running, one.started_at), reverse=True)


def status_of(
    folder: RunFolder, *, holders: Mapping[Path, int], jobs: Sequence[Mapping[str, Any]] = ()
) -> SearchStatus:
    """Return how far one search is.

    Args:
        folder: Its run folder.
        holders: Run folder -> process that runs a search there.
        jobs: Jobs of Ray, the latest first.

    Raises:
        RunError: If the record of the search cannot be read.
    """
    search = folder.search()
    outcomes = list(_outcomes(folder))
    best = _best(search, [one for one in outcomes if one.state == "complete" and one.value is not None])
    path = folder.path.absolute()
    job = job_of_run(path, jobs, started=search.started_at.timestamp())
    pid = holders.get(path.resolve())
    return SearchStatus(
        run=str(path.resolve()),
        task=path.parent.name,
        name=path.name,
        pid=pid,
        asked=search.request.asked_trials,
        trials=dict(Counter(one.state for one in outcomes)),
        metric=search.metric,
        best=None if best is None else best.value,
        best_trial=None if best is None else best.number,
        started_at=_iso(search.started_at),
        minutes=search.request.minutes,
        job=None if job is None else {name: job[name] for name in ("id", "status", "message", "exit_code")},
        has_no_more=search.has_no_more or search.has_filled_its_time,
        verb=_verb(pid, job),
    )


def _verb(pid: int | None, job: Mapping[str, Any] | None) -> str:
    """What the process that holds a run runs, else its job; a program of the user's own runs the search."""
    process = None if pid is None else running_process(pid)
    if process is not None:
        return process.verb if process.verb in SEARCHES else "search"
    return "search" if job is None else verb_of(job)


def waiting_jobs(jobs: Iterable[Mapping[str, Any]], known: Iterable[SearchStatus]) -> list[SearchStatus]:
    """Return jobs without a run folder: they look at data and devices yet, or ended before their first trial.

    Args:
        jobs: Jobs of Ray, as `cluster.on_head.jobs` returns them.
        known: Searches that have a run folder.
    """
    seen, started = set[tuple[str, str]](), dict[str, float]()
    for one in known:
        seen.add((one.task, one.name))
        began = datetime.fromisoformat(one.started_at).timestamp()
        started[one.name] = max(began, started.get(one.name, began))
    found = []
    for job in jobs:
        task, name = task_of(job), name_of(job)
        if (task, name) in seen or verb_of(job) != "search":
            continue
        if is_of_any_task(job) and float(job["started"]) <= started.get(name, -math.inf):
            continue  # it may be that of a run which has begun since
        seen.add((task, name))  # the latest job of a run speaks for it
        found.append(
            SearchStatus(
                run="",
                task=task or "?",
                name=name,
                pid=None,
                asked=0,
                trials={},
                metric="",
                best=None,
                best_trial=None,
                started_at=datetime.fromtimestamp(float(job["started"]), UTC).isoformat(),
                minutes=None,
                job={key: job[key] for key in ("id", "status", "message", "exit_code")},
            )
        )
    return found


def search_named(text: str, searches: Iterable[SearchStatus]) -> SearchStatus | None:
    """Return the search that is meant; None if there is none.

    Args:
        text: Its name, TASK/NAME, or the id of its job.
        searches: Those in question.

    Raises:
        RunError: If several have the bare name.
    """
    found = [
        one for one in searches if text in (one.name, f"{one.task}/{one.name}", (one.job or {}).get("id"))
    ]
    if len(found) > 1:
        known = ", ".join(f"{one.task}/{one.name}" for one in found[:20])
        raise RunError(f"{text!r} names several runs: {known}; name one by TASK/NAME")
    return found[0] if found else None


def status_table(searches: Iterable[SearchStatus], *, now: datetime) -> Any:
    """Return searches as a table of 80 columns.

    Args:
        searches: In the order of the rows.
        now: The time, with time zone, that ages are counted to.
    """
    searches = list(searches)
    names = [printable(f"{one.task}/{one.name}", keeps="") for one in searches]
    table = result_table()
    table.add_column("search", overflow="fold", width=min(max(map(len, names), default=6), _NAME_WIDTH))
    table.add_column("state", no_wrap=True)
    table.add_column("trials", justify="right", no_wrap=True)
    table.add_column("ended as", overflow="fold")
    table.add_column("best", no_wrap=True)
    table.add_column("started", justify="right", no_wrap=True)
    for one, name in zip(searches, names, strict=True):
        table.add_row(
            name,
            state_text(one),
            _ended_text(one),
            _outcomes_text(one),
            "-" if one.best is None else f"{one.metric} {one.best:.3f}",
            _age(one.started_at, now),
        )
    if not table.rows:
        table.caption = "no search yet"
    return table


def _ended_text(search: SearchStatus) -> str:
    """Trials that have ended, and of how many."""
    if not search.run:
        return "-"
    return f"{search.ended}" if search.asked is None else f"{search.ended}/{search.asked}"


def _outcomes_text(search: SearchStatus) -> str:
    """Trials by their outcome; of a job that has ended without a run folder, why."""
    found = ", ".join(f"{search.trials[state]} {state}" for state in _STATES if search.trials.get(state))
    message = "" if search.run or search.job is None else str(search.job["message"])
    return found or printable(message, keeps="") or "-"


def state_text(search: SearchStatus) -> str:
    """Say what becomes of a search.

    >>> nothing = dict(run="", task="", name="", asked=2, trials={}, metric="auc", best=None, best_trial=None)
    >>> late = dict(started_at="", minutes=None)
    >>> state_text(SearchStatus(**nothing, **late, pid=7))
    'running'
    >>> state_text(SearchStatus(**nothing, **late, pid=None))
    'ended early'
    >>> state_text(SearchStatus(**nothing, **late, pid=None, job={"status": "FAILED", "exit_code": 2}))
    'ended, code 2'
    >>> whole = nothing | dict(run="/runs/idc/first", trials={"complete": 2})
    >>> state_text(SearchStatus(**whole, **late, pid=7, verb="nest"))
    'running nest'
    >>> state_text(SearchStatus(**whole, **late, pid=None, verb="nest", job={"status": "STOPPED"}))
    'ended'
    """
    is_of_search = search.verb not in WITHIN
    if search.is_running:
        return "running" if is_of_search else f"running {search.verb}"
    job, has_all = (
        search.job,
        search.has_no_more or (search.asked is not None and search.ended >= search.asked),
    )
    if job is not None and job["status"] in RUNNING:
        return "starting"
    # How a job ended is that of a search which lacks trials, or has no folder yet.
    if job is None or job["status"] == "SUCCEEDED" or (search.run and (has_all or not is_of_search)):
        return "ended" if has_all else "ended early"
    if job["status"] == "STOPPED":
        return "stopped"
    return "ended" if job.get("exit_code") is None else f"ended, code {job['exit_code']}"


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a list says of a trial that has ended."""

    number: int
    state: str
    value: float | None
    values: Mapping[str, float | None]
    trained_parameters: int


def _outcomes(folder: RunFolder) -> Iterator[_Outcome]:
    """Each trial that has ended; quick, since nothing else is checked."""
    for number in folder.trial_numbers():
        try:
            record = json.loads(folder.record_file(number).read_bytes())
            yield _Outcome(
                number=number,
                state=str(record["state"]),
                value=record.get("value"),
                values=record.get("values") or {},
                trained_parameters=record.get("trained_parameters") or 0,
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not ended, or damaged
            continue


def _best(search: SearchRecord, complete: Sequence[_Outcome]) -> _Outcome | None:
    """The trial that ranks first; None where that cannot be told without the user's own code."""
    if any(":" in name for name in search.ranges):
        return None
    try:
        objectives = objectives_of(search)
        values = [{search.metric: one.value, **one.values} for one in complete]
        order = objectives.order(values, [(one.trained_parameters, one.number) for one in complete])
    except (OrchestrateError, TypeError):  # a metric that is not known here, or a damaged value
        return None
    return complete[order[0]] if order else None


def _iso(moment: Any) -> str:
    return moment.isoformat() if isinstance(moment, datetime) else str(moment or "")


def _age(started_at: str, now: datetime) -> str:
    try:
        started = datetime.fromisoformat(started_at)
    except ValueError:
        return "-"
    started = started if started.tzinfo is not None else started.replace(tzinfo=UTC)
    seconds = (now - started).total_seconds()
    return f"{clock_text(seconds)} ago" if seconds < 86_400 else f"{seconds / 86_400:.0f} d ago"
