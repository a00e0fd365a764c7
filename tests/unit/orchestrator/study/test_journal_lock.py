"""Who may write a shared journal: one at a time, also when a holder was killed or comes back late."""

import fcntl
import threading
import time
from pathlib import Path

import pytest

from orchestrator.study.journal import SharedJournal
from orchestrator.study.journal_lock import LOCKS, NameLock

pytestmark = pytest.mark.slow

KINDS = sorted(LOCKS)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    (tmp_path / "study.log").touch()
    return tmp_path / "study.log"


def names(journal: Path) -> set[str]:
    return {path.name for path in journal.parent.iterdir()}


@pytest.mark.parametrize("kind", KINDS)
def test_threads_hold_the_lock_one_at_a_time(journal: Path, kind: str) -> None:
    inside, most, turns = [0], [0], 40

    def work() -> None:
        lock = NameLock(journal, kind)
        for _ in range(turns):
            lock.acquire()
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.0002)
            inside[0] -= 1
            lock.release()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert names(journal) == {"study.log"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_lock_of_a_killed_holder_is_broken_after_half_a_minute(journal: Path, kind: str) -> None:
    NameLock(journal, kind).acquire()
    slept: list[float] = []
    lock = NameLock(journal, kind, sleep=slept.append)
    lock.acquire()
    assert 30.0 <= sum(slept) < 31.0
    lock.release()
    assert names(journal) == {"study.log"}


@pytest.mark.parametrize("kind", KINDS)
def test_time_in_which_the_file_server_is_away_does_not_count(
    journal: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = NameLock(journal, kind)
    holder.acquire()
    clock, opened, real = [0.0], [0], Path.open

    def slow(path: Path, *arguments: object, **options: object) -> object:
        opened[0] += 1
        if opened[0] == 5:
            clock[0] += 100.0  # the server opens no files, and goes on answering about names
        if opened[0] == 20:
            holder.release()
        return real(path, *arguments, **options)  # type: ignore[arg-type]  # whatever `open` was given

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr(Path, "open", slow)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    NameLock(journal, kind, sleep=sleep).acquire()
    assert opened[0] == 20  # it was waited for, and not broken


@pytest.mark.parametrize("kind", KINDS)
def test_a_lock_that_changes_hands_is_not_broken(journal: Path, kind: str) -> None:
    holder, slept = NameLock(journal, kind), [0.0]
    holder.acquire()

    def sleep(seconds: float) -> None:
        slept[0] += seconds
        if slept[0] < 100.0:
            holder.release()
            time.sleep(0.005)  # a tick of the file system's clock
            holder.acquire()
        else:
            holder.release()

    NameLock(journal, kind, sleep=sleep).acquire()
    assert slept[0] >= 100.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_holder_that_comes_back_late_leaves_the_lock_of_the_next_one(journal: Path, kind: str) -> None:
    late, next_one = NameLock(journal, kind), NameLock(journal, kind, sleep=lambda seconds: None)
    late.acquire()
    next_one.acquire()
    late.release()
    assert names(journal) == {"study.log", "study.log.lock"}
    next_one.release()
    assert names(journal) == {"study.log"}
    late.release()  # and once more is no error


def test_a_link_that_was_made_without_an_answer_is_our_own(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.symlink_to

    def unanswered(path: Path, target: str) -> None:
        real(path, target)
        raise FileExistsError("as the second call says, which a client makes when no answer came")

    monkeypatch.setattr(Path, "symlink_to", unanswered)
    slept: list[float] = []
    lock = NameLock(journal, "symlink", sleep=slept.append)
    lock.acquire()
    lock.release()
    assert slept == []
    assert names(journal) == {"study.log"}


def test_two_that_both_believe_to_hold_the_lock_write_after_each_other(journal: Path) -> None:
    shared = SharedJournal(journal)
    with journal.open("r+b", buffering=0) as other:
        fcntl.flock(other, fcntl.LOCK_EX)  # a holder whose lock was broken, in the middle of a line
        other.write(b'{"op_code":0,')
        thread = threading.Thread(target=lambda: shared.append_logs([{"op_code": 1}]))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        other.write(b'"worker_id":"late"}\n')
    thread.join()
    assert list(shared.read_logs(0)) == [{"op_code": 0, "worker_id": "late"}, {"op_code": 1}]
