"""The disk budget holds; what was used longest ago leaves first; what is read or written never leaves."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from prefix_examples import IMAGES, LOW, TOP, VIEWS, Counting, expected, key
from torch import Tensor

from trainables.features import budget, writer
from trainables.features.budget import STALE_SECONDS, DiskBudget, default_budget, stored_files
from trainables.features.locks import held
from trainables.features.store import PrefixStore, StoredViews
from trainables.features.stored_files import meta_path
from trainables.features.writer import PartialFile
from trainables.models.taps import Tap
from trainables.preprocessing.views import View

WIDTH = 512
FILE_BYTES = IMAGES * WIDTH * 2 + 128
BUDGET = round(3.5 * FILE_BYTES)  # three views


def fill(
    folder: Path, *indices: int, data: str = "f", also: Sequence[Tap] = (), room: int = BUDGET
) -> StoredViews:
    views = [VIEWS[index] for index in indices]
    store = PrefixStore(folder, budget_bytes=room)
    return store.views(key(fingerprint=data), views, TOP, also=also, compute=Counting(width=WIDTH))


def age(folder: Path, index: int, seconds: float) -> None:
    for path in folder.glob(f"prefix/*/{VIEWS[index]}/*.json"):
        os.utime(path, (time.time() - seconds,) * 2)


def present(folder: Path) -> list[str]:
    return sorted(file.path.parent.name for file in stored_files(folder / "prefix"))


def test_what_was_used_longest_ago_leaves_first(tmp_path: Path) -> None:
    for index, seconds in ((0, 30), (1, 20), (2, 10)):
        fill(tmp_path, index)
        age(tmp_path, index, seconds)
    fill(tmp_path, 0)  # used again
    fill(tmp_path, 3)
    assert present(tmp_path) == ["d4-0", "d4-2", "d4-3"]


def test_the_store_never_takes_more_than_its_budget(tmp_path: Path) -> None:
    for data in "abcdef":
        fill(tmp_path, 0, 1, data=data)
        assert sum(file.bytes for file in stored_files(tmp_path / "prefix")) <= BUDGET


def test_what_somebody_reads_is_never_evicted(tmp_path: Path) -> None:
    reading = fill(tmp_path, 0).arrays[0]
    view_of_it = reading[2:]
    del reading
    for index in (1, 2, 3):
        assert fill(tmp_path, index).notes == ()
    assert "d4-0" in present(tmp_path)
    assert view_of_it[0, 0] == 2.0
    del view_of_it
    age(tmp_path, 0, 100)
    fill(tmp_path, *{1, 2, 3} - {int(name[-1]) for name in present(tmp_path)})
    assert present(tmp_path) == ["d4-1", "d4-2", "d4-3"]


_READS = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from prefix_examples import *
from trainables.features.store import PrefixStore
found = PrefixStore(Path(sys.argv[1])).views(key(), VIEWS[:1], TOP, also=(), compute=Counting(width=512))
print("reading", flush=True)
time.sleep(60)
"""


def test_the_lock_of_a_reader_holds_between_processes_and_dies_with_it(tmp_path: Path) -> None:
    script = _READS.format(tests=str(Path(__file__).parents[3] / "helpers"))
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"reading\n"
        file = stored_files(tmp_path / "prefix")[0]
        assert not budget.evict(file.path)
        reader.send_signal(signal.SIGKILL)
        reader.wait(timeout=10)
    assert budget.evict(file.path)


def test_a_trial_that_finds_no_room_computes_in_memory_and_says_so(tmp_path: Path) -> None:
    found = fill(tmp_path, 0, 1, 2, 3)
    assert found.computed == 4
    assert present(tmp_path) == ["d4-0", "d4-1", "d4-2"]
    np.testing.assert_array_equal(found.arrays[3][:, 0], expected(VIEWS[3]))
    assert len(found.notes) == 1
    assert "give a larger --store-gb" in found.notes[0]


def test_nothing_is_evicted_for_a_file_that_will_never_fit(tmp_path: Path) -> None:
    fill(tmp_path, 0)
    PrefixStore(tmp_path, budget_bytes=BUDGET).views(
        key(), VIEWS[1:2], TOP, also=(), compute=Counting(width=4 * WIDTH)
    )
    assert present(tmp_path) == ["d4-0"]


def test_features_ahead_of_need_displace_only_what_nobody_used_for_a_day(tmp_path: Path) -> None:
    fill(tmp_path, 0)
    fill(tmp_path, 1, also=(LOW,), room=2 * FILE_BYTES)
    assert present(tmp_path) == ["d4-0", "d4-1"]
    age(tmp_path, 0, STALE_SECONDS + 60)
    fill(tmp_path, 2, also=(LOW,), room=3 * FILE_BYTES)
    assert present(tmp_path) == ["d4-1", "d4-2", "d4-2"]


def test_empty_folders_are_removed_with_their_last_file(tmp_path: Path) -> None:
    fill(tmp_path, 0, 1)
    for file in stored_files(tmp_path / "prefix"):
        assert budget.evict(file.path)
    assert [path.name for path in (tmp_path / "prefix").iterdir()] == [".room.lock"]


def test_a_lock_whose_file_was_tidied_away_is_taken_anew_by_who_waits_for_it(tmp_path: Path) -> None:
    lock, taken_twice = tmp_path / "d4-0.lock", []

    def wait() -> None:
        with held(lock, may_wait=True), held(lock, may_wait=False) as second:
            taken_twice.append(second)

    with held(lock, may_wait=True):
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.2)
        lock.unlink()
    thread.join(timeout=20)
    assert taken_twice == [False]


