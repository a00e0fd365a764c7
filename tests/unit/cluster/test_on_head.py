"""What is asked of Ray on the head, with a job server that is made up."""

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator, Callable
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from cluster import on_head
from cluster.errors import ClusterError


class Status(Enum):
    """As Ray's own."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


def job(identity: str, started: int, **values: Any) -> SimpleNamespace:
    known = {"driver_exit_code": None, "message": None, "end_time": None, "metadata": None}
    return SimpleNamespace(
        submission_id=identity, start_time=started, **{**known, "status": Status.RUNNING, **values}
    )


class Client:
    """The client of a job server that holds two jobs."""

    asked: ClassVar[list[tuple[str, Any]]] = []
    logs: ClassVar[str] = ""
    tail: ClassVar[tuple[str, ...]] = ()
    status: ClassVar[Status] = Status.RUNNING
    fault: ClassVar[Exception | None] = None

    def __init__(self, address: str) -> None:
        self.asked.append(("connect", address))
        if self.fault is not None and address == "10.0.0.1:1":
            raise self.fault

    def list_jobs(self) -> list[SimpleNamespace]:
        """One of them is no submission."""
        failed = {"status": Status.FAILED, "driver_exit_code": 2, "message": "a\nno data at x\n"}
        return [
            job("old", 1_000, end_time=3_000, **failed),
            job("new", 2_000, metadata={"name": "first"}),
            job("", 9_000),
        ]

    def submit_job(self, **values: Any) -> str:
        """Start one."""
        self.asked.append(("submit", values))
        if values["submission_id"] == "early" and len(self.asked) < 4:
            raise RuntimeError(
                "Request failed with status code 500: No available agent, please try again later"
            )
        if values["submission_id"] == "again":
            raise RuntimeError("Request failed\nJob again already exists.")
        return str(values["submission_id"])

    def stop_job(self, identity: str) -> bool:
        """End one."""
        self.asked.append(("stop", identity))
        if identity == "none":
            raise RuntimeError("Job none does not exist")
        return True

    def get_job_logs(self, identity: str) -> str:
        """All that one said."""
        if identity == "none":
            raise RuntimeError("Job none does not exist")
        return self.logs

    def get_job_status(self, identity: str) -> Status:
        """How one is."""
        return self.status

    async def tail_job_logs(self, identity: str) -> AsyncIterator[str]:
        """All that one says, from the beginning."""
        for text in self.tail:
            await asyncio.sleep(0)
            yield text


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Client]:
    """A cluster of this user, at 10.0.0.1:6379."""
    for name, value in (
        ("asked", []),
        ("logs", ""),
        ("tail", ()),
        ("status", Status.RUNNING),
        ("fault", None),
    ):
        monkeypatch.setattr(Client, name, value)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "ray.job_submission", SimpleNamespace(JobSubmissionClient=Client))
    monkeypatch.setattr(on_head, "recorded_address", lambda: "10.0.0.1:6379")
    monkeypatch.setattr(on_head, "token_file", lambda: tmp_path / "token")
    for name in (*on_head.QUIET_ENVIRONMENT, "RAY_AUTH_MODE", "RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.setenv(name, "before")
        monkeypatch.delenv(name)
    return Client


def test_jobs_come_latest_first_with_the_last_line_of_what_went_wrong(server: type[Client]) -> None:
    new, old = on_head.jobs()
    assert (new["id"], new["status"], new["metadata"], new["ended"]) == (
        "new",
        "RUNNING",
        {"name": "first"},
        None,
    )
    assert (old["id"], old["exit_code"], old["message"], old["started"]) == ("old", 2, "no data at x", 1.0)


def test_without_a_cluster_of_this_user_there_are_no_jobs_and_nothing_is_sent(
    server: type[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_head, "recorded_address", lambda: None)
    assert on_head.jobs() == []
    with pytest.raises(ClusterError, match="no cluster of yours runs here; start it"):
        on_head.stop("new")
    assert server.asked == []


def test_another_address_in_the_environment_is_not_asked(
    server: type[Client], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://stranger:8265")
    (tmp_path / "token").write_text("secret")
    on_head.jobs()
    assert server.asked == [("connect", "10.0.0.1:6379")]
    assert "RAY_API_SERVER_ADDRESS" not in on_head.os.environ
    assert on_head.os.environ["RAY_AUTH_MODE"] == "token"


def test_a_command_is_submitted_with_every_word_quoted_and_time_to_end(server: type[Client]) -> None:
    words = ["search", "idc", "--name", "a b;c"]
    assert on_head.submit(words, folder="/home/me/x y", identity="one", metadata={"name": "a"}) == "one"
    ((_, asked),) = [one for one in server.asked if one[0] == "submit"]
    assert asked["entrypoint"] == (
        f"cd '/home/me/x y' && unset OMP_NUM_THREADS && exec {sys.executable} -m orchestrator.cli.main "
        "search idc --name 'a b;c'"
    )
    assert asked["metadata"] == {"name": "a"}
    assert asked["runtime_env"] == {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "600"}}
    with pytest.raises(
        ClusterError, match=r"the job server of this cluster refused: Job again already exists$"
    ):
        on_head.submit(words, folder="~", identity="again", metadata={})


def test_a_cluster_that_has_just_started_is_asked_again(
    server: type[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_head, "_RETRY_SECONDS", 0.0)
    assert on_head.submit(["doctor"], folder="~", identity="early", metadata={}) == "early"
    assert [verb for verb, _ in server.asked] == ["connect", "submit", "submit", "submit"]
    server.asked.clear()
    monkeypatch.setattr(on_head, "_READY_SECONDS", -1.0)
    with pytest.raises(ClusterError, match=r"refused: .*please try again later$"):
        on_head.submit(["doctor"], folder="~", identity="early", metadata={})


def test_output_is_followed_from_the_end_of_what_there_is(server: type[Client]) -> None:
    server.logs = "one\ntwo\n"
    server.tail = ("one\n", "two\nthr", "ee\n", "four\n")
    assert list(on_head.follow("new")) == ["one\ntwo\n", "thr", "ee\n", "four\n"]


def test_of_long_output_only_the_last_whole_lines_come_first(server: type[Client]) -> None:
    server.logs = "".join(f"line {number}\n" for number in range(2_000))
    server.status = Status.SUCCEEDED
    (said,) = on_head.follow("new")
    assert len(said) < 4_000
    assert said.startswith("line ")
    assert said.endswith("line 1999\n")


def test_what_a_job_says_at_its_end_is_followed_though_it_ends_between_two_questions(
    server: type[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.logs, server.tail = "one\n", ("one\n", "last\n")
    logs, state = server.get_job_logs, server.get_job_status

    def answered(ask: Callable[[Client, str], object]) -> Callable[[Client, str], object]:
        def answer(known: Client, identity: str) -> object:
            said = ask(known, identity)
            server.logs, server.status = "one\nlast\n", Status.SUCCEEDED  # it ends after the first answer
            return said

        return answer

    monkeypatch.setattr(server, "get_job_logs", answered(logs))
    monkeypatch.setattr(server, "get_job_status", answered(state))
    assert "".join(on_head.follow("new")) == "one\nlast\n"


def test_a_job_that_is_not_there_is_an_error(server: type[Client]) -> None:
    with pytest.raises(ClusterError, match="job none has no output: Job none does not exist"):
        list(on_head.follow("none"))
    with pytest.raises(ClusterError, match="job none cannot be stopped: Job none does not exist"):
        on_head.stop("none")


def test_a_cluster_without_a_job_server_is_told_from_one_that_has_one(
    server: type[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_head, "recorded_address", lambda: "10.0.0.1:1")
    server.fault = ValueError("Couldn't obtain the API server address from GCS.")
    with pytest.raises(ClusterError, match=r"has no job server that answers .*--include-dashboard=true"):
        on_head.jobs()


def test_answers_are_json_and_faults_one_line(
    server: type[Client], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert on_head.main(["jobs"]) == 0
    assert [one["id"] for one in json.loads(capsys.readouterr().out)] == ["new", "old"]
    asked = {"words": ["resume", "a"], "folder": "/", "identity": "one", "metadata": {}}
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(asked)))
    assert on_head.main(["submit"]) == 0
    assert json.loads(capsys.readouterr().out) == {"id": "one"}
    assert on_head.main(["stop", "new"]) == 0
    assert ("stop", "new") in server.asked
    server.logs, server.status = "said\n", Status.SUCCEEDED
    assert on_head.main(["follow", "new"]) == 0
    assert capsys.readouterr().out == "said\n"
    assert on_head.main(["stop", "none"]) == 2
    assert capsys.readouterr().err == "job none cannot be stopped: Job none does not exist\n"


def test_machines_are_those_that_ray_knows(
    server: type[Client], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = [
        {
            "NodeManagerAddress": "10.0.0.1",
            "Alive": True,
            "Resources": {"CPU": 8.0, "GPU": 1.0, "memory": 1e9},
        },
        {"NodeManagerAddress": "10.0.0.2", "Alive": False, "Resources": {}},
    ]
    ray = SimpleNamespace(nodes=lambda: nodes, available_resources=lambda: {"CPU": 3.0})
    monkeypatch.setitem(sys.modules, "ray", ray)
    left: list[object] = []
    connection = SimpleNamespace(address="10.0.0.1:6379")
    monkeypatch.setattr(on_head, "connect", lambda address: connection)
    monkeypatch.setattr(on_head, "disconnect", left.append)
    assert on_head.main(["nodes"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["address"], found["free_cpus"], found["free_gpus"]) == ("10.0.0.1:6379", 3.0, 0.0)
    assert [(node["address"], node["is_alive"], node["cpus"]) for node in found["nodes"]] == [
        ("10.0.0.1", True, 8.0),
        ("10.0.0.2", False, 0.0),
    ]
    assert left == [connection]
