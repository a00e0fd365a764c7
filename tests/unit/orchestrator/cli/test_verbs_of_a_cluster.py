"""The verbs of a cluster: what they print, refuse and run over there, with a machine that is made up."""

import argparse
import csv
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cluster_jobs import JOBS, job
from fake_ssh import REPOSITORY, FakeMachine, make_fake_machine
from simulated_run import make_run
from simulated_trials import simulate

from cluster.verbs import SEARCHES, STAY_HERE
from orchestrator.cli import attach
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
NODES: dict[str, Any] = {
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


def test_rented_machines_that_have_not_joined_are_counted() -> None:
    from cluster.cluster_file import read_cluster_file

    file = read_cluster_file(REPOSITORY / "cluster/aws.yaml")
    head, gone = NODES["nodes"]
    assert [(row["address"], row["state"]) for row in node_rows(file, {"nodes": [head, gone]})] == [
        ("10.0.0.1", "joined"),
        ("rented (gpu)", "not joined"),
        ("rented (gpu)", "not joined"),
    ]
    back = {**gone, "is_alive": True}
    assert [row["address"] for row in node_rows(file, {"nodes": [head, back]})] == [
        "10.0.0.1",
        "10.0.0.2",
        "rented (gpu)",
    ]
    assert {row["state"] for row in node_rows(file, {"nodes": [head, back, back, back]})} == {"joined"}


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