def test_a_key_that_was_evicted_is_described_again_when_it_comes_back(tmp_path: Path) -> None:
    fill(tmp_path, 0)
    budget.evict(stored_files(tmp_path / "prefix")[0].path)
    fill(tmp_path, 0)
    assert len(list(tmp_path.rglob("key.json"))) == 1


def test_a_file_that_is_being_written_is_counted_and_stays(tmp_path: Path) -> None:
    room = DiskBudget(tmp_path / "prefix", BUDGET)

    class Looks(Counting):
        def __call__(self, view: View, taps: Sequence[Tap]) -> Iterator[tuple[int, dict[Tap, Tensor]]]:
            for batch in super().__call__(view, taps):
                yield batch
                with room.reservation() as reservation:
                    assert reservation.taken == FILE_BYTES
                    assert not reservation.make_room(BUDGET)
                assert len(list(tmp_path.rglob("*.partial"))) == 1

    PrefixStore(tmp_path, budget_bytes=BUDGET).views(
        key(), VIEWS[:1], TOP, also=(), compute=Looks(width=WIDTH)
    )
    assert present(tmp_path) == ["d4-0"]


def test_what_a_dead_process_left_half_written_makes_room(tmp_path: Path) -> None:
    fill(tmp_path, 0)
    folder = next((tmp_path / "prefix").glob("*/d4-0"))
    (folder / "low.map.npy.dead.partial").write_bytes(bytes(3 * FILE_BYTES))
    assert fill(tmp_path, 1).notes == ()
    assert present(tmp_path) == ["d4-0", "d4-1"]
    assert not list(tmp_path.rglob("*.partial"))


class FullDisk:
    """Refuses to reserve room until files have been evicted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, *, holds: int) -> None:
        self.folder, self.holds = folder, holds
        self.reserve = writer.reserve_blocks
        monkeypatch.setattr(writer, "reserve_blocks", self)

    def __call__(self, descriptor: int, size: int) -> None:
        if len(stored_files(self.folder / "prefix")) >= self.holds:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.reserve(descriptor, size)


def test_a_full_disk_makes_the_store_evict_and_try_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 0)
    FullDisk(monkeypatch, tmp_path, holds=1)
    assert fill(tmp_path, 1).notes == ()
    assert present(tmp_path) == ["d4-1"]


def test_a_disk_that_stays_full_costs_time_and_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FullDisk(monkeypatch, tmp_path, holds=0)
    found = fill(tmp_path, 1, also=(LOW,))
    np.testing.assert_array_equal(found.arrays[0][:, 0], expected(VIEWS[1]))
    assert "No space left on device" in found.notes[0]
    assert "make room on the disk, or choose another folder with --store" in found.notes[0]
    assert present(tmp_path) == []
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("at", ["write", "keep"])
def test_a_disk_that_fills_up_half_way_loses_no_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    done = getattr(PartialFile, at)
    calls = []

    def failing(*arguments: object) -> object:
        calls.append(at)
        if at == "keep" or len(calls) == 3:  # after the header and the first batch
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return done(*arguments)

    monkeypatch.setattr(PartialFile, at, failing)
    found = fill(tmp_path, 1)
    np.testing.assert_array_equal(found.arrays[0][:, 0], expected(VIEWS[1]))
    assert "No space left on device" in found.notes[0]
    assert not list(tmp_path.rglob("*.partial"))


def test_a_store_that_is_deleted_while_it_is_written_costs_no_trial(tmp_path: Path) -> None:
    class Deleted(Counting):
        def __call__(self, view: View, taps: Sequence[Tap]) -> Iterator[tuple[int, dict[Tap, Tensor]]]:
            yield from super().__call__(view, taps)
            shutil.rmtree(tmp_path / "prefix")

    store = PrefixStore(tmp_path)
    found = store.views(key(), VIEWS[:1], TOP, also=(LOW,), compute=Deleted())
    np.testing.assert_array_equal(found.arrays[0][:, 0], expected(VIEWS[0]))
    assert "No such file or directory" in found.notes[0]


def test_folders_that_vanish_under_a_look_at_the_store_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 0, 1)
    found = budget.files_below(tmp_path / "prefix", ".npy")
    shutil.rmtree(next(found).parents[1])
    assert len(list(found)) <= 1


def test_the_default_budget_is_a_share_of_the_disk_and_at_most_200_gb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=10**9)
    monkeypatch.setattr(budget.shutil, "disk_usage", lambda folder: usage)
    assert default_budget(tmp_path, taken=10**9) == round(1.6e9)
    usage.free = 10**15
    assert default_budget(tmp_path, taken=0) == 200 * 10**9


def test_the_time_of_the_last_use_is_noted_without_touching_the_features(tmp_path: Path) -> None:
    fill(tmp_path, 0)
    path = next(tmp_path.rglob("*.npy"))
    age(tmp_path, 0, 1000)
    before, changed = meta_path(path).stat().st_mtime, path.stat().st_mtime_ns
    fill(tmp_path, 0)
    assert meta_path(path).stat().st_mtime > before + 900
    assert path.stat().st_mtime_ns == changed


def test_a_group_whose_umask_shares_files_shares_locks(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        with held(tmp_path / "one.lock", may_wait=False):
            assert (tmp_path / "one.lock").stat().st_mode & 0o777 == 0o664
    finally:
        os.umask(before)
