"""Preparation of a collection: the same set every time, and whatever is wrong is named."""

import csv
import json
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from crashing_columns import CrashingColumns
from dicom_tree import PLANTED, film, write_tree
from source_files import noise, write

from trainables.common.errors import ConfigError, DataError, MachineError
from trainables.config.tasks import TASKS
from trainables.data.collections.collection import Box, Choices, Collection, Example, Listing, Problem
from trainables.data.collections.dicom import DICOM
from trainables.data.mammogram.preparation import Preparation
from trainables.data.patches import fingerprint_of
from trainables.data.prepared import engine
from trainables.data.prepared.engine import prepare
from trainables.data.prepared.settings import Settings
from trainables.data.prepared_set import open_prepared_set
from trainables.data.sources import load_patch_set

pytestmark = pytest.mark.slow

KEY = b"0123456789abcdef"


def collection(
    *examples: Example, problems: tuple[Problem, ...] = (), is_mammogram: bool = False
) -> Collection:
    listing = Listing(examples, "task", problems=problems, classes=("benign", "malignant"))
    return Collection(
        name="made-up",
        title="Made up",
        accepts="nothing",
        list=lambda path, choices: listing,
        reads=lambda path: False,
        is_mammogram=is_mammogram,
        licence="none",
    )


def examples(folder: Path, count: int = 6, **same: object) -> list[Example]:
    made = []
    for number in range(count):
        file = folder / f"bild ä {number}.png"
        write(file, noise(number))
        made.append(Example(file, file.name, number % 2, patient=f"p{number // 2}", **same))  # type: ignore[arg-type]  # any field
    return made


