"""A run folder is copied to a storage URI; here to `file://`, `gs://` and the memory of fsspec."""

import io
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path, PosixPath
from typing import Any

import fsspec
import pytest
from gs_server import gs_server
from mirrored_runs import begun_run, end_trial, ended, prefix

from orchestrator.reporting import place
from orchestrator.reporting.mirror import MirrorCallback, mirror_callbacks
from orchestrator.reporting.place import Place, check_uri
from results.run.run_folder import RunFolder
from trainables.common.errors import ConfigError, MachineError


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return begun_run(tmp_path / "here")


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_trials_are_copied_as_they_end_and_the_rest_with_the_search(run: RunFolder, tmp_path: Path) -> None:
    there = tmp_path / "there"
    (callback,) = mirror_callbacks(there.as_uri())
    callback.on_search_start(run, run.search())
    record = end_trial(run)
    callback.on_trial_end(record)
    (run.path / "leaderboard.csv").write_text("1")
    callback.on_search_end(ended(run))
    own = there / prefix(run)
    assert names(own) == {
        *("search.yaml", "split.json", "leaderboard.csv", "trials/0000/oof.npz"),
        *("trials/0000/folds/0.safetensors", "trials/0000/record.json"),
    }
    assert (own / "search.yaml").read_bytes() == run.search_file.read_bytes()


