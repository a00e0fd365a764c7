"""DICOM files are read as a person is shown them, and what cannot be read is named."""

import struct
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import (
    LOSSLESS,
    LOSSY,
    PLANTED,
    PROCESSING,
    SECONDARY_CAPTURE,
    UNCOMPRESSED,
    codes,
    dicom,
    film,
    table,
    without_preamble,
)
from pydicom.uid import RLELossless

from trainables.data.dicom import decoding
from trainables.data.dicom.reading import DicomError, is_dicom, read_dicom, read_headers
from trainables.data.image_files import ImageFileError, decode_image

COLOUR = np.random.default_rng(1).integers(0, 256, (24, 32, 3)).astype(np.uint8)


@pytest.mark.parametrize("syntax", [*UNCOMPRESSED, RLELossless, *LOSSLESS])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_every_lossless_encoding_gives_the_pixels_that_were_stored(
    tmp_path: Path, syntax: str, bits: int
) -> None:
    image = film(bits=bits)
    read = read_dicom(dicom(tmp_path / "a.dcm", image, bits=bits, syntax=syntax))
    np.testing.assert_array_equal(read.pixels, image)
    assert (read.pixels.dtype, read.max_value, read.grey_from) == (image.dtype, 2**bits - 1, "stored")


@pytest.mark.parametrize("syntax", LOSSY)
def test_every_lossy_encoding_gives_nearly_the_pixels_that_were_stored(tmp_path: Path, syntax: str) -> None:
    bits = 8 if syntax.endswith(".50") else 12
    image = film(bits=bits, side=(128, 128))
    read = read_dicom(dicom(tmp_path / "a.dcm", image, bits=bits, syntax=syntax))
    assert read.pixels.dtype == image.dtype
    assert np.abs(read.pixels.astype(int) - image).mean() < 2**bits / 100


def test_every_syntax_that_is_read_is_tested() -> None:
    tested = {*UNCOMPRESSED, str(RLELossless), *LOSSLESS, *LOSSY}
    # Progression of HTJ2K is a matter of the encoder's order of packets, which its decoder reads alike.
    assert {*decoding.UNCOMPRESSED, *decoding._DECODERS} - tested == {"1.2.840.10008.1.2.4.202"}


@pytest.mark.parametrize("syntax", [UNCOMPRESSED[1], RLELossless, "1.2.840.10008.1.2.4.80"])
def test_frames_are_read_one_at_a_time(tmp_path: Path, syntax: str) -> None:
    image = np.stack([film(seed=seed) for seed in range(3)])
    path = dicom(tmp_path / "a.dcm", image, bits=12, syntax=syntax)
    for frame in range(3):
        np.testing.assert_array_equal(read_dicom(path, frame=frame).pixels, image[frame])
    with pytest.raises(DicomError, match=r"has 3 frame\(s\), numbered from 0; frame 3 is not there"):
        read_dicom(path, frame=3)
    with pytest.raises(ImageFileError, match="holds 3 frames; one image a file is needed"):
        decode_image(path)


def test_colour_is_read_as_red_green_and_blue(tmp_path: Path) -> None:
    for syntax in (UNCOMPRESSED[1], RLELossless):
        np.testing.assert_array_equal(
            read_dicom(dicom(tmp_path / "a.dcm", COLOUR, syntax=syntax)).pixels, COLOUR
        )
    planar = np.ascontiguousarray(np.moveaxis(COLOUR, -1, 0))
    path = dicom(tmp_path / "b.dcm", COLOUR, PlanarConfiguration=1, PixelData=planar.tobytes())
    np.testing.assert_array_equal(read_dicom(path).pixels, COLOUR)
    path = dicom(tmp_path / "c.dcm", COLOUR, PhotometricInterpretation="YBR_FULL")
    dataset = pydicom.dcmread(path)
    np.testing.assert_array_equal(read_dicom(path).pixels, dataset.pixel_array)