def run(folder: Path, found: Collection, name: str = "set", **settings: object) -> engine.Preparation:
    options = Settings(**settings)  # type: ignore[arg-type]  # any field
    return prepare(found, folder, folder.parent / name, Choices(), options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


def test_a_set_prepared_twice_has_one_fingerprint_whatever_the_number_of_processes(folder: Path) -> None:
    found = collection(*examples(folder, 9))
    one, other = run(folder, found, "a"), run(folder, found, "b", workers=3)
    assert one.prepared.fingerprint == other.prepared.fingerprint == fingerprint_of(one.prepared.as_patches())
    np.testing.assert_array_equal(one.prepared.images[3], noise(3))
    assert one.prepared.images.dtype == np.uint8
    assert isinstance(one.prepared.images, np.memmap)


def test_a_set_that_is_there_is_opened_and_another_one_is_not_written_over(folder: Path) -> None:
    made = examples(folder)
    assert run(folder, collection(*made)).is_new
    assert not run(folder, collection(*made)).is_new
    with pytest.raises(DataError, match="is there already, and is not this set"):
        run(folder, collection(*made[:4]))


def test_the_table_keeps_what_is_known_and_unknown_stays_unknown(folder: Path) -> None:
    made = examples(folder)
    made[0] = replace(made[0], view="CC", laterality="L", exam="e", columns={"age_years": 61, "vendor": "A"})
    made[1] = replace(made[1], partner=made[0].name)
    prepared = run(folder, collection(*made)).prepared
    assert prepared.table["view"] == ["CC", *[None] * 5]
    assert prepared.table["age_years"][:2] == [61, None]
    raw = prepared.as_patches()
    assert raw.partners is not None
    assert raw.partners.tolist() == [-1, 0, -1, -1, -1, -1]
    assert raw.columns is not None
    assert raw.columns["vendor"].tolist() == ["A", *[""] * 5]
    assert np.isnan(raw.columns["age_years"][1])
    assert raw.patients is not None
    assert raw.patients.tolist()[:3] == ["p0", "p0", "p1"]


def test_images_of_two_depths_share_the_deeper_one_and_sizes_the_most_frequent(folder: Path) -> None:
    made = examples(folder, 3)
    write(made[1].file, noise(7, largest=4095, side=16))
    done = run(folder, collection(*made))
    assert (done.prepared.images.dtype, done.prepared.images.shape) == (np.uint16, (3, 8, 8))
    assert done.prepared.facts["max_value"] == 4095
    np.testing.assert_array_equal(done.prepared.images[0], np.rint(noise(0) * (4095 / 255)))
    assert any("1 image of 3 was resized to 8x8" in note for note in done.notes)
    assert any("2 of 3 images have 8 bits" in note for note in done.notes)


def test_a_region_of_a_mask_is_cut_out_with_its_mask(folder: Path) -> None:
    image, mask = noise(1, side=40), np.zeros((40, 40), np.uint8)
    mask[10:30, 5:25] = 255
    mask[10:12, 5:8] = 0
    write(folder / "a.png", image)
    write(folder / "a_mask.png", mask)
    one = Example(folder / "a.png", "a", 1, mask=folder / "a_mask.png")
    prepared = run(folder, collection(one), size=(20, 20)).prepared
    np.testing.assert_array_equal(prepared.images[0], image[10:30, 5:25])
    assert prepared.masks is not None
    np.testing.assert_array_equal(prepared.masks[0], mask[10:30, 5:25])
    assert [prepared.table[f"box_{side}"][0] for side in ("left", "top", "width", "height")] == [
        5,
        10,
        20,
        20,
    ]


def test_several_masks_of_an_image_are_united(folder: Path) -> None:
    one, other = np.zeros((40, 40), np.uint8), np.zeros((20, 20), np.uint8)  # the second is half as large
    one[4:10, 4:10] = other[10:15, 12:17] = 255
    for name, pixels in {"a": noise(1, side=40), "m": one, "n": other}.items():
        write(folder / f"{name}.png", pixels)
    example = Example(
        folder / "a.png", "a", 1, mask=folder / "m.png", more_masks=(folder / "n.png",), cut="whole"
    )
    prepared = run(folder, collection(example)).prepared
    assert prepared.masks is not None
    expected = one.copy()
    expected[20:30, 24:34] = 255
    np.testing.assert_array_equal(prepared.masks[0], expected)
    assert [prepared.table[f"finding_{side}"][0] for side in ("left", "top", "width", "height")] == [
        *(4, 4, 30, 26)
    ]
    write(folder / "n.png", one[::2, ::2])
    with pytest.raises(DataError, match="is not this set"):
        run(folder, collection(example))


def test_masks_and_boxes_follow_a_mammogram_that_is_made_ready(folder: Path) -> None:
    pixels = film(0, is_malignant=True, side="R", size=(192, 128))
    spot = pixels > 3000
    write(folder / "a.png", pixels)
    write(folder / "m.png", spot.astype(np.uint8) * 255)
    one = Example(folder / "a.png", "a", 1, mask=folder / "m.png", cut="whole", laterality="R")
    prepared = run(folder, collection(one, is_mammogram=True), size=(96, 64), steps=Preparation()).prepared
    assert prepared.masks is not None
    inside = prepared.masks[0] > 0
    assert (
        prepared.images[0][inside].mean()
        > 1.5 * prepared.images[0][~inside & (prepared.images[0] > 0)].mean()
    )
    assert inside[:, :32].sum() > inside[:, 32:].sum()  # the chest wall was turned to the left
    left, top, width, height = (
        prepared.table[f"finding_{side}"][0] for side in ("left", "top", "width", "height")
    )
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    assert abs(left - columns[0]) <= 1
    assert abs(top - rows[0]) <= 1
    assert abs(width - len(columns)) <= 2
    assert abs(height - len(rows)) <= 2


def bomb(file: Path) -> None:
    """A PNG of a few hundred bytes whose header says 60,000 by 60,000 pixels."""
    write(file, noise(0))
    content = bytearray(file.read_bytes())
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    file.write_bytes(bytes(content))


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda file: file.write_bytes(file.read_bytes()[:60]), "cannot be read whole|not an image"),
    "empty": (lambda file: file.write_bytes(b""), "is not an image"),
    "bomb": (bomb, "million pixels"),
    "gone": (Path.unlink, "is not there"),
    "text": (lambda file: file.write_text("hello"), "is not an image"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_used_is_named_and_the_rest_is_prepared(folder: Path, name: str) -> None:
    spoil, reason = BAD[name]
    made = examples(folder)
    spoil(made[2].file)
    done = run(folder, collection(*made))
    assert len(done.prepared.images) == 5
    (problem,) = done.problems
    assert problem.what == made[2].file.name
    assert str(folder) not in problem.reason
    assert re.search(reason, problem.reason)
    with pytest.raises(DataError, match=rf"{made[2].file.name} .*leave --strict out"):
        run(folder, collection(*made), "strict", is_strict=True)
    assert not (folder.parent / "strict").exists()


def test_problems_of_the_listing_are_counted_and_stop_a_strict_preparation(folder: Path) -> None:
    found = collection(*examples(folder), problems=(Problem("row 7", 'has no pathology ("BENIGNN")'),))
    done = run(folder, found)
    assert [problem.what for problem in done.problems] == ["row 7"]
    assert done.prepared.facts["problems"] == 1
    with pytest.raises(DataError, match=r"row 7 has no pathology"):
        run(folder, found, "strict", is_strict=True)


def test_nothing_that_can_be_used_is_an_error_that_says_why(folder: Path) -> None:
    with pytest.raises(DataError, match="holds nothing of Made up that can be used"):
        run(folder, collection())
    made = examples(folder, 2)
    for one in made:
        one.file.write_text("no image")
    with pytest.raises(
        DataError, match=r"nothing of 2 examples .* 2 problems, the first of 2 alike is that bild ä 0.png"
    ):
        run(folder, collection(*made))


def test_an_image_that_crashes_its_reader_is_left_out_and_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[4] / "helpers"))
    made = examples(folder)
    made[1] = replace(made[1], columns=CrashingColumns())
    done = run(folder, collection(*made))
    assert len(done.prepared.images) == 5
    assert [(one.what, one.reason) for one in done.problems] == [
        (made[1].file.name, "crashes the program that reads it, so it must be damaged")
    ]


