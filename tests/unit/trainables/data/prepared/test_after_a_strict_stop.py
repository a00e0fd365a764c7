"""A strict preparation that stops leaves nothing that a later one would take for whole."""

from pathlib import Path

import pytest
from made_up_collection import made_up
from source_files import noise, write

from trainables.common.errors import DataError
from trainables.data.collections.collection import Choices, Collection, Example, Listing
from trainables.data.prepared import engine
from trainables.data.prepared.chunk import Chunk, prepare_chunk
from trainables.data.prepared.engine import prepare
from trainables.data.prepared.settings import Settings

COUNT = 32


def collection(raw: Path, *, damaged: range) -> Collection:
    made = []
    for number in range(COUNT):
        file = raw / f"{number:02d}.png"
        write(file, noise(number))
        if number in damaged:
            file.write_bytes(b"broken")
        made.append(Example(file, file.name, number % 2, patient=f"p{number}"))
    listing = Listing(tuple(made), "task", classes=("benign", "malignant"))
    return made_up(listing)


def test_a_chunk_that_broke_off_leaves_no_file_and_says_where(tmp_path: Path) -> None:
    found = collection(tmp_path / "raw", damaged=range(2, COUNT, 4))
    examples = found.list(tmp_path, Choices()).examples
    chunk = Chunk(0, 0, examples, tmp_path / "work", Settings(is_strict=True))
    chunk.folder.mkdir()
    place, reason = prepare_chunk(chunk) or (-1, "")
    assert place == 2
    assert "is not an image" in reason
    assert list(chunk.folder.iterdir()) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_no_image_is_lost_by_going_on_without_strict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(engine, "_MOST_EXAMPLES", 4)
    raw = tmp_path / "raw"
    found = collection(raw, damaged=range(0, COUNT, 4))
    for _ in range(3):
        with pytest.raises(DataError, match=r"\.png is not an image.*or leave --strict out"):
            prepare(found, raw, tmp_path / "set", Choices(), Settings(is_strict=True, workers=workers))
        assert not list((tmp_path / ".set.preparing").glob("0*.json"))
    done = prepare(found, raw, tmp_path / "set", Choices(), Settings(workers=workers))
    assert (len(done.prepared.images), len(done.problems)) == (COUNT - COUNT // 4, COUNT // 4)


def test_problems_that_were_noted_before_stop_a_strict_preparation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_MOST_EXAMPLES", 4)
    raw = tmp_path / "raw"
    found = collection(raw, damaged=range(1, 2))

    def interrupt(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(found, raw, tmp_path / "set", Choices(), Settings(), progress=interrupt)
    with pytest.raises(DataError, match=r"01\.png is not an image"):
        prepare(found, raw, tmp_path / "set", Choices(), Settings(is_strict=True))
    done = prepare(found, raw, tmp_path / "set", Choices(), Settings())
    assert (len(done.prepared.images), len(done.problems)) == (COUNT - 1, 1)
    assert done.notes[0] == f"{COUNT} of {COUNT} examples were prepared before"
