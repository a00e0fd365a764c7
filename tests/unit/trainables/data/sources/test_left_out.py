"""What is not read from a folder is counted and named; what cannot be told apart from images is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from dicom_files import dicom, film
from source_files import load, noise, two_classes, write

from trainables.common.errors import DataError
from trainables.data.sources.companions import sort_out


def masked(folder: Path, form: str) -> Path:
    """Class folders in which each image has a mask beside it."""
    for path in list(two_classes(folder).glob("*/*.png")):
        plain = path.with_name(f"{path.parent.name} ({path.stem}).png")
        path.rename(plain)
        mask = (noise(1000 + int(path.stem)) > 128).astype(np.uint8) * 255
        write(plain.with_name(f"{form.format(stem=plain.stem)}.png"), mask)
    return folder


@pytest.mark.parametrize(
    "form",
    [
        "{stem}_mask",
        "{stem}_mask_1",
        "{stem}-Mask2",
        "mask_{stem}",
        "{stem} segmentation",
        "{stem}_GT",
        "{stem}.roi",
        "{stem}_tumor_mask",
        "{stem}_overlay",
        "{stem}_ground_truth",
        "{stem}Contour",
    ],
)
def test_companions_of_an_image_are_left_out_and_counted(tmp_path: Path, form: str) -> None:
    patch_set, notes = load(masked(tmp_path / "busi", form))
    assert len(patch_set.images) == 12
    assert any(
        "left out as masks or other companions of an image: 12, such as benign/" in note for note in notes
    )


def test_images_whose_names_hold_such_words_stay_images() -> None:
    files = [
        Path("roi_1.png"),
        Path("roi_2.png"),
        Path("P1_label.png"),
        Path("camera 1.png"),
        Path("unmasked.png"),
    ]
    assert sort_out(files).images == tuple(files)


def test_a_mask_without_its_image_is_refused_and_named(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films")
    write(folder / "benign" / "lost_mask.png", noise(99))
    with pytest.raises(
        DataError, match=r"1 file may be masks or second copies .*: benign/lost_mask\.png; move"
    ):
        load(folder)


def test_one_name_in_two_formats_is_refused(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films")
    write(folder / "benign" / "0.bmp", noise(99))
    with pytest.raises(
        DataError, match=r"2 files may be masks or second copies .*: benign/0\.bmp, benign/0\.png"
    ):
        load(folder)


def test_a_folder_of_masks_is_left_out_and_named(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films")
    shutil.copytree(folder / "benign", folder / "masks")
    patch_set, notes = load(folder)
    assert len(patch_set.images) == 12
    assert "left out as 1 folder of masks or other companions of images in films: masks" in notes


def test_images_of_two_values_are_named_as_possible_masks(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films")
    write(folder / "benign" / "shape.png", (noise(7) > 100).astype(np.uint8) * 255)
    note = "1 image of 13 is of two values only, as masks are; leave them out if they are masks: shape.png"
    assert note in load(folder)[1]


def test_links_that_lead_nowhere_are_refused_with_their_count(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films", 24)
    for path in sorted((folder / "malignant").iterdir())[:7]:
        path.unlink()
        path.symlink_to("../.git/annex/objects/gone")
    with pytest.raises(
        DataError, match=r"7 of 12 images in .*malignant are links .* such as 1\.png to .*annex"
    ):
        load(folder)


def test_a_class_folder_that_is_a_link_to_nowhere_is_refused(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films")
    shutil.rmtree(folder / "malignant")
    (folder / "malignant").symlink_to("/mnt/unmounted/malignant")
    with pytest.raises(
        DataError, match="malignant is a link to /mnt/unmounted/malignant, which is not there"
    ):
        load(folder)


def test_a_class_folder_may_be_a_link(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films")
    (folder / "malignant").rename(tmp_path / "elsewhere")
    (folder / "malignant").symlink_to(tmp_path / "elsewhere")
    assert len(load(folder)[0].images) == 12


def test_images_deeper_beside_and_hidden_are_counted_and_one_is_named(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films")
    write(folder / "benign" / "more" / "x.png", noise(50))
    write(folder / "benign" / "more" / "y.png", noise(51))
    write(folder / "beside.png", noise(52))
    write(folder / "benign" / ".hidden.png", noise(53))
    (folder / "benign" / ".DS_Store").write_text("")
    patch_set, notes = load(folder)
    assert len(patch_set.images) == 12
    assert (
        "images left out, since they lie deeper than the class folders: 2, such as benign/more/x.png" in notes
    )
    assert "images left out, since they lie beside the class folders: 1, such as beside.png" in notes
    assert "images left out, since they are hidden or system files: 1, such as benign/.hidden.png" in notes
    assert (
        "files left out, since their names do not end as those of DICOM, PNG, JPEG, TIFF, PGM or BMP images "
        "do: 1, such as benign/.DS_Store"
    ) in notes


def test_class_folders_whose_images_lie_deeper_are_refused_with_the_way_out(tmp_path: Path) -> None:
    for number in range(8):
        name = ("benign", "malignant")[number % 2]
        write(tmp_path / "films" / name / f"P{number}" / "a.png", noise(number))
    with pytest.raises(
        DataError, match=r"must hold .* images itself; 4 lie deeper, such as benign/P0/a\.png"
    ):
        load(tmp_path / "films")


def test_dicom_files_are_read_as_other_images_are(tmp_path: Path) -> None:
    for number in range(12):
        name = ("benign", "malignant")[number % 2]
        dicom(tmp_path / "films" / name / f"{number}.DCM", film(seed=number), bits=12)
    patch_set, _ = load(tmp_path / "films")
    assert (patch_set.images.shape, patch_set.max_value) == ((12, 96, 64), 4095)
    np.testing.assert_array_equal(patch_set.images[0], film(seed=0))


def test_a_damaged_dicom_file_is_named(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films")
    (folder / "benign" / "film.DCM").write_bytes(b"")
    with pytest.raises(DataError, match=r"film\.DCM"):
        load(folder)


def test_an_only_folder_around_the_class_folders_is_entered_and_said(tmp_path: Path) -> None:
    two_classes(tmp_path / "archive" / "Dataset_BUSI_with_GT")
    patch_set, notes = load(tmp_path / "archive")
    assert (len(patch_set.images), patch_set.patients) == (12, None)
    assert notes[0] == "Dataset_BUSI_with_GT is the only folder in archive, so the folders in it are read"


def test_files_of_other_image_formats_are_named(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films")
    (folder / "benign" / "a.webp").write_bytes(b"")
    warning = "WARNING: 1 of the files left out may be images, such as benign/a.webp; save them as PNG"
    assert any(note.startswith(warning) for note in load(folder)[1])


def test_what_an_archive_of_a_mac_brings_is_counted(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films")
    write(folder / "__MACOSX" / "benign" / "a.png", noise(50))
    (folder / "Thumbs.db").write_text("")
    patch_set, notes = load(folder)
    assert len(patch_set.images) == 12
    note = "images left out, since they are hidden or system files: 1, such as __MACOSX/benign/a.png"
    assert note in notes


def test_folders_of_images_and_of_masks_side_by_side_are_told_apart(tmp_path: Path) -> None:
    two_classes(tmp_path / "films" / "images")
    shutil.copytree(tmp_path / "films" / "images", tmp_path / "films" / "masks")
    patch_set, notes = load(tmp_path / "films")
    assert (len(patch_set.images), patch_set.patients) == (12, None)
    assert "left out as 1 folder of masks or other companions of images in films: masks" in notes


def warnings(folder: Path) -> list[str]:
    return [note for note in load(folder)[1] if note.startswith("WARNING")]


def in_patients(folder: Path) -> Path:
    for number in range(12):
        write(folder / f"P{number:02}" / "benign" / f"{number}.png", noise(number))
        write(folder / f"P{number:02}" / "malignant" / f"{number}.png", noise(100 + number))
    return folder


def test_images_of_folders_that_are_not_read_are_counted_and_one_is_named(tmp_path: Path) -> None:
    folder = in_patients(tmp_path / "films")
    write(folder / "benign" / "a.png", noise(50))
    write(folder / "malignant" / "b.png", noise(51))
    write(folder / "Q0" / "img.png", noise(52))
    (warning,) = warnings(folder)
    assert warning == (
        "WARNING: images left out, since they lie in folders that are not read as class folders and hold "
        "none: 3, such as Q0/img.png; lay them out as the others to have them read"
    )


def test_a_patient_with_a_deeper_folder_is_no_copy_of_its_neighbours(tmp_path: Path) -> None:
    folder = in_patients(tmp_path / "films")
    write(folder / "benign" / "a.png", noise(50))
    write(folder / "malignant" / "b.png", noise(51))
    write(folder / "P03" / "benign" / "more" / "c.png", noise(52))
    patch_set, notes = load(folder)
    assert len(patch_set.images) == 24
    assert not any("nested copy" in note for note in notes)


def test_a_nested_copy_is_not_counted_twice(tmp_path: Path) -> None:
    folder = in_patients(tmp_path / "films")
    for number in range(4):
        shutil.copytree(folder / f"P{number:02}", folder / "films" / f"P{number:02}")
    patch_set, notes = load(folder)
    assert (len(patch_set.images), warnings(folder)) == (24, [])
    assert "films is a nested copy of its neighbours and was left out" in notes


@pytest.mark.parametrize("name", ["P.12", "1.2.840.113619"])
def test_a_folder_with_a_dot_in_its_name_that_is_a_link_to_nowhere_is_refused(
    tmp_path: Path, name: str
) -> None:
    folder = in_patients(tmp_path / "films")
    (folder / name).symlink_to("/mnt/unmounted")
    with pytest.raises(DataError, match="is a link to /mnt/unmounted, which is not there; mount or fetch it"):
        load(folder)


def test_links_of_other_files_that_lead_nowhere_are_counted(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films")
    (folder / "benign" / "notes.txt").symlink_to("gone")
    (warning,) = warnings(folder)
    assert warning.startswith(
        "WARNING: 1 of the files left out are links that lead nowhere, such as benign/no"
    )


def test_a_link_to_itself_is_refused_as_one_that_leads_nowhere(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films")
    (folder / "benign" / "x.png").symlink_to("x.png")
    with pytest.raises(
        DataError, match=r"links to files that are not there, such as x\.png to x\.png; fetch"
    ):
        load(folder)


def test_dicom_files_without_an_ending_are_named_as_images(tmp_path: Path) -> None:
    for number in range(12):
        name = ("benign", "malignant")[number % 2]
        file = dicom(tmp_path / "films" / name / f"{number}.dcm", film(seed=number), bits=12)
        if number in (3, 5):
            file.rename(file.with_name(f"IM000{number}"))
    (warning,) = warnings(tmp_path / "films")
    assert warning.startswith(
        "WARNING: 2 of the files left out are images by their content, such as malignant/IM0003; end their"
    )


def test_a_class_folder_of_images_without_an_ending_says_so(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films")
    for path in (folder / "benign").iterdir():
        path.rename(path.with_suffix(""))
    with pytest.raises(DataError, match=r"benign must hold .* 6 are images by their content, such as 0: end"):
        load(folder)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        *[(f"a{ending}", "may be images") for ending in (".jp2", ".tga", ".svs", ".tif.dvc", ".png~")],
        *[(f"a{ending}", "are archives") for ending in (".zip", ".tar", ".png.gz", ".dcm.gz")],
    ],
)
def test_what_may_hold_images_is_named(tmp_path: Path, name: str, what: str) -> None:
    folder = two_classes(tmp_path / "films")
    (folder / "benign" / name).write_bytes(b"x")
    (warning,) = warnings(folder)
    assert warning.startswith(f"WARNING: 1 of the files left out {what}, such as benign/{name};")


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".bmp", ".pgm"])
@pytest.mark.parametrize("given", ["", ".PNG (1)", ".jpe"])
def test_images_of_another_ending_are_known_by_their_content(tmp_path: Path, ending: str, given: str) -> None:
    folder = two_classes(tmp_path / "films")
    write(folder / "benign" / f"a{ending}", noise(50))
    (folder / "benign" / f"a{ending}").rename(folder / "benign" / f"a{given}")
    (warning,) = warnings(folder)
    assert warning.startswith(
        "WARNING: 1 of the files left out are images by their content, such as benign/a"
    )


def test_text_is_taken_for_no_image(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films")
    for name, text in (("a.txt", "BMI of each woman"), ("b.csv", "P2;P3\n"), ("c.json", "{}"), ("d.md", "")):
        (folder / "benign" / name).write_text(text)
    assert warnings(folder) == []
