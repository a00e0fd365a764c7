import datetime
import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.tuning import parcel as parcels
from orchestrator.tuning.parcel import Parcel, deliver
from results.errors import RunError
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path, make_search: Callable[..., SearchRecord]) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.write_search(make_search())
    return run


def record(number: int = 3, value: float = 0.5) -> bytes:
    made = TrialRecord(
        number=number,
        state="complete",
        value=value,
        config={},
        fingerprint="f" * 64,
        seed=0,
        finished_at=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    )
    return made.model_dump_json().encode()


def parcel(*files: tuple[str, bytes | None]) -> Parcel:
    made = Parcel(3)
    for name, content in files:
        made.put(name, content)
    return made


def test_what_a_trial_left_is_written_in_order_and_the_parcel_is_empty_then(run: RunFolder) -> None:
    sent = parcel(("oof.npz", b"a"), ("folds/0.safetensors", b"b"), ("record.json", record()))
    deliver(sent, run)
    assert (run.trial(3) / "oof.npz").read_bytes() == b"a"
    assert (run.weights_folder(3) / "0.safetensors").read_bytes() == b"b"
    found = run.record(3)
    assert found is not None
    assert found.value == 0.5
    assert sent.take() is None


def test_of_a_trial_that_has_ended_nothing_more_is_taken(run: RunFolder) -> None:
    deliver(parcel(("oof.npz", b"first"), ("record.json", record())), run)
    deliver(parcel(("oof.npz", b"second"), ("record.json", record(value=0.9))), run)
    found = run.record(3)
    assert found is not None
    assert found.value == 0.5
    assert (run.trial(3) / "oof.npz").read_bytes() == b"first"


def test_a_file_without_content_is_removed(run: RunFolder) -> None:
    deliver(parcel(("checkpoint.safetensors", b"state")), run)
    assert run.checkpoint_file(3).read_bytes() == b"state"
    deliver(parcel(("checkpoint.safetensors", None), ("record.json", record())), run)
    assert not run.checkpoint_file(3).exists()
    assert run.record_file(3).exists()


def test_a_later_file_takes_the_place_of_an_earlier_one_that_waits() -> None:
    sent = parcel(("checkpoint.safetensors", b"old"), ("oof.npz", b"a"), ("checkpoint.safetensors", b"new"))
    taken = sent.take()
    assert taken is not None
    assert [(name, content.tobytes()) for name, content in taken.files if content is not None] == [
        ("oof.npz", b"a"),
        ("checkpoint.safetensors", b"new"),
    ]
    assert sent.take() is None


@pytest.mark.parametrize(
    "name", ["../0004/record.json", "search.yaml", "folds/../record.json", "/etc/passwd"]
)
def test_a_parcel_writes_nothing_but_what_trials_write(run: RunFolder, name: str) -> None:
    with pytest.raises(RunError, match="which no trial writes"):
        deliver(parcel(("oof.npz", b"a"), (name, b"b")), run)
    assert not run.trial(3).exists()


def test_a_record_of_another_trial_is_refused(run: RunFolder) -> None:
    with pytest.raises(RunError, match="sent a record of trial 4"):
        deliver(parcel(("record.json", record(number=4))), run)
    with pytest.raises(RunError, match="sent what is no record"):
        deliver(parcel(("record.json", b"{}")), run)
    assert run.records() == []


def test_a_choice_that_was_measured_elsewhere_is_kept_where_there_is_none(
    tmp_path: Path, run: RunFolder
) -> None:
    run.write_search(run.search().model_copy(update={"store": str(tmp_path / "store")}))
    name = f"{'a' * 24}.json"
    deliver(parcel((f"fusion/{name}", b"first")), run)
    deliver(parcel((f"fusion/{name}", b"second")), run)
    assert (tmp_path / "store" / "fusion" / name).read_bytes() == b"first"
    with pytest.raises(RunError, match="which no trial writes"):
        deliver(parcel(("fusion/../x.json", b"")), run)


def full(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let the disk have no room for files of these names."""
    real = parcels.write_atomically

    def write(path: Path, content: bytes) -> None:
        if path.name in names:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path, content)

    monkeypatch.setattr(parcels, "write_atomically", write)


def test_a_parcel_for_which_there_is_no_room_can_be_written_later(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = parcel(("oof.npz", b"a"), ("folds/0.safetensors", b"b"), ("record.json", record()))
    with monkeypatch.context() as short:
        full(short, "0.safetensors")
        with pytest.raises(OSError, match="No space left"):
            deliver(sent, run)
        assert not run.has_record(3)
    deliver(sent, run)
    assert (run.weights_folder(3) / "0.safetensors").read_bytes() == b"b"
    assert run.has_record(3)


def test_a_checkpoint_for_which_there_is_no_room_is_left_out(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    full(monkeypatch, "checkpoint.safetensors")
    sent = parcel(("checkpoint.safetensors", b"a"), ("oof.npz", b"b"))
    deliver(sent, run)
    assert (run.trial(3) / "oof.npz").read_bytes() == b"b"
    assert sent.take() is None
