"""Files that the trees are made of: pictures, DICOM, tables and workbooks; pixels follow from names."""

import csv
import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import cv2
import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
MAMMOGRAM = "1.2.840.10008.5.1.4.1.1.1.2"


def pixels(name: str, height: int = 64, width: int = 48, *, largest: int = 255) -> np.ndarray:
    """Pixels that follow from a name: a bright half ellipse on black, as a breast is."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    rows, columns = np.mgrid[:height, :width]
    inside = ((rows / height - 0.5) / 0.45) ** 2 + (columns / width / 0.8) ** 2 < 1
    noise = np.random.default_rng(seed).integers(largest // 4, largest + 1, (height, width))
    return (noise * inside).astype(np.uint8 if largest < 256 else np.uint16)


def mask(height: int = 64, width: int = 48) -> np.ndarray:
    """A mask of a region: 0 and 255."""
    found = np.zeros((height, width), np.uint8)
    found[height // 4 : height // 2, width // 4 : width // 2] = 255
    return found


def picture(file: Path, image: np.ndarray | None = None) -> Path:
    """Write a picture, from its name if no pixels are given."""
    file.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(file.suffix, pixels(file.name) if image is None else image)[1]
    file.write_bytes(encoded.tobytes())  # cv2.imwrite refuses some names
    return file


def dicom(file: Path, image: np.ndarray | None = None, **attributes: object) -> Path:
    """Write a DICOM file, a digital mammogram unless said otherwise."""
    image = pixels(str(file), largest=4095) if image is None else image
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = str(attributes.get("SOPClassUID", MAMMOGRAM))
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(file)])
    found = FileDataset(str(file), {}, file_meta=meta, preamble=b"\0" * 128)
    found.SOPClassUID, found.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    found.Modality, found.PhotometricInterpretation, found.SamplesPerPixel = "MG", "MONOCHROME2", 1
    found.Rows, found.Columns = image.shape
    found.BitsAllocated = found.BitsStored = image.dtype.itemsize * 8
    found.HighBit, found.PixelRepresentation = found.BitsStored - 1, 0
    for name, value in attributes.items():
        setattr(found, name, value)
    found.PixelData = image.tobytes()
    file.parent.mkdir(parents=True, exist_ok=True)
    found.save_as(file, enforce_file_format=True)
    return file


def table(
    file: Path, rows: Sequence[Mapping[str, object]], *, delimiter: str = ",", bom: bool = False
) -> Path:
    """Write a CSV with CRLF, as most of the published ones have."""
    file.parent.mkdir(parents=True, exist_ok=True)
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    file.write_bytes(out.getvalue().encode("utf-8-sig" if bom else "utf-8"))
    return file


def workbook(file: Path, rows: Sequence[Sequence[object]]) -> Path:
    """Write an XLSX workbook of one sheet, with shared texts and numbers; empty cells are left out."""
    texts: list[str] = []
    lines = []
    for number, row in enumerate(rows, start=1):
        cells = "".join(_cell(chr(65 + place), number, value, texts) for place, value in enumerate(row))
        lines.append(f'<row r="{number}">{cells}</row>')
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    shared = "".join(f"<si><t>{escape(text)}</t></si>" for text in texts)
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as book:
        sheet = f"<worksheet {space}><sheetData>{''.join(lines)}</sheetData></worksheet>"
        book.writestr("xl/worksheets/sheet1.xml", sheet)
        book.writestr("xl/sharedStrings.xml", f"<sst {space}>{shared}</sst>")
    return file


def _cell(column: str, row: int, value: object, texts: list[str]) -> str:
    if value in (None, ""):
        return ""
    if isinstance(value, (int, float)):
        return f'<c r="{column}{row}"><v>{value}</v></c>'
    texts.append(str(value))
    return f'<c r="{column}{row}" t="s"><v>{len(texts) - 1}</v></c>'
