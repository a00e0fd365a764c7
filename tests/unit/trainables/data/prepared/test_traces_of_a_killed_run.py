"""A trace that a killed preparation left behind blames no image of the next one."""

from dataclasses import replace
from pathlib import Path

import pytest
from crashing_columns import CrashingColumns
from made_up_collection import made_up
from source_files import noise, write

from trainables.data.collections.collection import Choices, Example, Listing
from trainables.data.prepared.chunk import Chunk
from trainables.data.prepared.engine import prepare
from trainables.data.prepared.pool import ChunkPool
from trainables.data.prepared.settings import Settings

CRASHING = 4


@pytest.fixture(autouse=True)
def _helpers_in_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[4] / "helpers"))


def examples(raw: Path) -> tuple[Example, ...]:
    made = []
    for number in range(6):
        write(raw / f"{number}.png", noise(number))
        made.append(Example(raw / f"{number}.png", str(number), number % 2, patient=f"p{number}"))
    made[CRASHING] = replace(made[CRASHING], columns=CrashingColumns())
    return tuple(made)


def test_the_image_that_crashes_is_named_and_no_other(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    listing = Listing(examples(raw), "task", classes=("benign", "malignant"))
    found = made_up(listing)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(found, raw, tmp_path / "set", Choices(), Settings(), progress=interrupt)
    (tmp_path / ".set.preparing" / "000000.trace").write_text("1")
    done = prepare(found, raw, tmp_path / "set", Choices(), Settings())
    assert [problem.what for problem in done.problems] == [f"{CRASHING}.png"]
    assert len(done.prepared.images) == 5


def test_a_pool_reads_no_trace_of_a_chunk_that_it_has_not_traced(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    chunk = Chunk(0, 0, examples(tmp_path / "raw"), work, Settings())
    chunk.trace_file.write_text("1")
    with ChunkPool(1) as pool:
        (ended,) = pool.prepare([chunk])
    assert (ended.error, ended.chunk.crashing) == ("", {CRASHING})
