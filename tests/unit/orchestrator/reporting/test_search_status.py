"""Searches below a folder of runs: how far they are, and who runs them."""

import dataclasses
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cluster_jobs import held
from rich.console import Console
from simulated_run import make_run
from simulated_trials import simulate

from orchestrator.reporting.processes import lock_holders, running_process
from orchestrator.reporting.search_status import (
    SearchStatus,
    searches_below,
    state_text,
    status_table,
    waiting_jobs,
)
from results.run.run_folder import RunFolder
from results.scores.ranking import objectives_of

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def status(**values: Any) -> SearchStatus:
    known: dict[str, Any] = {
        "run": "/runs/idc/first",
        "task": "idc",
        "name": "first",
        "pid": None,
        "asked": 24,
        "trials": {},
        "metric": "auc",
        "best": None,
        "best_trial": None,
        "started_at": (NOW - timedelta(minutes=5)).isoformat(),
        "minutes": None,
    }
    return SearchStatus(**known | values)


def job(**values: Any) -> dict[str, Any]:
    known = {"id": "search-first-1", "status": "RUNNING", "exit_code": None, "message": "", "started": 0.0}
    return {**known, "metadata": {"name": "first", "task": "idc", "verb": "search"}, **values}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path, simulate())


def runs_of(run: RunFolder) -> Path:
    return run.path.parents[1]


def test_trials_are_counted_by_how_they_ended_and_the_best_is_named(run: RunFolder) -> None:
    (found,) = searches_below(runs_of(run))
    records = run.records()
    assert found.run == str(run.path.resolve())
    assert (found.task, found.name) == (run.path.parent.name, run.path.name)
    assert found.trials == {"complete": len(records)}
    assert found.ended == len(records)
    assert found.best == max(record.value or 0.0 for record in records)
    assert records[found.best_trial or 0].value == found.best
    assert not found.is_running


@pytest.mark.parametrize(
    ("metric", "requirements", "best"),
    [
        ("log_loss", (), 1),  # smaller is better
        ("auc", ("recall>=0.8",), 2),  # the best that keeps what is required
        ("auc", (), 3),  # of equals the one with fewer trained weights
        ("own.py:metric", (), None),  # not run for a list
    ],
)
def test_the_best_trial_of_a_list_is_that_of_the_leaderboard(
    tmp_path: Path, metric: str, requirements: tuple[str, ...], best: int | None
) -> None:
    folder = make_run(tmp_path, simulate())
    search = folder.search()
    names = (metric, *(one.partition(">=")[0] for one in requirements))
    folder.write_search(
        search.model_copy(
            update={
                "request": search.request.model_copy(update={"requirements": requirements}),
                "metrics": (metric,),
                "ranges": dict.fromkeys(names, (None, None)),
            }
        )
    )
    trials = ((0, 0.9, 0.5, 7), (1, 0.6, 0.9, 7), (2, 0.8, 0.9, 7), (3, 0.9, 0.5, None))
    for number, value, recall, weights in trials:
        record = folder.record(number)
        assert record is not None
        values = {"recall": recall} if requirements else {}
        folder.write_record(
            record.model_copy(update={"value": value, "values": values, "trained_parameters": weights})
        )
    for number in folder.trial_numbers()[4:]:
        folder.record_file(number).unlink()
    (found,) = searches_below(runs_of(folder))
    assert found.best_trial == best
    if best is not None:
        assert objectives_of(folder.search()).rank(folder.records())[0].number == best


def test_a_damaged_record_is_left_out_and_a_damaged_search_not_listed(run: RunFolder) -> None:
    number = run.trial_numbers()[0]
    run.record_file(number).write_text("{")
    (found,) = searches_below(runs_of(run))
    assert found.ended == len(run.trial_numbers()) - 1
    run.search_file.write_text("{")
    assert searches_below(runs_of(run)) == []


def test_the_process_that_holds_a_run_runs_its_search(run: RunFolder) -> None:
    with run.exclusive():
        assert lock_holders()[run.path.resolve()] == os.getpid()
        (found,) = searches_below(runs_of(run))
        assert found.pid == os.getpid()
        assert found.is_running
    assert run.path.resolve() not in lock_holders()


def test_a_search_in_another_process_is_found_and_gone_with_it(run: RunFolder) -> None:
    with held(run) as pid:
        assert searches_below(runs_of(run))[0].pid == pid
    assert searches_below(runs_of(run))[0].pid is None


@pytest.mark.parametrize(
    ("words", "verb", "state"),
    [
        (("orchestrate", "nest", "first"), "nest", "running nest"),
        (("-m", "orchestrator.cli.main", "resume", "first"), "resume", "running"),
        (("mine.py",), "search", "running"),
        (("orchestrate", "fetch", "there", "first"), "search", "ended"),  # it runs nothing
    ],
)
def test_what_the_process_of_a_run_runs_is_read_from_its_command_line(
    words: tuple[str, ...], verb: str, state: str, run: RunFolder
) -> None:
    run.write_search(run.search().with_options(trials=len(run.records())))
    stopped = job(status="STOPPED", metadata={"name": run.path.name, "verb": "repeat"})
    with held(run, *words):
        (found,) = searches_below(runs_of(run), [stopped])
        assert found.is_running == state.startswith("running")
        assert state_text(found) == state
        assert found.verb == (verb if found.is_running else "repeat")
    (found,) = searches_below(runs_of(run), [stopped])
    assert (state_text(found), found.verb) == ("ended", "repeat")


