"""Small DICOM files with what real ones hold: every encoding, several depths, tables, windows and traps."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless, generate_uid

PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.2"
PROCESSING = "1.2.840.10008.5.1.4.1.1.1.2.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
PLANTED = "Planted^Person"

# Lossless transfer syntaxes that need no more than imagecodecs to be written -> its encoder.
LOSSLESS: dict[str, Callable[[np.ndarray], bytes]] = {
    "1.2.840.10008.1.2.4.57": lambda image: imagecodecs.jpeg8_encode(
        image, lossless=True, bitspersample=image.itemsize * 8
    ),
    "1.2.840.10008.1.2.4.70": lambda image: imagecodecs.jpeg8_encode(
        image, lossless=True, bitspersample=image.itemsize * 8
    ),
    "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_encode,
    "1.2.840.10008.1.2.4.90": lambda image: imagecodecs.jpeg2k_encode(
        image, level=0, reversible=True, codecformat="j2k"
    ),
    "1.2.840.10008.1.2.4.201": imagecodecs.htj2k_encode,
}
LOSSY: dict[str, Callable[[np.ndarray], bytes]] = {
    "1.2.840.10008.1.2.4.50": lambda image: imagecodecs.jpeg8_encode(image, level=95),
    "1.2.840.10008.1.2.4.51": lambda image: imagecodecs.jpeg8_encode(image, level=95, bitspersample=12),
    "1.2.840.10008.1.2.4.81": lambda image: imagecodecs.jpegls_encode(image, level=2),
    "1.2.840.10008.1.2.4.91": lambda image: imagecodecs.jpeg2k_encode(image, level=75, codecformat="j2k"),
    "1.2.840.10008.1.2.4.203": lambda image: imagecodecs.htj2k_encode(image, reversible=False),
}
UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")


def film(*, bits: int = 12, side: tuple[int, int] = (96, 64), seed: int = 0) -> np.ndarray:
    """A dark film with a bright half disc at its left edge: smooth tissue, and the largest value in it."""
    rows, columns = np.mgrid[: side[0], : side[1]]
    distance = np.hypot((rows - side[0] / 2) / (0.4 * side[0]), columns / (0.7 * side[1]))
    noise = np.random.default_rng(seed).random(side)
    image = np.where(distance < 1, 0.55 + 0.2 * (1 - distance) + 0.1 * noise, 0.02 * noise)
    values = np.rint(image * (2**bits - 1)).astype(np.uint8 if bits <= 8 else np.uint16)
    values[side[0] // 2, 2] = 2**bits - 1
    return values


def header(
    image: np.ndarray, *, bits: int | None = None, syntax: str = ExplicitVRLittleEndian
) -> FileDataset:
    """A mammogram's header for an image, without its pixels; shape (H, W), (H, W, 3) or (frames, H, W)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = PRESENTATION
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(image.shape), syntax, str(bits)])
    meta.TransferSyntaxUID = UID(syntax)
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = PRESENTATION, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["series"])
    dataset.Modality, dataset.PatientName, dataset.PatientID = "MG", PLANTED, "planted-id"
    dataset.PresentationIntentType, dataset.ImageLaterality, dataset.ViewPosition = (
        "FOR PRESENTATION",
        "L",
        "MLO",
    )
    is_colour = image.ndim == 3 and image.shape[-1] == 3
    shape = image.shape[:2] if is_colour else image.shape[-2:]
    dataset.Rows, dataset.Columns = shape
    dataset.SamplesPerPixel = 3 if is_colour else 1
    dataset.PhotometricInterpretation = "RGB" if is_colour else "MONOCHROME2"
    if is_colour:
        dataset.PlanarConfiguration = 0
    if image.ndim == 3 and not is_colour:
        dataset.NumberOfFrames = len(image)
    dataset.BitsAllocated = image.itemsize * 8
    dataset.BitsStored = bits or image.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(image.dtype.kind == "i")
    return dataset


def frames_of(image: np.ndarray) -> list[np.ndarray]:
    return list(image) if image.ndim == 3 and image.shape[-1] != 3 else [image]


def dicom(
    path: Path,
    image: np.ndarray,
    *,
    bits: int | None = None,
    syntax: str = ExplicitVRLittleEndian,
    encoded: list[bytes] | None = None,
    **changes: Any,
) -> Path:
    """Write an image as a DICOM file.

    Args:
        path: File to write; its folders are made.
        image: Stored values.
        bits: Bits stored; None for those of the type.
        syntax: UID of the transfer syntax.
        encoded: Compressed frames; None to encode the image.
        changes: Attribute -> value, or None to leave it out.
    """
    dataset = header(image, bits=bits, syntax=syntax)
    if syntax in UNCOMPRESSED:
        kind = image.dtype.newbyteorder(">" if syntax == "1.2.840.10008.1.2.2" else "<")
        content = image.astype(kind).tobytes()
        dataset.PixelData = content + b"\0" * (len(content) % 2)
        dataset["PixelData"].VR = "OB" if image.itemsize == 1 else "OW"
    else:
        frames = encoded or [compressed(frame, dataset, syntax) for frame in frames_of(image)]
        dataset.PixelData = encapsulate(frames)
        dataset["PixelData"].is_undefined_length = True
        dataset["PixelData"].VR = "OB"
    for name, value in changes.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A data set made in memory may be written in any order of bytes; `save_as` refuses the other one.
    dcmwrite(path, dataset, enforce_file_format=True)
    return path


def compressed(frame: np.ndarray, dataset: Dataset, syntax: str) -> bytes:
    if syntax == RLELossless:
        return get_encoder(RLELossless).encode(
            np.ascontiguousarray(frame).tobytes(), **_rle_description(frame, dataset)
        )
    return bytes((LOSSLESS | LOSSY)[syntax](frame))


def _rle_description(frame: np.ndarray, dataset: Dataset) -> dict[str, Any]:
    names = {
        "rows": "Rows",
        "columns": "Columns",
        "samples_per_pixel": "SamplesPerPixel",
        "bits_allocated": "BitsAllocated",
        "bits_stored": "BitsStored",
        "pixel_representation": "PixelRepresentation",
        "photometric_interpretation": "PhotometricInterpretation",
    }
    found = {key: dataset.get(name) for key, name in names.items()}
    return found | {"number_of_frames": 1, "planar_configuration": 0}


def table(entries: np.ndarray, *, first: int = 0, bits: int = 8) -> Sequence:
    """A grey table as one item of a sequence."""
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    item.LUTData = entries.tolist()
    item.LUTExplanation = "NORMAL"
    item["LUTDescriptor"].VR = "US"
    item["LUTData"].VR = "US"
    return Sequence([item])


def codes(value: str, *, modifier: str | None = None) -> Sequence:
    """A sequence of one code, with a modifier of the view where one is given."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", "as coded"
    if modifier is not None:
        item.ViewModifierCodeSequence = codes(modifier)
    return Sequence([item])


def without_preamble(path: Path) -> Path:
    """Rewrite a file as the oldest programs wrote it: its elements alone, in implicit little endian."""
    dataset = dcmread(path)
    raw = io.BytesIO()
    plain = Dataset()
    plain.update({element.tag: element for element in dataset})
    plain.save_as(raw, implicit_vr=True, little_endian=True, enforce_file_format=False)
    path.write_bytes(raw.getvalue())
    return path
