"""Logging in to machines: what ssh is called with, and what its failures mean."""

from pathlib import Path

import pytest
from fake_ssh import FakeMachine, make_fake_machine

from cluster.cluster_file import read_cluster_file
from cluster.errors import RemoteError
from cluster.ssh import Login, known_hosts_file, login_fault, logins


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    return make_fake_machine(tmp_path, monkeypatch)


def login_to(machine: FakeMachine, head: str = "10.0.0.1", *workers: str) -> Login:
    file = read_cluster_file(machine.cluster_file(head=head, workers=workers))
    return Login(file, head, head)


def test_a_command_runs_over_there_with_its_input(machine: FakeMachine) -> None:
    login = login_to(machine)
    assert login.run("cat; echo $HOME 'a  b'", text="x\n") == f"x\n{machine.home} a  b\n"


def test_a_command_that_fails_is_an_error_with_its_last_line(machine: FakeMachine) -> None:
    with pytest.raises(RemoteError, match=r"^10\.0\.0\.1: no such run$"):
        login_to(machine).run("echo first >&2; echo no such run >&2; exit 2")
    assert login_to(machine).run("echo out; exit 2", may_fail=True) == "out\n"


def test_a_machine_that_says_nothing_is_an_error(machine: FakeMachine) -> None:
    with pytest.raises(RemoteError, match=r"10\.0\.0\.1 did not answer within 0\.2 s"):
        login_to(machine).run("exec sleep 5", timeout_seconds=0.2)


def test_output_comes_line_by_line_and_a_failure_at_its_end_is_an_error(machine: FakeMachine) -> None:
    with login_to(machine).streaming("echo one; echo two") as lines:
        assert list(lines) == ["one\n", "two\n"]
    with (
        pytest.raises(RemoteError, match=r"10\.0\.0\.1: gone"),
        login_to(machine).streaming("echo one; echo gone >&2; exit 3") as lines,
    ):
        assert list(lines) == ["one\n"]
    with (
        pytest.raises(RemoteError, match="off cannot be logged in to"),
        login_to(machine, "off").streaming("echo one") as lines,
    ):
        assert list(lines) == []


def test_no_question_is_asked_and_a_host_key_is_remembered(machine: FakeMachine) -> None:
    login_to(machine).run("true")
    (line,) = machine.said("ssh")
    assert "BatchMode=yes" in line
    assert "StrictHostKeyChecking=accept-new" in line
    assert "HostKeyAlias=breast-search-local.10.0.0.1" in line
    assert f"UserKnownHostsFile={known_hosts_file()}" in line
    assert known_hosts_file().is_relative_to(machine.folder / "state")


def test_the_proxy_command_leads_to_the_head_and_through_it_to_the_others(machine: FakeMachine) -> None:
    path = machine.cluster_file(workers=("10.0.0.2",))
    path.write_text(path.read_text().replace("auth:\n", "auth:\n  ssh_proxy_command: ssh -W %h:%p jump\n"))
    head, worker = logins(read_cluster_file(path), "10.0.0.1")
    assert head.shell[-2:] == ["-o", "ProxyCommand=ssh -W %h:%p jump"]
    command = worker.shell[-1]
    assert command.startswith("ProxyCommand=ssh -i ")
    assert "ProxyCommand=ssh -W %%h:%%p jump" in command, "of the head, not of the worker"
    assert command.endswith("-W '[%h]:%p' me@10.0.0.1")


@pytest.mark.usefixtures("rsync")
def test_a_folder_is_copied_without_what_is_left_out(machine: FakeMachine, tmp_path: Path) -> None:
    there = machine.home / "runs/a b"
    there.mkdir(parents=True)
    (there / "record.json").write_text("{}")
    (there / ".lock").write_text("")
    login_to(machine).fetch("runs/a b", tmp_path / "here", leave_out=[".lock"])
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["record.json"]
    with pytest.raises(RemoteError, match=r"rsync from 10\.0\.0\.1 failed: "):
        login_to(machine).fetch("nowhere", tmp_path / "here")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("me@a: Permission denied (publickey).", "Permission denied .*; is ssh_user right, and does"),
        ("ssh: Could not resolve hostname a: Name", "is the name of the machine right"),
        ("connect to host a port 22: Connection refused", "no SSH server answers on that port"),
        ("Warning: Identity file k not accessible\nno key", "no key; is the path of ssh_private_key right"),
        ("", "ssh said nothing; try it by hand with ssh"),
    ],
)
def test_a_login_that_fails_is_explained(machine: FakeMachine, said: str, message: str) -> None:
    file = read_cluster_file(machine.cluster_file())
    with pytest.raises(RemoteError, match=message):
        raise RemoteError(login_fault("a", said, file))


def test_a_host_key_that_changed_is_refused_with_the_command_that_forgets_it(machine: FakeMachine) -> None:
    with pytest.raises(RemoteError, match=r"another host key .* ssh-keygen -R breast-search-local\.new -f "):
        login_to(machine, "new").run("true")


def test_programs_that_are_missing_are_named(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    login = login_to(machine)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(RemoteError, match="ssh is needed on this machine"):
        login.run("true")
    with pytest.raises(RemoteError, match="rsync is needed on this machine"):
        login.fetch("a", tmp_path / "b")