def test_the_record_of_a_trial_is_copied_after_its_other_files(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    real = Place.write
    monkeypatch.setattr(
        Place, "write", lambda self, name, content: (written.append(name), real(self, name, content))[1]
    )
    callback = MirrorCallback(Place((tmp_path / "there").as_uri()))
    callback.on_search_start(run, run.search())
    callback.on_trial_end(end_trial(run))
    callback.on_search_end(ended(run))
    of_trial = [name for name in written if "/trials/0000/" in name]
    assert len(of_trial) == 3
    assert of_trial[-1].endswith("record.json")


def test_what_is_gone_or_changed_here_is_gone_or_changed_there(run: RunFolder, tmp_path: Path) -> None:
    there = tmp_path / "there"
    end_trial(run)
    MirrorCallback(Place(there.as_uri())).on_search_end(ended(run))
    run.discard_weights(0)
    MirrorCallback(Place(there.as_uri())).on_search_end(ended(run))
    own = there / prefix(run)
    assert not (own / "trials/0000/folds/0.safetensors").exists()
    assert (own / "trials/0000/record.json").read_bytes() == run.record_file(0).read_bytes()


@pytest.fixture
def memory() -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()


def test_a_storage_of_fsspec_is_taken_where_pyarrow_has_none(run: RunFolder, memory: Any) -> None:
    end_trial(run)
    MirrorCallback(Place("memory://bucket/path")).on_search_end(ended(run))
    found = {name.split(prefix(run) + "/")[-1] for name in memory.find("/bucket/path")}
    assert {"search.yaml", "trials/0000/record.json", "trials/0000/folds/0.safetensors"} <= found


def test_a_run_is_copied_to_a_storage_of_google(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gs_server() as google:
        google.write_account(tmp_path / "account.json")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
        place = f"endpoint_override={google.endpoint}&scheme=http"
        (callback,) = mirror_callbacks(f"gs://bucket/runs?{place}")
        callback.on_search_start(run, run.search())
        run.write_weights(0, [("1.safetensors", bytes(12_000_000))])  # in several parts
        callback.on_trial_end(end_trial(run))
        callback.on_search_end(ended(run))
        kept = contents(f"gs://anonymous@bucket/runs?{place}", prefix(run))
        here = {str(path.relative_to(run.path)) for path in (run.path / "trials").rglob("*.*")}
        assert kept.keys() == {"search.yaml", "split.json", *here}
        assert all(content == (run.path / name).read_bytes() for name, content in kept.items())
        asked = len(google.asked)
        MirrorCallback(Place(f"gs://bucket/runs?{place}")).on_search_end(ended(run))
        assert not [path for _, path, _ in google.asked[asked:] if "1.safetensors" in path]  # it is there
        run.discard_weights(0)
        MirrorCallback(Place(f"gs://bucket/runs?{place}")).on_search_end(ended(run))
        kept = contents(f"gs://anonymous@bucket/runs?{place}", prefix(run))
        assert not any("folds/" in name for name in kept)
        signed = {google.signer(who) for _, _, who in google.asked if who}
        assert signed == {"searches@project.iam.gserviceaccount.com"}
        assert all(who for how, _, who in google.asked if how != "GET")  # only the test reads as nobody


def contents(uri: str, folder: str) -> dict[str, bytes]:
    """Name below a folder of a storage -> content, as another client sees it."""
    from pyarrow.fs import FileSelector, FileSystem

    files, root = FileSystem.from_uri(uri)
    own = f"{root}/{folder}"
    found = files.get_file_info(FileSelector(own, recursive=True))
    names = [info.path for info in found if info.is_file]
    return {name.removeprefix(f"{own}/"): files.open_input_stream(name).read() for name in names}


def test_a_storage_of_google_that_does_not_answer_is_refused_before_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(place, "_GOOGLE_SECONDS", 1)
    begun = time.monotonic()
    with pytest.raises(ConfigError, match=r"gs://anonymous@bucket/runs.*: nothing can be written there: "):
        mirror_callbacks("gs://anonymous@bucket/runs?endpoint_override=127.0.0.1:1&scheme=http")
    assert time.monotonic() - begun < 30.0  # without a limit, a quarter of an hour


def test_the_bucket_of_google_must_be_there(tmp_path: Path) -> None:
    with (
        gs_server() as google,
        pytest.raises(ConfigError, match="there is no such bucket; make it"),
    ):
        mirror_callbacks(f"gs://anonymous@other/runs?endpoint_override={google.endpoint}&scheme=http")


def test_a_storage_that_fails_is_said_and_tried_again_at_the_end(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place((tmp_path / "there").as_uri())
    callback = MirrorCallback(place)

    def broken(self: Place, name: str, content: object) -> None:
        raise OSError("no route to host")

    with monkeypatch.context() as patch:
        patch.setattr(Place, "write", broken)
        callback.on_search_start(run, run.search())
        callback._pool.submit(lambda: None).result()  # what was begun has ended
        with pytest.raises(
            MachineError, match=r"could not be copied to file:.*no route to host; the run folder"
        ):
            callback.on_trial_end(end_trial(run))
        callback._pool.submit(lambda: None).result()
    callback.on_search_end(ended(run))
    assert (tmp_path / "there" / prefix(run) / "trials/0000/record.json").exists()


def test_at_the_end_a_storage_that_fails_is_asked_once_and_not_for_every_copy_that_waits(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = MirrorCallback(Place((tmp_path / "there").as_uri()))
    asked, may_fail = list[str](), threading.Event()

    def broken(self: Place, name: str, content: object) -> None:
        asked.append(name)
        may_fail.wait()
        raise OSError("no route to host")

    monkeypatch.setattr(Place, "write", broken)
    callback.on_search_start(run, run.search())
    for number in range(100):
        callback.on_trial_end(end_trial(run, number))
    while not asked:
        time.sleep(0.001)
    threading.Timer(0.05, may_fail.set).start()
    with pytest.raises(MachineError, match="no route to host"):
        callback.on_search_end(ended(run))
    assert len(asked) == 2  # the copy that had begun, and the last one


def test_an_interrupt_of_the_last_copies_leaves_them(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = MirrorCallback(Place((tmp_path / "there").as_uri()))
    written, may_go_on = list[str](), threading.Event()

    def slow(self: Place, name: str, content: object) -> None:
        written.append(name)
        may_go_on.wait()

    class Interrupted(Future[None]):
        def result(self, timeout: float | None = None) -> None:
            while not written:
                time.sleep(0.001)
            raise KeyboardInterrupt

    real = callback._pool.submit
    monkeypatch.setattr(callback._pool, "submit", lambda act: (real(act), Interrupted())[1])
    monkeypatch.setattr(Place, "write", slow)
    end_trial(run)
    with pytest.raises(KeyboardInterrupt):
        callback.on_search_end(ended(run))
    may_go_on.set()
    while any(thread.name == "mirror" for thread in threading.enumerate()):
        time.sleep(0.001)
    assert len(written) == 1


def test_a_change_here_is_copied_whatever_clock_the_storage_has(run: RunFolder, tmp_path: Path) -> None:
    there = tmp_path / "there"
    callback = MirrorCallback(Place(there.as_uri()))
    callback.on_search_start(run, run.search())
    callback.on_trial_end(end_trial(run))
    callback._pool.submit(lambda: None).result()  # what was begun has ended
    copy = there / prefix(run) / "split.json"
    hour = time.time() + 3600
    os.utime(copy, (hour, hour))
    run.split_file.write_text("[]")  # as long as before
    callback.on_search_end(ended(run))
    assert copy.read_text() == "[]"


def test_a_file_that_cannot_be_read_to_its_end_leaves_no_part_of_it(tmp_path: Path) -> None:
    place = Place((tmp_path / "there").as_uri())
    with pytest.raises(OSError, match="Input/output"):
        place.write("torn", Torn(tmp_path))
    with pytest.raises(FileNotFoundError):
        place.write("gone", tmp_path / "gone")
    assert not list((tmp_path / "there").rglob("*"))


class Torn(PosixPath):
    """A file whose disk fails after a block."""

    def open(self, *arguments: Any, **options: Any) -> Any:
        return TornStream()


class TornStream(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise OSError("Input/output error")
        self.seek(1)
        return b"1"


def test_a_storage_that_cannot_be_written_is_refused_before_the_search(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="nothing can be written there"):
        mirror_callbacks((tmp_path / "file" / "below").as_uri())
    with pytest.raises(ConfigError, match=r"^nowhere://a/b is not understood"):
        Place("nowhere://a/b")


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("results", "is named by a URI"),
        ("s3:/bucket", "is named by a URI"),
        ("s3://me:secret@bucket/path", "holds a secret"),
        ("s3://bucket/path?secret_key=x", "holds a secret"),
        ("gs://me@bucket/path", "holds a secret"),
        ("gs://anonymous@me:secret@bucket/path", "holds a secret"),
    ],
)
def test_a_uri_holds_no_secret(uri: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        check_uri(uri)


def test_without_a_uri_nothing_is_copied() -> None:
    assert mirror_callbacks(None) == ()
