"""A set follows from the content of its files: what changed or can be read again is read again."""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_collection import made_up
from source_files import noise

from orchestrator.api.prepared_sets import prepare_set
from trainables.common.errors import DataError
from trainables.data.collections.collection import Choices, Collection, Example, Listing
from trainables.data.prepared import plan as plan_module
from trainables.data.prepared import reading
from trainables.data.prepared.chunk import Chunk, prepare_chunk, read_notes
from trainables.data.prepared.engine import prepare
from trainables.data.prepared.known_files import KnownFiles, content_of
from trainables.data.prepared.plan import Plan
from trainables.data.prepared.settings import Settings
from trainables.data.prepared_set import FACTS_FILE

pytestmark = pytest.mark.slow


def pgm(file: Path, image: np.ndarray) -> None:
    """Write an image whose file has one size whatever it shows."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"P5\n8 8\n255\n" + image.tobytes())


def folder_of(tmp_path: Path) -> Path:
    for number in range(6):
        pgm(tmp_path / "films" / ("benign", "malignant")[number % 2] / f"{number}.pgm", noise(number))
    return tmp_path / "films"


def repair(file: Path, image: np.ndarray) -> None:
    """Write other pixels of the same size under the same time of modification."""
    before = file.stat()
    pgm(file, image)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def listing_of(raw: Path) -> Listing:
    made = [Example(raw / f"{k}.pgm", str(k), k % 2, patient=f"p{k}") for k in range(4)]
    for number, example in enumerate(made):
        pgm(example.file, noise(number))
    return Listing(tuple(made), "task", classes=("benign", "malignant"))


def collection(listing: Listing) -> Collection:
    return made_up(listing)


def test_a_repaired_file_of_the_same_size_and_time_is_noticed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    prepare_set("folder", folder, tmp_path / "set", workers=1)
    repair(folder / "benign" / "0.pgm", noise(99))
    with pytest.raises(DataError, match="is there already, and is not this set"):
        prepare_set("folder", folder, tmp_path / "set", workers=1)


def test_a_set_of_the_store_is_made_anew_after_a_repair(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    found = collection(listing_of(raw))
    prepare(found, raw, tmp_path / "set", Choices(), Settings(), replaces=True)
    repair(raw / "0.pgm", noise(99))
    done = prepare(found, raw, tmp_path / "set", Choices(), Settings(), replaces=True)
    assert done.is_new
    np.testing.assert_array_equal(done.prepared.images[0], noise(99))


def test_an_interrupted_preparation_reads_a_repaired_file_again(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    found = collection(listing_of(raw))

    def interrupt(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(found, raw, tmp_path / "set", Choices(), Settings(), progress=interrupt)
    repair(raw / "0.pgm", noise(99))
    done = prepare(found, raw, tmp_path / "set", Choices(), Settings())
    np.testing.assert_array_equal(done.prepared.images[0], noise(99))


def test_a_tree_whose_times_of_change_alone_are_new_is_this_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path)
    first = prepare_set("folder", folder, tmp_path / "set", workers=1)
    shutil.copytree(folder, tmp_path / "copy")  # with its times of modification
    shutil.rmtree(folder)
    (tmp_path / "copy").rename(folder)
    again = prepare_set("folder", folder, tmp_path / "set", workers=1)
    assert not again.is_new
    assert again.prepared.fingerprint == first.prepared.fingerprint
    monkeypatch.setattr(KnownFiles, "content", None)  # the new times are known now
    assert not prepare_set("folder", folder, tmp_path / "set", workers=1).is_new


def test_a_set_of_an_earlier_version_is_opened_and_said_to_be_so(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "set"
    listing = listing_of(raw)
    found = collection(listing)
    done = prepare(found, raw, out, Choices(), Settings())
    plan = Plan(found, raw, out, Choices(), Settings(size=None), listing, KnownFiles(listing.examples))
    facts = {**done.prepared.facts, "digest": plan.earlier_digest()}
    for name in ("passing", "files"):
        del facts[name]
    (out / FACTS_FILE).write_text(json.dumps(facts))
    again = prepare(found, raw, out, Choices(), Settings())
    assert not again.is_new
    assert again.notes[0].startswith(f"{out} was prepared by an earlier version")


def test_the_digest_that_earlier_versions_wrote_is_known(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    listing = listing_of(raw)
    settings = Settings()
    plan = Plan(
        collection(listing), raw, tmp_path / "set", Choices(), settings, listing, KnownFiles(listing.examples)
    )
    digest = hashlib.sha256()
    head = [1, "made-up", "task", ("benign", "malignant")]
    digest.update(json.dumps([*head, settings.as_dict(), ""]).encode())
    for example in listing.examples:
        found = example.file.stat()
        known = replace(example, frame=0)  # these versions knew no file without a number of the frame
        digest.update(repr((known, (found.st_size, found.st_mtime_ns))).encode())
    assert plan.earlier_digest() == digest.hexdigest()


def test_readers_of_another_version_and_another_header_beside_a_film_make_another_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "A_1_1.LEFT_CC.LJPEG").write_bytes(b"film")
    header = tmp_path / "A-1-1.ics"
    header.write_text("one")
    example = Example(tmp_path / "A_1_1.LEFT_CC.LJPEG", "a", 0)
    listing = Listing((example,), "task")

    def digest() -> str:
        files = KnownFiles(listing.examples)
        plan = Plan(collection(listing), tmp_path, tmp_path / "set", Choices(), Settings(), listing, files)
        return plan.digest()

    before, content = digest(), content_of(example)
    header.write_text("another")
    assert digest() != before
    assert content_of(example) != content
    now = digest()
    monkeypatch.setattr(plan_module, "READERS", reading.READERS + 1)
    assert digest() != now


def test_what_the_machine_failed_to_read_is_read_when_it_can_be(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "set"
    found = collection(listing_of(raw))
    whole = prepare(found, raw, out, Choices(), Settings())
    facts = {**whole.prepared.facts, "passing": [1], "fingerprint": "of a set without one image"}
    (out / FACTS_FILE).write_text(json.dumps(facts))
    done = prepare(found, raw, out, Choices(), Settings())
    assert done.is_new
    assert done.prepared.facts["passing"] == []
    assert done.prepared.fingerprint == whole.prepared.fingerprint
    (raw / "1.pgm").write_bytes(b"broken")
    broken = prepare(found, raw, tmp_path / "other", Choices(), Settings())
    facts = {**broken.prepared.facts, "passing": [1]}
    (tmp_path / "other" / FACTS_FILE).write_text(json.dumps(facts))
    assert not prepare(found, raw, tmp_path / "other", Choices(), Settings()).is_new


@pytest.mark.parametrize("error", [MemoryError(), OSError(5, "Input/output error"), ValueError("damaged")])
def test_failures_of_the_machine_are_told_from_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    listing = listing_of(tmp_path / "raw")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("trainables.data.image_files._decoded", fail)
    chunk = Chunk(0, 0, listing.examples[:1], tmp_path / "work", Settings())
    chunk.folder.mkdir()
    prepare_chunk(chunk)
    notes = read_notes(chunk.notes_file)
    assert len(notes.problems) == 1
    assert notes.passing == ([] if isinstance(error, ValueError) else [0])