def test_monochrome1_is_turned_over_so_that_black_is_0(tmp_path: Path) -> None:
    image = film()
    read = read_dicom(dicom(tmp_path / "a.dcm", image, bits=12, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(read.pixels, 4095 - image)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_give_what_pydicom_gives(tmp_path: Path, function: str) -> None:
    image = film()
    path = dicom(
        tmp_path / "a.dcm",
        image,
        bits=12,
        WindowCenter=[2000.0, 900.0],
        WindowWidth=[1500.0, 100.0],
        VOILUTFunction=function,
    )
    read, dataset = read_dicom(path), pydicom.dcmread(path)
    expected = pydicom.pixels.apply_windowing(dataset.pixel_array, dataset)
    assert np.abs(read.pixels - expected).max() <= 0.5 + 1e-9
    assert (read.grey_from, read.max_value) == ("window", 4095)


def test_a_grey_table_goes_before_a_window_and_brings_its_own_depth(tmp_path: Path) -> None:
    image = film(bits=11)
    entries = np.linspace(0, 4095, 1405).astype(np.uint16)
    path = dicom(
        tmp_path / "a.dcm",
        image,
        bits=11,
        WindowCenter=1000.0,
        WindowWidth=500.0,
        VOILUTSequence=table(entries, first=300, bits=12),
    )
    read, dataset = read_dicom(path), pydicom.dcmread(path)
    expected = pydicom.pixels.apply_voi(dataset.pixel_array, dataset)
    np.testing.assert_array_equal(read.pixels, expected)
    assert (read.grey_from, read.max_value) == ("lut", 4095)


def test_rescaling_counts_in_a_window_and_keeps_the_stored_bits_without_one(tmp_path: Path) -> None:
    image = film()
    changes = {"RescaleSlope": 2.0, "RescaleIntercept": -1000.0}
    np.testing.assert_array_equal(
        read_dicom(dicom(tmp_path / "a.dcm", image, bits=12, **changes)).pixels, image
    )
    windowed = read_dicom(
        dicom(tmp_path / "b.dcm", image, bits=12, **changes, WindowCenter=1000.0, WindowWidth=1000.0)
    )
    real = image * 2.0 - 1000
    expected = np.clip((real - 999.5) / 999 + 0.5, 0, 1) * 4095
    assert np.abs(windowed.pixels - expected).max() <= 0.5 + 1e-9


def test_signed_values_begin_at_0(tmp_path: Path) -> None:
    image = (film().astype(np.int16) - 2048).astype(np.int16)
    read = read_dicom(dicom(tmp_path / "a.dcm", image, bits=12))
    np.testing.assert_array_equal(read.pixels, image + 2048)


def test_images_for_processing_are_refused_unless_asked_for(tmp_path: Path) -> None:
    path = dicom(
        tmp_path / "raw.dcm", film(), bits=12, SOPClassUID=PROCESSING, PresentationIntentType="FOR PROCESSING"
    )
    with pytest.raises(DicomError, match=r"raw\.dcm is FOR PROCESSING, .* take the FOR PRESENTATION image"):
        read_dicom(path)
    read = read_dicom(path, allow_for_processing=True)
    assert read.presentation == "processing"


def test_the_header_says_side_view_spacing_and_machine(tmp_path: Path) -> None:
    path = dicom(
        tmp_path / "a.dcm",
        film(),
        bits=12,
        ViewPosition="",
        ViewCodeSequence=codes("399260004"),
        ImagerPixelSpacing=[0.1, 0.1],
        EstimatedRadiographicMagnificationFactor=1.25,
        Manufacturer="LORAD, A Hologic Company",
        ManufacturerModelName="Selenia",
        PatientAge="061Y",
    )
    found = read_headers(path)
    assert (found.laterality, found.view, found.vendor, found.model) == ("L", "ML", "Hologic", "Selenia")
    assert found.spacing_mm == pytest.approx((0.08, 0.08))
    assert (found.age_years, found.kind, found.frames, found.presentation) == (
        61,
        "mammogram",
        1,
        "presentation",
    )


def test_ml_is_not_mlo_and_a_spot_view_is_told_apart(tmp_path: Path) -> None:
    ml = dicom(tmp_path / "a.dcm", film(), bits=12, ViewPosition="ML")
    spot = dicom(
        tmp_path / "b.dcm", film(), bits=12, ViewCodeSequence=codes("399162004", modifier="399055006")
    )
    assert (read_headers(ml).view, read_headers(ml).kind) == ("ML", "mammogram")
    assert read_headers(spot).kind == "spot view"


@pytest.mark.parametrize(
    ("described", "kind"),
    [
        ("full mammogram images", "film"),
        ("cropped images", "region"),
        ("ROI mask images", "mask"),
        ("anything", "secondary capture"),
    ],
)
def test_secondary_captures_are_told_apart(tmp_path: Path, described: str, kind: str) -> None:
    path = dicom(
        tmp_path / "a.dcm", film(), bits=12, SOPClassUID=SECONDARY_CAPTURE, SeriesDescription=described
    )
    assert read_headers(path).kind == kind


def test_tags_that_identify_a_person_are_named_without_their_values(tmp_path: Path) -> None:
    found = read_headers(dicom(tmp_path / "a.dcm", film(), bits=12, StudyDate="20200101", OperatorsName=""))
    assert found.identifying == ("PatientName", "PatientID", "StudyDate")
    assert PLANTED not in repr(found)


def test_dicom_is_known_by_its_content_with_and_without_a_preamble(tmp_path: Path) -> None:
    image = film()
    path = without_preamble(dicom(tmp_path / "MG1", image, bits=12))
    assert is_dicom(path)
    np.testing.assert_array_equal(read_dicom(path).pixels, image)
    for name, content in {"a.png": b"\x89PNG\r\n\x1a\n" + bytes(200), "b": b"", "c": b"\x08\x00"}.items():
        (tmp_path / name).write_bytes(content)
        assert not is_dicom(tmp_path / name)
    assert not is_dicom(tmp_path / "missing")
    assert not is_dicom(tmp_path)


@pytest.mark.parametrize("syntax", [UNCOMPRESSED[1], RLELossless, *LOSSLESS, *LOSSY])
def test_a_truncated_file_is_named_in_every_encoding(tmp_path: Path, syntax: str) -> None:
    bits = 8 if syntax.endswith(".50") else 12
    path = dicom(tmp_path / "cut.dcm", film(bits=bits, side=(128, 128)), bits=bits, syntax=syntax)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    with pytest.raises(DicomError, match=r"cut\.dcm (is truncated|cannot be read whole)"):
        read_dicom(path)


def test_a_file_cut_in_its_header_is_named(tmp_path: Path) -> None:
    path = dicom(tmp_path / "cut.dcm", film(), bits=12)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(DicomError, match=r"cut\.dcm (holds no image|has no pixel data|cannot be read)"):
        read_dicom(path)


def test_missing_pixel_data_is_named(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", film(), bits=12, PixelData=None)
    with pytest.raises(DicomError, match=r"a\.dcm has no pixel data; remove it, or fetch the image"):
        read_dicom(path)
    path = dicom(tmp_path / "b.dcm", film(), bits=12, PixelData=None, Rows=None, Columns=None, Modality="SR")
    with pytest.raises(DicomError, match=r"b\.dcm holds no image \(SR\); leave it out"):
        read_dicom(path)


def test_an_encoding_without_a_decoder_is_named(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", film(), bits=12)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
    dataset.PixelData = pydicom.encaps.encapsulate([b"\0\0"])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    with pytest.raises(DicomError, match=r"is encoded as MPEG2 .*, for which there is no decoder"):
        read_dicom(path)


def test_damaged_lossless_jpeg_is_noticed_though_its_decoder_says_nothing(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", film(side=(128, 128)), bits=12, syntax="1.2.840.10008.1.2.4.70")
    content = bytearray(path.read_bytes())
    middle = len(content) * 3 // 4
    content[middle : middle + 40] = b"\xff\x00" * 20  # the longest code, which no table holds
    path.write_bytes(bytes(content))
    with pytest.raises(DicomError, match=r"is damaged: two decoders disagree|is truncated or damaged"):
        read_dicom(path)


def test_an_image_60000_pixels_wide_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = dicom(tmp_path / "wide.dcm", film(), bits=12, Columns=60000, Rows=60000)
    with pytest.raises(DicomError, match=r"states 60000x60000 pixels, more than 179 million; cut it"):
        read_dicom(path)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.90"])
def test_a_compressed_image_larger_than_its_header_says_is_not_decoded(tmp_path: Path, syntax: str) -> None:
    bomb = bytes(LOSSLESS[syntax](film(side=(512, 512))))
    path = dicom(tmp_path / "bomb.dcm", film(), bits=12, syntax=syntax, encoded=[bomb])
    with pytest.raises(
        DicomError, match=r"states 64x96 pixels, but its compressed image has 512x512; leave it out"
    ):
        read_dicom(path)


def test_a_deflated_bomb_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = dicom(tmp_path / "bomb.dcm", np.zeros((1024, 1024), np.uint16), syntax=UNCOMPRESSED[3])
    read_dicom(path)
    monkeypatch.setattr("trainables.data.dicom.decoding._LARGEST_INFLATED", 1 << 20)
    with pytest.raises(DicomError, match=r"bomb\.dcm grows beyond .* when it is inflated"):
        read_dicom(path)


def test_values_beyond_the_stated_bits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DicomError, match=r"holds values from .* to 4095, which 10 stored bits cannot hold"):
        read_dicom(dicom(tmp_path / "a.dcm", film(), bits=10))


def test_zip_archives_are_named_as_such(tmp_path: Path) -> None:
    for flag, said in ((1, "an encrypted zip archive"), (0, "a zip archive")):
        path = tmp_path / "films.png"
        path.write_bytes(b"PK\x03\x04" + struct.pack("<HH", 20, flag) + bytes(40))
        with pytest.raises(ImageFileError, match=f"is {said}; unpack it first"):
            decode_image(path)


def test_odd_values_in_a_header_cost_nothing_and_warn_nobody(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", film(), bits=12)
    dataset = pydicom.dcmread(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.add_new("PatientAge", "AS", "oldish")
        dataset.add_new("WindowCenter", "DS", "")
        dataset.add_new("PatientBirthDate", "DA", "yesterday")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(path)
    read = read_dicom(path)
    assert (read.age_years, read.grey_from) == (None, "stored")
