"""`orchestrate stop` on this machine: which process or job it ends, what it waits for, and what it says."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cluster_jobs import JOBS, held, job
from simulated_run import make_run
from simulated_trials import simulate

from orchestrator.cli import status, stop
from orchestrator.cli.main import main
from orchestrator.reporting.processes import lock_holders
from orchestrator.reporting.submitted import job_of_run
from results.errors import RunError
from results.run.run_folder import RunFolder

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    (tmp_path / "runs").mkdir()
    return make_run(tmp_path / "runs", simulate())


def test_stop_ends_the_process_of_a_search_and_says_what_is_kept(
    run: RunFolder, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(stop, "_POLL_SECONDS", 0.01)
    with held(run) as pid:
        assert main(["stop", run.path.name, "--runs", str(tmp_path / "runs")]) == 0
        assert os.waitpid(pid, 0)[1] != 0
    printed = capsys.readouterr().out
    asked = run.search().request.trials
    assert f"{run.path.name} has ended; {len(run.records())} of {asked} trials are kept" in printed
    assert "orchestrate resume" in printed


@pytest.mark.parametrize("verb", ["nest", "repeat"])
def test_stop_tells_a_search_within_a_search_from_the_search(
    verb: str, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cluster import on_head

    monkeypatch.setattr(status, "jobs_here", list)
    monkeypatch.setattr(stop, "_POLL_SECONDS", 0.01)
    name, left = run.path.name, f"{verb} has ended; what it finished is kept; go on: {run.command(verb)}"
    with held(run, "orchestrate", verb, name) as pid:
        said = stop.stop_here(name, tmp_path / "runs", wait_seconds=9.0)
        assert os.waitpid(pid, 0)[1] != 0
    assert said == f"{name}: {left}"
    jobs = [job(run.path.parent.name, name, verb=verb), job(run.path.parent.name, name, state="SUCCEEDED")]
    monkeypatch.setattr(status, "jobs_here", lambda: jobs)
    monkeypatch.setattr(on_head, "stop", lambda identity: None)
    monkeypatch.setattr(on_head, "jobs", list)
    assert stop.stop_here(jobs[0]["id"], tmp_path / "runs", wait_seconds=1.0) == f"{jobs[0]['id']}: {left}"


def test_stop_waits_for_what_a_search_does_after_its_folder_is_free(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "jobs_here", list)
    monkeypatch.setattr(stop, "_POLL_SECONDS", 0.01)
    code = (
        "import signal, sys, threading, time; from pathlib import Path\n"
        "from results.run.run_folder import RunFolder\n"
        "told = threading.Event(); signal.signal(signal.SIGTERM, lambda *_: told.set())\n"
        "with RunFolder(Path(sys.argv[1])).exclusive():\n    print('held', flush=True); told.wait()\n"
        "time.sleep(2)\n"
    )
    words = [sys.executable, "-c", code, str(run.path), "orchestrate", "search"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as search:
        assert search.stdout is not None
        assert search.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=r"was told to end, but has not within 0\.5 s"):
            stop.stop_here(run.path.name, tmp_path / "runs", wait_seconds=0.5)
        assert run.path.resolve() not in lock_holders()
        assert search.poll() is None
        search.wait(30)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as search:
        assert search.stdout is not None
        assert search.stdout.readline() == "held\n"
        said = stop.stop_here(run.path.name, tmp_path / "runs", wait_seconds=30.0)
        assert search.poll() == 0
    assert "trials are kept" in said


def test_stop_asks_rays_job_server_to_end_a_job(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cluster import on_head

    name, stopped = run.path.name, []
    running = [{**JOBS[0], "metadata": {"name": name, "task": run.path.parent.name, "verb": "search"}}]
    monkeypatch.setattr(status, "jobs_here", lambda: running)
    monkeypatch.setattr(on_head, "stop", stopped.append)
    monkeypatch.setattr(on_head, "jobs", lambda: [{**running[0], "status": "STOPPED"}])
    assert "trials are kept" in stop.stop_here(name, tmp_path / "runs", wait_seconds=1.0)
    assert "trials are kept" in stop.stop_here("latest", tmp_path / "runs", wait_seconds=1.0)
    assert stopped == ["search-second-2", "search-second-2"]


@pytest.mark.parametrize("job_of_other_task", ["other", ""])
def test_stop_leaves_the_search_of_another_task_alone(
    job_of_other_task: str, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cluster import on_head

    task, name = run.path.parent.name, run.path.name
    other = tmp_path / "runs/other" / name
    shutil.copytree(run.path, other)
    jobs = [job(job_of_other_task, name)]
    monkeypatch.setattr(status, "jobs_here", lambda: jobs)
    monkeypatch.setattr(on_head, "jobs", lambda: jobs)
    monkeypatch.setattr(on_head, "stop", lambda identity: pytest.fail("it is the job of the other task"))
    monkeypatch.setattr(stop, "_POLL_SECONDS", 0.01)
    with pytest.raises(RunError, match=rf"'{name}' names several runs: .*; name one by TASK/NAME"):
        stop.stop_here(name, tmp_path / "runs", wait_seconds=1.0)
    for text in (f"{task}/{name}", str(run.path)):
        with pytest.raises(RunError, match=r"no search .* runs on this machine"):
            stop.stop_here(text, tmp_path / "runs", wait_seconds=1.0)
        with held(run) as pid:
            assert "trials are kept" in stop.stop_here(text, tmp_path / "runs", wait_seconds=9.0)
            assert os.waitpid(pid, 0)[1] != 0


def test_the_latest_search_to_stop_is_one_that_runs(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "jobs_here", list)
    monkeypatch.setattr(stop, "_POLL_SECONDS", 0.01)
    later = tmp_path / "runs/other/later"
    shutil.copytree(run.path, later)
    with held(run) as pid:
        said = stop.stop_here("latest", tmp_path / "runs", wait_seconds=9.0)
        assert os.waitpid(pid, 0)[1] != 0
    assert str(run.path.name) in said


def test_stop_ends_what_was_submitted_and_is_no_search(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cluster import on_head

    task, name, stopped = run.path.parent.name, run.path.name, list[str]()
    jobs = [job(task, name, verb="export"), job(task, name, state="SUCCEEDED")]
    monkeypatch.setattr(status, "jobs_here", lambda: jobs)
    monkeypatch.setattr(on_head, "stop", stopped.append)
    monkeypatch.setattr(on_head, "jobs", list)
    for text in (jobs[0]["id"], name, f"{task}/{name}", str(run.path), "latest"):
        said = stop.stop_here(text, tmp_path / "runs", wait_seconds=1.0)
        assert said == f"{text}: export has ended"
    with pytest.raises(
        RunError, match=r"no search .* runs on this machine"
    ):  # the job that is named has ended
        stop.stop_here(jobs[1]["id"], tmp_path / "runs", wait_seconds=1.0)
    assert stopped == [jobs[0]["id"]] * 5
    jobs[1]["status"] = "RUNNING"
    assert "trials are kept" in stop.stop_here(name, tmp_path / "runs", wait_seconds=1.0)
    assert stopped[-1] == jobs[1]["id"], "the search goes before other verbs"


def test_a_search_of_a_task_in_a_file_leaves_the_folder_of_another_task_alone(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cluster import on_head

    name, began = run.path.name, run.search().started_at.timestamp()
    later = {**job("", name), "started": began + 60}
    jobs, stopped = [later], list[str]()
    monkeypatch.setattr(status, "jobs_here", lambda: jobs)
    monkeypatch.setattr(on_head, "stop", stopped.append)
    monkeypatch.setattr(on_head, "jobs", list)
    assert job_of_run(run.path, jobs, started=began) is None
    with pytest.raises(RunError, match=r"no search .* runs on this machine"):
        stop.stop_here(f"{run.path.parent.name}/{name}", tmp_path / "runs", wait_seconds=1.0)
    assert stopped == []
    said = stop.stop_here(f"?/{name}", tmp_path / "runs", wait_seconds=1.0)
    assert (stopped, said) == (
        [later["id"]],
        f"?/{name} has ended before its first trial; nothing is left of it",
    )
    jobs[:] = [{**later, "started": began - 60}]
    assert job_of_run(run.path, jobs, started=began) is jobs[0]
    jobs[:] = [{**job("", name, verb="resume"), "started": began + 60}]
    assert job_of_run(run.path, jobs, started=began) is jobs[0]


def test_a_job_that_ends_before_its_first_trial_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cluster import on_head

    monkeypatch.setattr(status, "jobs_here", lambda: JOBS)
    monkeypatch.setattr(on_head, "stop", lambda identity: None)
    monkeypatch.setattr(on_head, "jobs", lambda: [])
    said = stop.stop_here("second", tmp_path, wait_seconds=1.0)
    assert said == "second has ended before its first trial; nothing is left of it"


def test_a_search_that_does_not_run_or_does_not_end_is_said(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cluster import on_head
    from cluster.errors import ClusterError

    monkeypatch.setattr(status, "jobs_here", list)
    with pytest.raises(RunError, match=r"no search 'first' runs on this machine; `orchestrate status` lists"):
        stop.stop_here("first", tmp_path / "runs", wait_seconds=1.0)

    def busy() -> list[dict[str, Any]]:
        raise ClusterError("does not answer")

    monkeypatch.setattr(status, "jobs_here", lambda: JOBS)
    monkeypatch.setattr(on_head, "stop", lambda identity: None)
    monkeypatch.setattr(on_head, "jobs", busy)
    with pytest.raises(RunError, match=r"second was told to end, but has not within 0 s; say --wait"):
        stop.stop_here("second", tmp_path / "runs", wait_seconds=0.0)
