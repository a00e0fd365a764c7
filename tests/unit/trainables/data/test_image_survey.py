"""The range of pixel values in use, and pictures that are in a set more than once."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from source_files import CLASSES, PISA, load, noise, npz, two_classes, write

from trainables.common.errors import DataError
from trainables.config.tasks import TASKS
from trainables.data.image_survey import survey_images
from trainables.data.patches import open_patch_set, select_rows

TASK = TASKS["benign_malignant"]


@pytest.mark.parametrize(("largest", "found"), [(300, 511), (1023, 1023), (4000, 4095), (16000, 16383)])
def test_the_bits_in_use_are_found_said_and_stored(tmp_path: Path, largest: int, found: int) -> None:
    patch_set, notes = load(two_classes(tmp_path / "films", largest=largest))
    assert patch_set.max_value == found
    note = (
        f"pixel values: {found} of 65535 is taken as the brightest, since the largest is {largest}; "
        "--max-value overrides"
    )
    assert note in notes
    assert open_patch_set(tmp_path / "store" / "data", patch_set.fingerprint).max_value == found


@pytest.mark.parametrize("largest", [255, 40000, 65535])
def test_a_range_that_is_the_types_own_is_not_mentioned(tmp_path: Path, largest: int) -> None:
    patch_set, notes = load(two_classes(tmp_path / "films", largest=largest))
    assert patch_set.max_value == (255 if largest == 255 else 65535)
    assert not any("pixel values" in note for note in notes)


def test_the_range_of_arrays_is_found_too(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 4096, (6, 8, 8))
    deep[0, 0, 0] = 4095
    for dtype in (np.uint16, np.int32):
        assert load(npz(tmp_path, images=deep.astype(dtype)))[0].max_value == 4095


def test_the_users_range_wins_and_is_another_set(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films", largest=4000)
    found, _ = load(folder)
    given, notes = load(folder, max_value=65535)
    assert (given.max_value, found.max_value) == (65535, 4095)
    assert "pixel values: 65535 is taken as the brightest (as given)" in notes
    assert given.fingerprint != found.fingerprint


def test_a_file_above_the_users_range_is_named(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films", largest=1000)
    write(folder / "benign" / "bright.png", noise(99, largest=5000))
    with pytest.raises(
        DataError, match=r"bright\.png holds values up to 5000, above --max-value 4095; give the"
    ):
        load(folder, max_value=4095)


def test_a_row_above_the_users_range_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"6 images of 6 hold values above --max-value 100, such as row 0 with 2"
    ):
        load(npz(tmp_path), max_value=100)


def test_a_range_above_that_of_the_number_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="hold values from 0 to 255 by their number type, against --max-value 4095"
    ):
        load(two_classes(tmp_path / "films"), max_value=4095)


def test_the_phantom_takes_no_range(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--max-value is for images of your own, and phantom is not"):
        load(Path("phantom"), max_value=4095)


def test_a_file_that_does_not_fit_the_range_of_the_others_is_named(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films", 30, largest=4000)
    write(folder / "benign" / "odd.png", noise(99, largest=60000))
    patch_set, notes = load(folder)
    assert patch_set.max_value == 65535
    (note,) = (note for note in notes if "do not fit" in note or "does not fit" in note)
    assert note.startswith(
        "1 image of 31 does not fit the range of the others, 0 to 4095: benign/odd.png holds 60000"
    )


def test_classes_of_two_ranges_are_warned_of(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films", 12, largest=60000)
    for number in range(12):
        write(folder / "malignant" / f"new{number}.png", noise(100 + number, largest=3000))
    patch_set, notes = load(folder)
    assert patch_set.max_value == 65535
    (warning,) = (note for note in notes if note.startswith("WARNING"))
    assert warning.startswith(
        "WARNING: 12 of 24 images hold at most 4095, such as malignant/new0.png, and others up to 60000, as"
    )


def test_a_range_that_a_few_dark_images_do_not_fill_is_not_warned_of(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films", 24, largest=60000)
    write(folder / "malignant" / "dark.png", noise(100, largest=3000))
    for number in range(6):
        write(folder / "malignant" / f"dim{number}.png", noise(200 + number, largest=9000))
    assert not any(note.startswith("WARNING") for note in load(folder)[1])


@pytest.mark.parametrize("largest", [2000, 4095])
def test_what_a_header_states_is_the_range(tmp_path: Path, largest: int) -> None:
    folder = two_classes(tmp_path / "films", suffix=".pgm", largest=largest)
    for path in folder.glob("*/*.pgm"):
        path.write_bytes(path.read_bytes().replace(b"65535", b"4095", 1))
    patch_set, notes = load(folder)
    assert patch_set.max_value == 4095
    assert any("4095 of 65535 is taken as the brightest, as the files state it" in note for note in notes)
    with pytest.raises(DataError, match=r"0\.pgm states 4095 as its largest value, against --max-value 1023"):
        load(folder, max_value=1023)


def test_headers_that_differ_are_scaled_to_one_range(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films", suffix=".pgm", largest=1000)
    for path in folder.glob("*/*.pgm"):
        stated = b"1023" if path.stem == "0" else b"4095"
        path.write_bytes(path.read_bytes().replace(b"65535", stated, 1))
    patch_set, notes = load(folder)
    assert patch_set.max_value == 4095
    np.testing.assert_array_equal(patch_set.images[0], np.rint(noise(0, largest=1000) * (4095 / 1023)))
    assert "1 image of 12 is scaled to 4095 from the largest value that they state: 0.pgm" in notes


# ---- copies of a picture


def with_copies(folder: Path) -> Path:
    """24 images of 24 patients; two benign ones again as malignant, two again under another patient."""
    rows = ["file,patient"]
    for path in sorted(two_classes(folder, 24).glob("*/*.png")):
        rows.append(f"{path.name},p{path.stem}")
    for number in (0, 2):
        shutil.copy(folder / "benign" / f"{number}.png", folder / "malignant" / f"again{number}.png")
        shutil.copy(folder / "benign" / f"{number + 4}.png", folder / "benign" / f"other{number}.png")
        rows += [f"again{number}.png,p{number}", f"other{number}.png,q{number}"]
    (folder / "patients.csv").write_text("\n".join(rows))
    return folder


def test_copies_are_counted_and_two_labels_of_one_picture_named(tmp_path: Path) -> None:
    _, notes = load(with_copies(tmp_path / "films"))
    assert (
        "4 pictures are there more than once, in 8 of 28 images, such as benign/4.png and "
        "benign/other0.png; they are kept in one part, with all images of their patients"
    ) in notes
    assert (
        "WARNING: 2 pictures have two labels, such as benign/0.png and malignant/again0.png; one of each "
        "must be wrong"
    ) in notes


def test_patients_who_share_a_picture_are_one_group(tmp_path: Path) -> None:
    patch_set, _ = load(with_copies(tmp_path / "films"))
    again = open_patch_set(tmp_path / "store" / "data", patch_set.fingerprint)
    for one in (patch_set, again):
        rows = select_rows(one, TASK)
        pictures = [image.tobytes() for image in np.asarray(one.images)]
        groups = {picture: set[str]() for picture in pictures}
        for picture, group in zip(pictures, rows.groups.tolist(), strict=True):
            groups[picture].add(group)
        assert all(len(own) == 1 for own in groups.values())
        assert len(set(rows.groups.tolist())) == 24
    assert patch_set.patients is not None
    assert len(set(patch_set.patients.tolist())) == 26


def test_copies_without_patients_share_a_group(tmp_path: Path) -> None:
    images = np.stack([noise(number) for number in (0, 1, 2, 0, 1, 5)])
    patch_set, notes = load(npz(tmp_path, images=images))
    assert select_rows(patch_set, TASK).groups.tolist() == [
        "row-0",
        "row-1",
        "row-2",
        "row-0",
        "row-1",
        "row-5",
    ]
    assert any(
        "2 pictures are there more than once, in 4 of 6 images, such as row 0 and row 3" in n for n in notes
    )


def test_images_of_one_value_are_not_copies_of_each_other(tmp_path: Path) -> None:
    images = np.stack([noise(0), noise(1), *(np.full((8, 8), 255, np.uint8) for _ in range(4))])
    patch_set, notes = load(npz(tmp_path, images=images))
    assert patch_set.duplicate_of is None
    assert not any("more than once" in note for note in notes)


def test_training_images_that_are_in_the_test_part_are_left_out_and_named(tmp_path: Path) -> None:
    images = np.stack([noise(number) for number in (0, 1, 2, 3, 4, 0)])
    flags, patients = np.array([0, 0, 0, 0, 1, 1]), np.array(list("abcdef"))
    patch_set, notes = load(npz(tmp_path, images=images, is_test=flags, patient=patients))
    np.testing.assert_array_equal(patch_set.images, images[1:])
    assert np.asarray(patch_set.patients).tolist() == list("bcdef")
    assert np.asarray(patch_set.is_test).tolist() == [False] * 3 + [True] * 2
    assert patch_set.labels.tolist() == CLASSES[1:].tolist()
    assert patch_set.duplicate_of is None
    warning = (
        "WARNING: 1 image of the training part is in the test part too, such as row 0; left out of training"
    )
    assert any(note.startswith(warning) for note in notes)


def test_training_files_that_are_in_the_test_part_are_left_out(tmp_path: Path) -> None:
    two_classes(tmp_path / "films" / "train")
    for number in range(4):
        name = ("benign", "malignant")[number % 2]
        write(
            tmp_path / "films" / "test" / name / f"t{number}.png",
            noise(number if number < 2 else 90 + number),
        )
    patch_set, notes = load(tmp_path / "films")
    assert (len(patch_set.images), np.asarray(patch_set.is_test).sum()) == (14, 4)
    pictures = {image.tobytes() for image in np.asarray(patch_set.images)}
    assert pictures == {noise(number).tobytes() for number in (*range(12), 92, 93)}
    warning = (
        "WARNING: 2 images of the training part are in the test part too, such as train/benign/0.png; left"
    )
    assert any(note.startswith(warning) for note in notes)


def test_pairs_in_both_parts_are_refused(tmp_path: Path) -> None:
    images = np.stack([noise(number) for number in (0, 1, 2, 3, 0, 5)])
    flags = np.array([0, 0, 0, 0, 1, 1])
    with pytest.raises(
        DataError, match="1 image of the training part is in the test part too, such as row 0; leave"
    ):
        load(npz(tmp_path, images=images, labels=PISA, is_test=flags))


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("scale", [1, np.float32(255)])
def test_turned_and_mirrored_copies_are_copies(
    tmp_path: Path, quarters: int, mirrored: bool, scale: int | np.float32
) -> None:
    images = np.stack([noise(number) for number in range(6)])
    images = images if scale == 1 else images / scale
    turned = np.rot90(images[1], quarters)
    images[4] = turned[:, ::-1] if mirrored else turned
    patch_set, notes = load(npz(tmp_path, images=images))
    assert patch_set.duplicate_of is not None
    assert patch_set.duplicate_of.tolist() == [-1, -1, -1, -1, 1, -1]
    (note,) = (note for note in notes if "more than once" in note)
    assert ("(1 copy turned or mirrored)" in note) == (quarters > 0 or mirrored)


def test_images_with_the_same_values_elsewhere_are_no_copies(tmp_path: Path) -> None:
    images = np.stack([noise(number) for number in range(6)])
    images[4] = np.random.default_rng(0).permutation(images[1].ravel()).reshape(8, 8)
    assert load(npz(tmp_path, images=images))[0].duplicate_of is None


def test_a_copy_of_a_turned_copy_is_one_of_the_first_picture(tmp_path: Path) -> None:
    images = np.stack([noise(number) for number in range(6)])
    images[2] = images[4] = np.rot90(images[1])
    images[5] = images[1]
    survey = survey_images(images)
    assert survey.first_copy.tolist() == [0, 1, 1, 3, 1, 1]
    assert survey.is_turned.tolist() == [False, False, True, False, True, False]
    _, notes = load(npz(tmp_path, images=images))
    (note,) = (note for note in notes if "more than once" in note)
    assert note.startswith(
        "1 picture is there more than once, in 4 of 6 images (2 copies turned or mirrored)"
    )


def test_all_training_copies_of_a_picture_that_is_turned_in_the_test_part_are_left_out(
    tmp_path: Path,
) -> None:
    images = np.stack([noise(number) for number in range(6)])
    images[1] = images[5] = np.rot90(images[0])
    flags = np.array([0, 0, 0, 0, 1, 1])
    patch_set, _ = load(npz(tmp_path, images=images, is_test=flags))
    np.testing.assert_array_equal(patch_set.images, images[2:])
    assert patch_set.duplicate_of is None