def test_a_process_lives_until_it_has_ended_and_a_later_one_of_its_number_is_another() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        found = running_process(child.pid)
        assert found is not None
        assert (found.pid, found.verb, found.lives) == (child.pid, "", True)
        assert not dataclasses.replace(found, started=found.started - 1).lives
        assert child.stdin is not None
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # its number is not free yet
        assert not found.lives
    assert running_process(found.pid) is None


def test_where_processes_are_not_shown_nobody_is_found(tmp_path: Path) -> None:
    assert lock_holders(tmp_path / "no-proc") == {}
    assert running_process(os.getpid(), tmp_path / "no-proc") is None


def test_a_run_knows_the_latest_job_of_its_name(run: RunFolder) -> None:
    about = {"name": run.path.name, "verb": "search"}
    jobs = [job(id="new", status="STOPPED", metadata=about), job(id="old", status="FAILED", metadata=about)]
    (found,) = searches_below(runs_of(run), jobs)
    assert found.job == {"id": "new", "status": "STOPPED", "message": "", "exit_code": None}


def test_what_another_machine_printed_is_read_again(run: RunFolder) -> None:
    (found,) = searches_below(runs_of(run), [job(metadata={"name": run.path.name})])
    assert SearchStatus.of_json(json.loads(json.dumps(found.as_json()))) == found
    earlier = {name: value for name, value in found.as_json().items() if name != "verb"}
    assert SearchStatus.of_json(earlier) == found
    with pytest.raises(KeyError):
        SearchStatus.of_json({"run": "a"})


def test_a_run_has_no_job_of_another_task_that_has_its_name(run: RunFolder) -> None:
    about = {"name": run.path.name, "task": "another", "verb": "search"}
    (found,) = searches_below(runs_of(run), [job(metadata=about)])
    assert found.job is None
    (waits,) = waiting_jobs([job(metadata=about)], [found])
    assert (waits.task, waits.name) == ("another", run.path.name)
    without = job(metadata={**about, "task": ""})
    assert waiting_jobs([without], [found]) == []
    since = run.search().started_at.timestamp() + 60
    (waits,) = waiting_jobs([{**without, "started": since}], [found])
    assert (waits.task, waits.name) == ("?", run.path.name)
    (found,) = searches_below(runs_of(run), [{**without, "started": since}])
    assert found.job is None


def test_jobs_without_a_run_folder_wait_or_have_failed() -> None:
    jobs = [
        job(id="b", status="FAILED", exit_code=2, message="no data at x"),
        job(id="a"),
        job(id="c", metadata={"name": "export", "verb": "export"}),
        job(id="d", metadata={"name": "known"}),
    ]
    (found,) = waiting_jobs(jobs, [status(name="known")])
    assert (found.task, found.name, found.run) == ("idc", "first", "")
    assert state_text(found) == "ended, code 2"
    assert found.job is not None
    assert found.job["message"] == "no data at x"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"pid": 3}, "running"),
        ({}, "ended early"),
        ({"trials": {"complete": 20, "pruned": 4}}, "ended"),
        ({"job": job(status="SUCCEEDED"), "trials": {"complete": 24}}, "ended"),
        ({"job": job(status="PENDING")}, "starting"),
        ({"job": job(status="STOPPED")}, "stopped"),
        ({"job": job(status="STOPPED"), "trials": {"complete": 24}}, "ended"),
        ({"job": job(status="FAILED", exit_code=1), "trials": {"complete": 24}}, "ended"),
        ({"job": job(status="FAILED"), "verb": "nest", "trials": {"complete": 9}}, "ended early"),
        ({"job": job(), "verb": "nest", "trials": {"complete": 24}}, "starting"),
        ({"pid": 3, "verb": "repeat", "trials": {"complete": 24}}, "running repeat"),
        ({"job": job(status="FAILED", exit_code=1)}, "ended, code 1"),
        ({"job": job(status="FAILED")}, "ended"),
    ],
)
def test_a_state_is_a_word(values: dict[str, Any], text: str) -> None:
    assert state_text(status(**values)) == text


def test_the_table_fits_80_columns_and_obeys_no_name(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        status(pid=4, trials={"complete": 3, "pruned": 2, "failed": 1}, best=0.7214, best_trial=2),
        status(name="a\x1b[2J" + "long" * 20, started_at="never"),
        status(run="", job=job(status="FAILED", exit_code=2, message="no data at x")),
    ]
    Console(width=80).print(status_table(rows, now=NOW))
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "\x1b[2J" not in printed
    for text in ("running", "6/24", "auc 0.721", "5:00 ago", "complete", "2 pruned", "no data at"):
        assert text in " ".join(printed.split())


def test_an_empty_list_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    Console(width=80).print(status_table([], now=NOW))
    assert "no search yet" in capsys.readouterr().out
