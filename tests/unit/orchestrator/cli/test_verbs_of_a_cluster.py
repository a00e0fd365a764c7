"""The verbs of a cluster: what they print, refuse and run over there, with a machine that is made up."""

import argparse
import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fake_ssh import FakeMachine, make_fake_machine
from simulated_run import make_run
from simulated_trials import simulate

from cluster.verbs import SEARCHES, STAY_HERE
from orchestrator.cli import attach, status, stop
from orchestrator.cli.attach import exit_code_of
from orchestrator.cli.cluster_status import node_rows
from orchestrator.cli.fetch import named_search, refuse_another
from orchestrator.cli.main import build_parser, main
from orchestrator.cli.submit import checked_words, named_job
from orchestrator.reporting.search_status import SearchStatus
from orchestrator.reporting.submitted import job_named, job_of_run
from results.errors import RunError
from results.run.run_folder import RunFolder
from trainables.common.errors import ConfigError, UnknownNameError

NOW = datetime(2026, 11, 28, 1, 2, 3)
JOBS: list[dict[str, Any]] = [
    {
        "id": "search-second-2",
        "status": "RUNNING",
        "exit_code": None,
        "message": "",
        "started": 2.0,
        "metadata": {"name": "second", "task": "idc", "verb": "search"},
    },
    {
        "id": "search-first-1",
        "status": "FAILED",
        "exit_code": 2,
        "message": "no data at x",
        "started": 1.0,
        "metadata": {"name": "first", "task": "idc", "verb": "search"},
    },
]
NODES = {
    "address": "10.0.0.1:6379",
    "free_cpus": 3.0,
    "free_gpus": 0.0,
    "nodes": [
        {"address": "10.0.0.1", "is_alive": True, "cpus": 8.0, "gpus": 1.0, "memory_bytes": 16_000_000_000},
        {"address": "10.0.0.2", "is_alive": False, "cpus": 8.0, "gpus": 1.0, "memory_bytes": 1},
    ],
}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    monkeypatch.chdir(tmp_path)
    return make_fake_machine(tmp_path, monkeypatch)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    (tmp_path / "runs").mkdir(exist_ok=True)
    return make_run(tmp_path / "runs", simulate())


@pytest.fixture
def root() -> argparse.ArgumentParser:
    return build_parser()


def answer_as_head(machine: FakeMachine, **answers: Any) -> None:
    """Let the head's Python print JSON: of `cluster.on_head` by its verb, of orchestrate by its verb."""
    folder = machine.home / "answers"
    folder.mkdir()
    for verb, answer in answers.items():
        (folder / verb).write_text(answer if isinstance(answer, str) else json.dumps(answer))
    python = machine.home / "orchestrate/venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\ncat > "{folder}/input" < /dev/stdin\ncat "{folder}/$3"\n')
    python.chmod(0o755)


