"""Small DICOM mammograms of generated patients, whose headers hold names that must not come through."""

import csv
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

PLANTED = ("Zyxwvut", "Quibbleton", "19470213", "ClinicOfNowhere", "DrPlanted", "PID-PLANTED")
_MAMMOGRAPHY = "1.2.840.10008.5.1.4.1.1.1.2"  # Digital Mammography X-Ray Image Storage, for presentation


def film(number: int, *, is_malignant: bool, side: str, size: tuple[int, int] = (96, 64)) -> np.ndarray:
    """A breast at one side of a black film of 12 bits; malignant ones hold a bright spot."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    reach = 0.75 * width * np.sqrt(np.clip(1 - ((rows - height / 2) / (0.48 * height)) ** 2, 0, 1))
    noise = np.random.default_rng(number).integers(0, 300, size)
    image = np.where(columns < reach, 1500 + noise, 0)
    if is_malignant:
        image[height // 2 - 8 : height // 2 + 8, width // 5 : width // 5 + 14] += 2000
    return np.clip(image if side == "L" else image[:, ::-1], 0, 4095).astype(np.uint16)


def write_dicom(path: Path, pixels: np.ndarray, *, patient: str, side: str, view: str, study: str) -> str:
    """Write one image with a header that names its patient; returns its SOPInstanceUID."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = _MAMMOGRAPHY
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path.name), study])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = _MAMMOGRAPHY, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.PresentationIntentType = "MG", "FOR PRESENTATION"
    dataset.PatientName, dataset.PatientID = f"{PLANTED[1]}^{PLANTED[0]}", f"{PLANTED[5]}-{patient}"
    dataset.PatientBirthDate, dataset.InstitutionName = PLANTED[2], PLANTED[3]
    dataset.ReferringPhysicianName, dataset.StudyInstanceUID = PLANTED[4], study
    dataset.ImageLaterality, dataset.ViewPosition = side, view
    dataset.ImagerPixelSpacing, dataset.Manufacturer = [0.7, 0.7], "HOLOGIC, Inc."
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return str(dataset.SOPInstanceUID)


def write_tree(folder: Path, patients: int = 12) -> Path:
    """A tree of two views a patient with `labels.csv`; patients and examinations stand in the headers."""
    rows = []
    for number in range(patients):
        side, is_malignant = "LR"[number % 2], number % 4 > 1
        for view in ("CC", "MLO"):
            file = Path(f"exam {number}") / f"Aufnahme ä {view}.dcm"
            pixels = film(10 * number + len(view), is_malignant=is_malignant, side=side)
            study = f"1.2.826.0.1.{number + 1}"
            write_dicom(folder / file, pixels, patient=str(number), side=side, view=view, study=study)
            rows.append((file.as_posix(), "malignant" if is_malignant else "benign", 50 + number))
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as table:
        csv.writer(table).writerows([("file", "label", "age_years"), *rows])
    return folder
