"""A run folder is searched by one process, also where locks do not reach other machines."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from results.errors import RunError
from results.run import lease
from results.run.lease import Owner, lives_elsewhere, owned, read_owner, this_process
from results.run.run_folder import RunFolder

FOREIGN = Owner("node7", "another-kernel", 4711, beats=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".owner.json"


def written(path: Path, owner: Owner) -> None:
    path.write_text(json.dumps(asdict(owner)))


def sleeps(path: Path, *, is_alive: bool) -> Callable[[float], None]:
    """Seconds that pass, in which the foreign process beats if it lives."""
    beats = [FOREIGN.beats]

    def sleep(seconds: float) -> None:
        beats[0] += 1
        if is_alive and beats[0] > 8:
            written(path, replace(FOREIGN, beats=beats[0]))

    return sleep


def test_a_process_of_another_machine_that_lives_is_found(folder: Path) -> None:
    written(folder, FOREIGN)
    found = lives_elsewhere(folder, sleep=sleeps(folder, is_alive=True))
    assert found is not None
    assert found.said == "process 4711 on node7"


def test_one_that_was_killed_there_gives_the_folder_up(folder: Path) -> None:
    written(folder, FOREIGN)
    said: list[str] = []
    assert lives_elsewhere(folder, sleep=sleeps(folder, is_alive=False), say=said.append) is None
    assert said == ["process 4711 on node7 had this search; looking for 20 s whether it still runs"]


def test_on_the_same_machine_the_lock_tells_and_nobody_waits(folder: Path) -> None:
    def never(seconds: float) -> None:
        raise AssertionError("nobody must wait")

    assert lives_elsewhere(folder, sleep=never) is None
    written(folder, replace(this_process(), pid=1))
    assert lives_elsewhere(folder, sleep=never) is None


def test_an_owner_beats_and_is_gone_afterwards(folder: Path) -> None:
    with owned(folder, seconds=0.001):
        first = read_owner(folder)
        assert first is not None
        assert (first.pid, first.boot) == (os.getpid(), this_process().boot)
        while (now := read_owner(folder)) is None or now.beats < 3:
            pass
    assert not folder.exists()


def test_an_owner_that_was_paused_notices_who_took_the_folder_over_and_leaves_its_name(folder: Path) -> None:
    told: list[str] = []
    with owned(folder, seconds=0.001) as lease:
        lease.when_taken(told.append)
        # The beat that is under way may still overwrite the name; a machine that watches writes it again.
        while lease.taken_by is None:
            written(folder, FOREIGN)
            time.sleep(0.001)
    assert read_owner(folder) == FOREIGN
    assert len(told) == 1
    assert told[0].startswith("process 4711 on node7 has taken this search over, since this process gave no")
    lease.when_taken(told.append)
    assert told[0] == told[1]  # who asks late is told, too


def test_the_name_of_another_owner_is_not_removed_at_the_end(folder: Path) -> None:
    with owned(folder):
        written(folder, FOREIGN)
    assert read_owner(folder) == FOREIGN


def test_a_folder_that_cannot_be_written_is_searched_all_the_same(tmp_path: Path) -> None:
    with owned(tmp_path / "missing" / ".owner.json"):
        assert not (tmp_path / "missing").exists()


def test_a_search_of_another_machine_is_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder(tmp_path)
    written(tmp_path / ".owner.json", FOREIGN)
    monkeypatch.setattr(
        "results.run.run_folder.lives_elsewhere",
        lambda path, say: lives_elsewhere(path, say=say, sleep=sleeps(path, is_alive=True)),
    )
    with (
        pytest.raises(
            RunError, match=r"searched by another process \(process 4711 on node7\); wait, or stop"
        ),
        run.exclusive(),
    ):
        pass


def test_a_second_process_of_this_machine_is_told_which_one_has_the_search(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with run.exclusive():
        who = rf"\(process {os.getpid()} on .+\)"
        with pytest.raises(RunError, match=rf"searched by another process {who}"), run.exclusive():
            pass
    assert not (tmp_path / ".owner.json").exists()
    assert lease.BEAT_SECONDS * 2 < lease.WATCHED_SECONDS


def test_no_other_file_is_written_through_a_link_in_the_place_of_the_owner(tmp_path: Path) -> None:
    named = tmp_path / "precious"
    named.write_text("of the user")
    (tmp_path / ".owner.json").symlink_to(named)
    with owned(tmp_path / ".owner.json"):
        pass
    assert named.read_text() == "of the user"


def test_a_pipe_in_the_place_of_the_owner_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".owner.json")
    assert read_owner(tmp_path / ".owner.json") is None
    with owned(tmp_path / ".owner.json"):
        pass