def test_what_an_interrupted_preparation_has_done_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_MOST_EXAMPLES", 2)
    found, seen = collection(*examples(folder, 8)), list[int]()

    def interrupt(done: int, total: int) -> None:
        seen.append(done)
        if done >= 4:
            raise KeyboardInterrupt

    whole = run(folder, found, "whole")
    with pytest.raises(KeyboardInterrupt):
        prepare(found, folder, folder.parent / "set", Choices(), Settings(), progress=interrupt)
    assert not (folder.parent / "set").exists()
    again = run(folder, found)
    assert again.notes[0].endswith("of 8 examples were prepared before")
    assert again.prepared.fingerprint == whole.prepared.fingerprint
    assert not list(folder.parent.glob(".*preparing"))


def test_a_file_that_changed_since_the_interruption_is_read_again(folder: Path) -> None:
    made = examples(folder)

    def interrupt(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(collection(*made), folder, folder.parent / "set", Choices(), Settings(), progress=interrupt)
    write(made[0].file, noise(99))
    np.testing.assert_array_equal(run(folder, collection(*made)).prepared.images[0], noise(99))


def test_two_processes_do_not_prepare_one_set_at_once(folder: Path) -> None:
    found = collection(*examples(folder))
    with engine._locked(folder.parent / ".set.preparing"), pytest.raises(DataError, match="another process"):
        run(folder, found)


def test_a_disk_that_fails_is_a_fault_of_the_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = collection(*examples(folder))
    real = engine._chunks
    monkeypatch.setattr(
        engine, "_chunks", lambda plan: [replace(one, folder=folder / "gone") for one in real(plan)]
    )
    with pytest.raises(MachineError, match="No such file or directory"):
        run(folder, found)


def test_hashed_ids_replace_names_everywhere_and_nothing_of_a_header_is_copied(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", 4)
    open_one = prepare(DICOM, tree, tmp_path / "open", Choices(), Settings(steps=Preparation()))
    hashed = prepare(DICOM, tree, tmp_path / "hashed", Choices(), Settings(steps=Preparation(), key=KEY))
    patients = [set(done.prepared.table["patient"]) for done in (open_one, hashed)]
    assert [len(one) for one in patients] == [4, 4]
    assert not patients[0] & patients[1]
    for file in (tmp_path / "hashed").iterdir():
        for planted in (*PLANTED, "Aufnahme", "1.2.826.0.1."):
            assert planted.encode() not in file.read_bytes(), f"{planted} in {file.name}"
    for file in (tmp_path / "open").iterdir():  # without hashes the id of the patient is all
        for planted in PLANTED[:5]:
            assert planted.encode() not in file.read_bytes(), f"{planted} in {file.name}"
    assert hashed.prepared.facts["identifying_tags"]["PatientName"] == 8
    assert hashed.prepared.table["vendor"][0]
    assert hashed.prepared.table["laterality"][:4] == ["L", "L", "R", "R"]
    other = prepare(DICOM, tree, tmp_path / "other", Choices(), Settings(steps=Preparation(), key=KEY * 2))
    assert not set(other.prepared.table["patient"]) & patients[1]


def test_millimetres_give_one_scale_and_images_without_spacing_are_left_out(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", 4)
    write(tree / "plain.png", noise(3, side=64))
    with (tree / "labels.csv").open("a", newline="", encoding="utf-8") as table:
        csv.writer(table).writerow(("plain.png", "benign", 40))
    done = prepare(DICOM, tree, tmp_path / "set", Choices(), Settings(mm_per_px=1.4))
    assert done.prepared.images.shape == (8, 48, 32)
    assert done.prepared.table["mm_per_row"] == pytest.approx([1.4] * 8)
    assert [problem.what for problem in done.problems] == ["plain.png"]
    assert "--mm-per-px" in done.problems[0].reason


def test_a_search_maps_the_set_and_stores_no_second_copy(folder: Path) -> None:
    prepared = run(folder, collection(*examples(folder, 8))).prepared
    store = folder.parent / "store"
    patch_set, notes = load_patch_set(
        str(prepared.folder), task=TASKS["benign_malignant"], label_codes=None, store=store
    )
    np.testing.assert_array_equal(patch_set.images, prepared.images)
    stored = store / "data" / patch_set.fingerprint / "images.npy"
    assert stored.samefile(prepared.folder / "images.npy")
    assert patch_set.columns is not None
    assert "licence: none" in notes
    with pytest.raises(DataError, match="holds the classes benign, malignant, and task idc asks for no_idc"):
        load_patch_set(str(prepared.folder), task=TASKS["idc"], label_codes=None, store=store)


def test_a_damaged_set_and_one_of_a_later_version_are_refused(folder: Path) -> None:
    prepared = run(folder, collection(*examples(folder))).prepared
    facts = json.loads((prepared.folder / "set.json").read_text())
    (prepared.folder / "set.json").write_text(json.dumps({**facts, "format": 99}))
    with pytest.raises(DataError, match="format 99 of a later version"):
        open_prepared_set(prepared.folder)
    (prepared.folder / "set.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        open_prepared_set(prepared.folder)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"size": (4, 4)}, "8 to 16384 pixels a side, found 4x4"),
        ({"mm_per_px": 0.0}, "0.01 to 10 mm, found 0"),
        ({"workers": 0}, "at least 1, found 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Settings(**settings)  # type: ignore[arg-type]  # wrong on purpose


def test_a_box_reads_the_film_once_for_all_its_regions(folder: Path) -> None:
    write(folder / "film.png", noise(1, side=64))
    boxes = [Box(0, 0, 8, 8), Box(20, 20, 8, 8)]
    made = [Example(folder / "film.png", f"r{n}", n, box=box) for n, box in enumerate(boxes)]
    prepared = run(folder, collection(*made), size=(8, 8)).prepared
    np.testing.assert_array_equal(prepared.images[1], noise(1, side=64)[20:28, 20:28])


def test_a_zip_bomb_of_a_table_is_no_image(folder: Path) -> None:
    made = examples(folder, 3)
    with zipfile.ZipFile(made[1].file, "w") as archive:
        archive.writestr("a", "b")
    assert len(run(folder, collection(*made)).problems) == 1
    assert cv2.imread(str(made[0].file)) is not None