@contextmanager
def held(run: RunFolder) -> Iterator[int]:
    """A process that holds a run as a search does, and ends at SIGTERM."""
    code = (
        "import sys; from pathlib import Path; from results.run.run_folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).exclusive():\n    print('held', flush=True); sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder.pid
    finally:
        holder.kill()
        holder.communicate()


def test_status_lists_the_searches_of_this_machine_in_three_formats(
    run: RunFolder, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # where no cluster is noted
    runs = str(tmp_path / "runs")
    assert main(["status", "--runs", runs, "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["searches"]
    assert (found["name"], found["is_running"], found["job"]) == (run.path.name, False, None)
    assert main(["status", "--runs", runs, "--format", "csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["complete"], row["failed"], row["job"]) == (str(len(run.records())), "0", "")
    assert main(["status", "--runs", runs]) == 0
    assert run.path.name in capsys.readouterr().out
    assert main(["status", "--runs", runs, "--last", "0"]) == 2
    assert "--last must be at least 1" in capsys.readouterr().err


def run_on(machine: FakeMachine) -> RunFolder:
    """A run that lies on the head of a pretended cluster."""
    machine.install()
    there = machine.home / "orchestrate/runs"
    there.mkdir()
    return make_run(there, simulate())


def test_status_of_a_cluster_is_what_orchestrate_prints_there(
    machine: FakeMachine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(machine.folder))
    run = run_on(machine)
    assert main(["status", str(machine.cluster_file()), "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["searches"]
    assert found["run"] == str(run.path.resolve())


@pytest.mark.usefixtures("rsync")
def test_a_run_is_fetched_and_may_be_fetched_again(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(machine.folder))
    run, file = run_on(machine), str(machine.cluster_file())
    assert main(["fetch", file, run.path.name, "--runs", "here"]) == 0
    here = RunFolder(machine.folder / "here" / run.path.parent.name / run.path.name)
    assert [record.number for record in here.records()] == [record.number for record in run.records()]
    assert main(["fetch", file, "--runs", "here"]) == 0, "the same run may be fetched again"


def test_a_head_that_answers_otherwise_is_to_be_sent_this_version(
    machine: FakeMachine, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(machine.cluster_file())
    answer_as_head(machine, status="usage: orchestrate", jobs={"searches": [{"run": "a"}]})
    assert main(["status", file]) == 1
    said = capsys.readouterr().err
    assert f"send it this one: orchestrate cluster up {file} --no-restart" in said
    (machine.home / "answers/status").write_text('{"searches": [{"run": "a"}]}')
    assert main(["status", file]) == 1
    assert "lists its searches in another way" in capsys.readouterr().err


def test_the_state_of_a_cluster_is_its_machines_and_searches(
    machine: FakeMachine, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_as_head(machine, nodes=NODES, status={"searches": []})
    file = str(machine.cluster_file(workers=("10.0.0.2",)))
    assert main(["cluster", "status", file, "--format", "json"]) == 1, "a machine has not joined"
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert (found["address"], found["free_cpus"], found["searches"]) == ("10.0.0.1:6379", 3.0, [])
    assert [(node["address"], node["state"]) for node in found["nodes"]] == [
        ("10.0.0.1", "joined"),
        ("10.0.0.2", "not joined"),
    ]
    assert "runs on 10.0.0.1: ~/orchestrate/venv/bin/python -m cluster.on_head nodes" in printed.err
    assert main(["cluster", "status", str(machine.cluster_file())]) == 0
    assert "free: 3 CPUs, 0 GPUs" in capsys.readouterr().out


def test_a_machine_that_was_not_listed_is_shown_as_it_is(machine: FakeMachine) -> None:
    from cluster.cluster_file import read_cluster_file

    assert [row["address"] for row in node_rows(read_cluster_file(machine.cluster_file()), NODES)] == [
        "10.0.0.1"
    ]


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_a_check_is_printed_in_80_columns_and_ends_with_one_if_something_is_broken(
    machine: FakeMachine, form: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    file = str(machine.cluster_file(head="off1"))
    assert main(["cluster", "check", file, "--format", form]) == 1
    printed = capsys.readouterr().out
    if form == "json":
        found = [one for one in json.loads(printed) if one["where"] == "off1"]
        assert [(one["what"], one["state"]) for one in found] == [("login", "broken")]
    elif form == "csv":
        assert printed.startswith("where,what,state,detail\n")
    else:
        assert max(map(len, printed.splitlines())) <= 80
        assert "to be mended" in printed


def test_up_and_down_print_what_they_run(
    machine: FakeMachine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cluster import launcher
    from cluster.probe import facts_of

    quiet = "cpus\t1\nend\tend\n"
    monkeypatch.setattr(
        launcher, "probe", lambda login, **_: facts_of(login.host, quiet, asked=0.0, answered=1.0)
    )
    file = str(machine.cluster_file())
    assert main(["cluster", "up", file]) == 0
    said = capsys.readouterr().err
    assert f"runs: ray up -y --disable-usage-stats {file}" in said
    assert f"next: orchestrate cluster status {file}" in said
    assert main(["cluster", "down", file]) == 0
    assert f"runs: ray down -y {file}" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["cluster", "up", file, "--restart", "--no-restart"])


def test_verbs_that_run_trials_are_those_that_take_a_cluster(root: argparse.ArgumentParser) -> None:
    (verbs,) = [action.choices for action in root._actions if isinstance(action.choices, dict)]
    with_address = {name for name, verb in verbs.items() if "--address" in verb._option_string_actions}
    assert with_address == set(SEARCHES)
    assert set(STAY_HERE) <= set(verbs)


def test_a_command_line_is_checked_before_it_is_sent(
    machine: FakeMachine, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_as_head(machine, submit={"id": "search-first-20261128-010203"})
    file = str(machine.cluster_file())
    with pytest.raises(SystemExit) as ended:
        main(["submit", file, "--", "search", "idc", "--trails", "3"])
    assert ended.value.code == 2
    assert "did you mean --trials" in capsys.readouterr().err
    assert machine.said("ssh") == []
    assert main(["submit", file, "--", "search", "idc", "--data", "a b.npz", "--name", "first"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "search-first-20261128-010203\n"
    assert f"next: orchestrate attach {file} first" in printed.err
    sent = json.loads((machine.home / "answers/input").read_text())
    assert sent["words"] == ["search", "idc", "--data", "a b.npz", "--name", "first"]
    assert sent["folder"] == "~/orchestrate"
    assert sent["identity"].startswith("search-first-")
    assert sent["metadata"] == {"verb": "search", "task": "idc", "name": "first"}


def test_a_search_without_a_name_gets_one_and_another_verb_that_of_its_run(
    root: argparse.ArgumentParser,
) -> None:
    def submitted(*typed: str, **config: str) -> tuple[list[str], dict[str, str]]:
        return named_job(*checked_words(list(typed), root), now=NOW, options_in=lambda _: config)

    words, about = submitted("--", "search", "idc")
    assert words == ["search", "idc", "--name", "20261128-010203"]
    assert about == {
        "job": "search-20261128-010203-20261128-010203",
        "verb": "search",
        "task": "idc",
        "name": "20261128-010203",
    }
    for typed in ("idc/first", "runs/idc/first/"):
        _, about = submitted("resume", typed)
        assert (about["task"], about["name"]) == ("idc", "first")
        assert about["job"] == "resume-first-20261128-010203"
    _, about = submitted("resume", "first")
    assert (about["task"], about["name"]) == ("", "first")
    _, about = submitted("doctor")
    assert about["name"] == "doctor"


@pytest.mark.parametrize(
    ("typed", "config", "added", "about"),
    [
        ((), "name: mine\ntask: idc\n", [], ("idc", "mine")),
        (("masses", "--name", "typed"), "name: mine\ntask: idc\n", [], ("masses", "typed")),
        (("--task", "t.yaml"), "name: mine\ntask: idc\n", [], ("", "mine")),
        ((), "trials: 3\n", ["--name", "NOW"], ("", "NOW")),
    ],
)
def test_a_file_of_options_over_there_may_name_the_run(
    typed: tuple[str, ...], config: str, added: list[str], about: tuple[str, str], machine: FakeMachine
) -> None:
    answer_as_head(machine, submit={"id": "a"})
    (machine.home / "orchestrate/my own.yaml").write_text(config)
    words = ["search", *typed, "--config", "my own.yaml"]
    assert main(["submit", str(machine.cluster_file()), "--", *words]) == 0
    sent = json.loads((machine.home / "answers/input").read_text())
    now = sent["identity"][-15:]
    assert sent["words"] == [*words, *(now if word == "NOW" else word for word in added)]
    assert (sent["metadata"]["task"], sent["metadata"]["name"].replace(now, "NOW")) == about


def test_a_file_of_options_that_is_not_over_there_or_is_wrong_is_refused(
    machine: FakeMachine, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_as_head(machine, submit={"id": "a"})
    words = ["submit", str(machine.cluster_file()), "--", "search", "--config", "my.yaml"]
    assert main(words) != 0
    assert "my.yaml: No such file" in capsys.readouterr().err
    (machine.home / "orchestrate/my.yaml").write_text("trails: 3\n")
    assert main(words) == 2
    assert "did you mean 'trials'" in capsys.readouterr().err
    assert not (machine.home / "answers/input").exists(), "nothing was submitted"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "a command line is needed behind --"),
        (["--"], "a command line is needed behind --"),
        (["stop", "first"], "stop runs on this machine only: orchestrate stop FILE"),
        (["cluster", "down", "a"], "cluster runs on this machine only"),
    ],
)
def test_what_cannot_be_submitted_is_refused(
    words: list[str], message: str, root: argparse.ArgumentParser
) -> None:
    with pytest.raises(ConfigError, match=message):
        checked_words(words, root)


def test_output_is_followed_to_the_end_and_the_exit_code_is_that_of_the_job(
    machine: FakeMachine, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_as_head(machine, jobs=JOBS, follow="24 trials\n\x1b[2Jended\n")
    assert main(["attach", str(machine.cluster_file()), "first"]) == 2
    printed = capsys.readouterr()
    assert printed.out == "24 trials\n\\x1b[2Jended\n"
    assert "job search-first-1; Ctrl-C detaches" in printed.err
    assert "job search-first-1: failed" in printed.err


def test_ctrl_c_detaches_and_says_so(
    machine: FakeMachine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_as_head(machine, jobs=JOBS, follow="one\ntwo\n")

    def interrupt(text: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(attach.sys.stdout, "write", interrupt)
    file = str(machine.cluster_file())
    assert main(["attach", file]) == 0
    said = capsys.readouterr().err
    assert "detached; the job goes on" in said
    assert f"next: orchestrate attach {file} latest" in said


def test_a_job_is_named_by_id_run_or_task_and_run() -> None:
    for text in ("search-first-1", "first", "idc/first"):
        assert job_named(text, JOBS)["id"] == "search-first-1"
    assert job_named("latest", JOBS)["id"] == "search-second-2"
    with pytest.raises(UnknownNameError, match=r"unknown job 'frst'; did you mean 'first'"):
        job_named("frst", JOBS)
    with pytest.raises(ConfigError, match="nothing was submitted to this cluster"):
        job_named("latest", [])


def job(task: str, name: str = "first", state: str = "RUNNING", verb: str = "search") -> dict[str, Any]:
    about = {"name": name, "task": task, "verb": verb}
    return {**JOBS[0], "id": f"{verb}-{task}-{name}", "status": state, "metadata": about}


def test_a_name_that_runs_of_several_tasks_have_names_no_job() -> None:
    jobs = [job("", verb="resume"), job("b"), job("a")]
    with pytest.raises(RunError, match="'first' names several runs: a/first, b/first; name one by TASK/NAME"):
        job_named("first", jobs)
    assert job_named("a/first", jobs)["id"] == "search-a-first"
    assert job_named("a/first", [jobs[0], jobs[2]])["id"] == "resume--first", "the run of no other task"
    assert job_named("first", [jobs[0], jobs[2]])["id"] == "resume--first"


def test_the_job_of_a_run_is_of_its_task_and_runs_its_search(tmp_path: Path) -> None:
    def made(task: str) -> Path:
        folder = tmp_path / task / "first"
        folder.mkdir(parents=True)
        (folder / "search.yaml").touch()
        return folder

    of_a = made("a")
    assert job_of_run(of_a, [job("b")]) is None
    assert job_of_run(of_a, [job("a", "second")]) is None
    failed, searching, export = job("a", state="FAILED"), job("", verb="repeat"), job("a", verb="export")
    assert job_of_run(of_a, [export, failed, searching]) is searching, "the one that runs"
    assert job_of_run(of_a, [export, failed]) is failed
    assert job_of_run(of_a, [export]) is None
    made("b")
    assert job_of_run(of_a, [searching]) is None, "it may be that of the other run"


@pytest.mark.parametrize(
    ("job_status", "code", "expected"),
    [("SUCCEEDED", 0, 0), ("STOPPED", None, 130), ("FAILED", 2, 2), ("FAILED", None, 1)],
)
def test_the_exit_code_of_a_job(job_status: str, code: int | None, expected: int) -> None:
    assert exit_code_of({"status": job_status, "exit_code": code}) == expected


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


def test_stop_of_a_cluster_is_run_there(machine: FakeMachine, capsys: pytest.CaptureFixture[str]) -> None:
    answer_as_head(machine, stop="first has ended; 3 of 4 trials are kept\n")
    file = str(machine.cluster_file())
    assert main(["stop", file, "first", "--wait", "5"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "first has ended; 3 of 4 trials are kept\n"
    assert "runs on 10.0.0.1: orchestrate stop first --runs runs --wait 5" in printed.err
    assert main(["stop", file, "first", "--wait", "nan"]) == 2


def found(
    name: str, task: str = "idc", started: str = "2026-11-28T00:00:00+00:00", **values: Any
) -> SearchStatus:
    rest = {"pid": None, "asked": 1, "trials": {}, "metric": "auc", "best": None, "best_trial": None}
    return SearchStatus(
        **{"run": f"/r/{task}/{name}", "task": task, "name": name, "minutes": None, "started_at": started}
        | rest
        | values
    )


def test_a_storage_has_no_folder_of_a_cluster(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["fetch", tmp_path.as_uri(), "first", "--from", "elsewhere"]) == 2
    assert "--from is a folder of a cluster" in capsys.readouterr().err


def test_a_run_to_fetch_is_named_as_elsewhere() -> None:
    runs = [found("a", job={"id": "j"}), found("b", started="2026-11-29T00:00:00+00:00"), found("a", "other")]
    assert named_search("b", runs).name == "b"
    assert named_search("other/a", runs).task == "other"
    assert named_search("j", runs).task == "idc"
    assert named_search("latest", runs).name == "b"
    with pytest.raises(RunError, match="'a' names several runs: idc/a, other/a; name one by TASK/NAME"):
        named_search("a", runs)
    with pytest.raises(RunError, match=r"no run 'c' on this cluster\. Known: idc/a, idc/b"):
        named_search("c", runs)
    with pytest.raises(RunError, match=r"Known: none"):
        named_search("latest", [found("waiting", run="")])


def test_another_run_of_that_name_is_not_written_over(run: RunFolder, tmp_path: Path) -> None:
    same = run.search().started_at.isoformat()
    refuse_another(run.path, same)
    refuse_another(tmp_path / "new", same)
    with pytest.raises(RunError, match="holds another run, which is left as it is; say --runs"):
        refuse_another(run.path, found("first").started_at)
    run.search_file.unlink()
    with pytest.raises(RunError, match="holds another run"):
        refuse_another(run.path, same)
