"""`ray up` and `ray down`: what is run, what is refused, and what is looked at afterwards."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_ssh import FakeMachine, make_fake_machine

from cluster import launcher
from cluster.check import check_file
from cluster.cluster_file import ClusterFile, read_cluster_file
from cluster.errors import ClusterError, ClusterInUseError, RemoteError, RenderError
from cluster.probe import MachineFacts, Process, facts_of
from cluster.ssh import Login
from cluster.verbs import typed_part

QUIET = "cpus\t1\nend\tend\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    return make_fake_machine(tmp_path, monkeypatch)


def answers(monkeypatch: pytest.MonkeyPatch, *texts: str) -> list[str]:
    """Let machines answer one text after another, the last one for ever; returns who was asked."""
    asked: list[str] = []

    def probe(login: Login, **_: object) -> MachineFacts:
        asked.append(login.host)
        text = texts[min(len(asked), len(texts)) - 1]
        return facts_of(login.host, text, asked=0.0, answered=1.0)

    monkeypatch.setattr(launcher, "probe", probe)
    monkeypatch.setattr(launcher, "_POLL_SECONDS", 0.0)
    return asked


def running(*commands: str) -> str:
    return QUIET + "".join(f"search\t{7 + n} {command}\n" for n, command in enumerate(commands))


def file_of(machine: FakeMachine, *workers: str) -> ClusterFile:
    return read_cluster_file(machine.cluster_file(workers=workers))


def test_up_runs_ray_up_and_says_so(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, QUIET)
    said: list[str] = []
    file = file_of(machine)
    launcher.up(file, restart=None, say=said.append)
    assert machine.said("ray") == [f"unset up -y --disable-usage-stats {file.path}"]
    assert said == [f"runs: ray up -y --disable-usage-stats {file.path}"]


def test_several_machines_need_the_first_autoscaler(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, QUIET)
    said: list[str] = []
    launcher.up(file_of(machine, "10.0.0.2"), restart=None, say=said.append)
    assert machine.said("ray")[0].startswith("0 up -y")
    assert said[0].startswith("runs: RAY_UP_enable_autoscaler_v2=0 ray up -y")


def test_up_is_refused_while_a_search_runs_unless_it_is_said_what_becomes_of_it(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(
        monkeypatch,
        running("/v/python -m orchestrator.cli.main search idc --name first", "orchestrate nest b"),
    )
    file = file_of(machine)
    message = (
        r"2 searches run on this cluster \(on 10\.0\.0\.1: search idc --name first\).* --no-restart sends .* "
        r"--restart"
    )
    with pytest.raises(ClusterInUseError, match=message):
        launcher.up(file, restart=None, say=print)
    assert machine.said("ray") == []
    launcher.up(file, restart=False, say=print)
    launcher.up(file, restart=True, say=print)
    assert [("--no-restart" in line) for line in machine.said("ray")] == [True, False]


def test_what_was_submitted_and_is_no_search_keeps_ray_up_too(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, running("/v/python -m orchestrator.cli.main refit first", "orchestrate search idc"))
    message = (
        r"2 commands run on this cluster \(on 10\.0\.0\.1: refit first\).* the rest begins anew\), "
        "`orchestrate status .*` lists searches"
    )
    with pytest.raises(ClusterInUseError, match=message):
        launcher.up(file_of(machine), restart=None, say=print)


def answers_by_host(monkeypatch: pytest.MonkeyPatch, **texts: str | RemoteError) -> list[str]:
    """Let each machine, by its name or last number, answer one text for ever; returns who was asked."""
    asked: list[str] = []

    def probe(login: Login, **_: object) -> MachineFacts:
        asked.append(login.host)
        number = login.host.rpartition(".")[2]
        text = texts[f"m{number}" if number.isdecimal() else number]
        if isinstance(text, RemoteError):
            raise text
        return facts_of(login.host, text, asked=0.0, answered=1.0)

    monkeypatch.setattr(launcher, "probe", probe)
    monkeypatch.setattr(launcher, "_POLL_SECONDS", 0.0)
    monkeypatch.setattr(launcher, "_STOP_SECONDS", 0.0)
    monkeypatch.setattr(launcher, "_RAY_SECONDS", 0.0)
    return asked


def test_up_is_refused_while_a_search_runs_on_any_machine(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answers_by_host(monkeypatch, m1=QUIET, m2=QUIET, m3=running("orchestrate search idc"))
    with pytest.raises(
        ClusterInUseError, match=r"a search runs on this cluster \(on 10\.0\.0\.3: search idc\)"
    ):
        launcher.up(file_of(machine, "10.0.0.2", "10.0.0.3"), restart=None, say=print)
    assert sorted(asked) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert machine.said("ray") == []


def test_a_machine_that_cannot_be_asked_is_told_and_a_head_that_cannot_is_an_error(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers_by_host(monkeypatch, m1=QUIET, m2=RemoteError("10.0.0.2 is off"))
    said: list[str] = []
    launcher.up(file_of(machine, "10.0.0.2"), restart=None, say=said.append)
    assert said[0] == "whether a search runs on 10.0.0.2 is not known: 10.0.0.2 is off"
    assert len(machine.said("ray")) == 1
    answers_by_host(monkeypatch, m1=RemoteError("10.0.0.1 is off"), m2=QUIET)
    with pytest.raises(RemoteError, match=r"10\.0\.0\.1 is off"):
        launcher.up(file_of(machine, "10.0.0.2"), restart=None, say=said.append)


def test_the_head_of_rented_machines_is_asked_if_it_runs(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = machine.cluster_file()
    text = (Path(__file__).parents[3] / "cluster/aws.yaml").read_text()
    path.write_text(text.replace("your-", "my-"))
    file = read_cluster_file(path)
    answers_by_host(monkeypatch, m9=running("orchestrate search idc"))
    with pytest.raises(ClusterInUseError, match=r"on 10\.0\.0\.9: search idc"):
        launcher.up(file, restart=None, say=print)
    machine.let_ray_end_with(1)
    with pytest.raises(ClusterError, match="ray up -y"):  # it does not run, so nobody is asked
        launcher.up(file, restart=None, say=print)


def test_a_file_with_examples_is_not_started(machine: FakeMachine) -> None:
    file = file_of(machine)
    file.path.write_text(file.path.read_text().replace("ssh_user: me", "ssh_user: your-login"))
    with pytest.raises(RenderError, match=r"not filled in yet: auth\.ssh_user \(your-login\); edit it, or"):
        launcher.up(read_cluster_file(file.path), restart=None, say=print)


@pytest.mark.parametrize("restart", [None, True, False])
@pytest.mark.parametrize(
    ("before", "after", "workers"),
    [
        ("RAY_AUTH_MODE=token ray start --head", "ray start --head", ()),
        ("RAY_AUTH_MODE=token ray start --address", "ray start --address", ("10.0.0.2",)),
        ("  - ~/.ray/auth_token", "  []", ("10.0.0.2",)),
    ],
)
def test_a_file_that_starts_a_ray_without_a_token_is_not_started_and_the_check_says_the_same(
    machine: FakeMachine,
    monkeypatch: pytest.MonkeyPatch,
    restart: bool | None,
    before: str,
    after: str,
    workers: tuple[str, ...],
) -> None:
    answers(monkeypatch, QUIET)
    file = file_of(machine, *workers)
    text = file.path.read_text()
    assert before in text
    file.path.write_text(text.replace(before, after))
    file = read_cluster_file(file.path)
    (found,) = [one for one in check_file(file) if one.what == "token"]
    with pytest.raises(RenderError, match=re.escape(f"{file.path} is not started: {found.detail}")):
        launcher.up(file, restart=restart, say=print)
    assert machine.said("ray") == []


def test_a_ray_that_fails_is_an_error(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, QUIET)
    machine.let_ray_end_with(3)
    with pytest.raises(ClusterError, match=r"ray up -y .*my\.yaml ended with 3; what it said stands above"):
        launcher.up(file_of(machine), restart=None, say=print)


def test_down_ends_searches_then_ray_on_every_machine_and_looks_again(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answers(monkeypatch, running("orchestrate repeat first"), QUIET)
    said: list[str] = []
    file = file_of(machine, "10.0.0.2", "10.0.0.3")
    launcher.down(file, say=said.append)
    assert machine.said("ray") == [f"unset down -y {file.path}"]
    commands = machine.said("ssh")
    assert "kill -TERM 7" in commands[0]
    assert [line.rpartition(" me@")[2].split()[0] for line in commands[1:]] == ["10.0.0.2", "10.0.0.3"]
    assert all("venv/bin/ray stop" in line for line in commands[1:])
    assert asked[-3:] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert said[0] == "a search runs: ended first, as by Ctrl-C; it can be resumed"
    assert said[-1] == "nothing of Ray is left on 10.0.0.1, 10.0.0.2, 10.0.0.3"


def test_down_ends_searches_on_every_machine_and_goes_on_past_one_that_is_off(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers_by_host(
        monkeypatch, m1=QUIET, off2=RemoteError("off2 is off"), m3=running("orchestrate search idc")
    )
    said: list[str] = []
    with pytest.raises(
        ClusterError, match=r"Ray may still run on off2: .*Once it answers: orchestrate cluster down"
    ):
        launcher.down(file_of(machine, "off2", "10.0.0.3"), say=said.append)
    (ended,) = [line for line in machine.said("ssh") if "kill -TERM 7" in line]
    assert "me@10.0.0.3" in ended
    assert [line.rpartition(" me@")[2].split()[0] for line in machine.said("ssh") if "ray stop" in line] == [
        "off2",
        "10.0.0.3",
    ]
    assert said[-1] == "nothing of Ray is left on 10.0.0.1, 10.0.0.3"


def test_down_waits_for_searches_as_long_as_a_job_may_take_and_names_those_that_have_not_ended(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = "/v/python -m orchestrator.cli.main nest first"
    answers(monkeypatch, *[running(command)] * 400, QUIET)  # 200 s of a look every half a second
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += 0.5

    clock = SimpleNamespace(monotonic=lambda: now, sleep=sleep)
    monkeypatch.setattr(launcher, "time", clock)
    said: list[str] = []
    launcher.down(file_of(machine), say=said.append)
    assert now == pytest.approx(199.5)
    assert not any("not ended" in text for text in said)
    answers(monkeypatch, running(command))
    said.clear()
    now = 0.0
    launcher.down(file_of(machine), say=said.append)
    assert 600 <= now < 602
    left = "nest first (process 7 on 10.0.0.1)"
    assert said[1] == f"not ended within 600 s, and ended with Ray now: {left}; it can be resumed"


def test_down_names_what_is_left(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, QUIET, QUIET + "ray\t99 raylet --a\n")
    monkeypatch.setattr(launcher, "_RAY_SECONDS", 0.0)
    with pytest.raises(ClusterError, match=r"1 of Ray's processes are left: 10\.0\.0\.1: 99 raylet --a\. On"):
        launcher.down(file_of(machine), say=print)


def test_the_head_of_rented_machines_is_asked_of_ray(machine: FakeMachine) -> None:
    file = read_cluster_file(Path(__file__).parents[3] / "cluster/aws.yaml")
    assert launcher.head_of(file) == "10.0.0.9"
    machine.let_ray_end_with(1)
    with pytest.raises(ClusterError, match=r"ray get-head-ip .* ended with 1: 10\.0\.0\.9"):
        launcher.head_of(file)


def test_rays_program_is_that_of_this_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert launcher._program("ray") == str(Path(sys.executable).parent / "ray")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RemoteError, match="no-such-program is needed here, none was found"):
        launcher._program("no-such-program")


def test_a_search_is_named_by_what_was_typed() -> None:
    assert launcher._running([Process(1, "orchestrate search a")]) == ("a search runs", "it can be resumed")
    for program in (
        "python /venv/bin/orchestrate",
        "python -m orchestrator",
        "python -m orchestrator.cli.main",
    ):
        assert typed_part(f"{program} resume first") == "resume first"
    assert typed_part("a") == "a"
