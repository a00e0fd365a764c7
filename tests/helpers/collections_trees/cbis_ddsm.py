"""CBIS-DDSM as TCIA's DICOM and as Kaggle's JPEG edition, with the traps counted on the real tables.

Quoted line breaks, `breast density` and `breast_density`, crop and mask swapped by name, a mask of another
size, two abnormalities on a film, a woman with a mass and a calcification, one in training and test.
"""

from pathlib import Path

import numpy as np

from collections_trees.files import SECONDARY_CAPTURE, dicom, mask, picture, pixels, table

NAME, EXAMPLES, PROBLEMS = "cbis-ddsm", 7, 1
COLUMN = ("mass_case_description_train_set.csv", "pathology")
_HEIGHT, _WIDTH = 96, 64
_ROWS = (
    # kind, part, patient, side, view, number, pathology, crop is named first
    ("Mass", "Training", "P_00001", "LEFT", "CC", 1, "MALIGNANT", True),
    ("Mass", "Training", "P_00001", "LEFT", "MLO", 1, "MALIGNANT", False),
    ("Mass", "Training", "P_00004", "RIGHT", "CC", 1, "BENIGN", True),
    ("Mass", "Training", "P_00004", "RIGHT", "CC", 2, "MALIGNANT", True),
    ("Calc", "Training", "P_00004", "RIGHT", "CC", 1, "BENIGN_WITHOUT_CALLBACK", True),
    ("Calc", "Training", "P_00005", "LEFT", "CC", 1, "BENIGN", True),  # in the test part of masses too
    ("Mass", "Test", "P_00005", "LEFT", "CC", 1, "BENIGN", True),
    ("Calc", "Test", "P_00038", "LEFT", "CC", 1, "BENIGN", False),
    ("Calc", "Test", "P_00038", "LEFT", "MLO", 1, "BENIGNN", False),  # an unknown word
)


def build(folder: Path) -> None:
    """TCIA's download with its first names of files."""
    tables(folder)
    for kind, part, patient, side, view, number, _, crop_first in _ROWS:
        film = f"{kind}-{part}_{patient}_{side}_{view}"
        whole = folder / "CBIS-DDSM" / film / _uid(film, 1) / _uid(film, 2) / "000000.dcm"
        if not whole.exists():
            _dicom(whole, film, "full mammogram images", pixels(film, _HEIGHT, _WIDTH, largest=65535))
        series = folder / "CBIS-DDSM" / f"{film}_{number}" / _uid(film, 3) / _uid(film, number + 3)
        crop, outline = ("000000.dcm", "000001.dcm") if crop_first else ("000001.dcm", "000000.dcm")
        _dicom(series / crop, f"{film}_{number}", "cropped images", pixels(film, 24, 24, largest=65535))
        _dicom(series / outline, f"{film}_{number}", "ROI mask images", _mask(patient))


def build_kaggle(folder: Path) -> None:
    """The JPEG edition: folders are series, and `dicom_info.csv` says what each picture is."""
    tables(folder / "csv")
    info = []
    for kind, part, patient, side, view, number, _, _ in _ROWS:
        film = f"{kind}-{part}_{patient}_{side}_{view}"
        pictures = [(film, "full mammogram images", pixels(film, _HEIGHT, _WIDTH), _uid(film, 2))]
        pictures += [
            (f"{film}_{number}", "cropped images", pixels(film, 24, 24), _uid(film, number + 3)),
            (f"{film}_{number}", "ROI mask images", mask(_HEIGHT, _WIDTH), _uid(film, number + 3)),
        ]
        for place, (name, described, image, series) in enumerate(pictures):
            file = folder / "jpeg" / series / f"{place + 1}-{200 + place}.jpg"
            if not file.exists():
                picture(file, image)
                info.append(_info(file, name, described if patient != "P_00038" else "", image))
    table(folder / "csv" / "dicom_info.csv", info)


def build_nbia(folder: Path) -> None:
    """A later download of TCIA: other names of folders, files 1-1.dcm and 1-2.dcm, and `metadata.csv`."""
    tables(folder)
    rows = []
    for kind, part, patient, side, view, number, _, crop_first in _ROWS:
        film = f"{kind}-{part}_{patient}_{side}_{view}"
        place = f"{_uid(film, 1)[-12:]}/1.000000-full mammogram images-{_uid(film, 2)[-5:]}"
        whole = folder / place / "1-1.dcm"
        if not whole.exists():
            _dicom(whole, film, "full mammogram images", pixels(film, _HEIGHT, _WIDTH, largest=65535))
            rows.append({"Subject ID": film, "File Location": ".\\CBIS\\" + place.replace("/", "\\")})
        place = f"{_uid(film, 3)[-12:]}/1.000000-ROI mask images-{_uid(film, number + 3)[-5:]}"
        crop, outline = ("1-1.dcm", "1-2.dcm") if crop_first else ("1-2.dcm", "1-1.dcm")
        name = f"{film}_{number}"
        _dicom(folder / place / crop, name, "", pixels(film, 24, 24, largest=65535))
        _dicom(folder / place / outline, name, "", _mask(patient))
        rows.append({"Subject ID": name, "File Location": ".\\CBIS\\" + place.replace("/", "\\")})
    table(folder / "metadata.csv", rows)


def tables(folder: Path) -> None:
    """The four case tables, with the quoted line breaks of the published ones."""
    for kind in ("Mass", "Calc"):
        for part in ("Training", "Test"):
            rows = [_row(row) for row in _ROWS if row[:2] == (kind, part)]
            name = f"{kind.lower()}_case_description_{'train' if part == 'Training' else 'test'}_set.csv"
            table(folder / name, rows)


def _row(lesion: tuple[str, str, str, str, str, int, str, bool]) -> dict[str, object]:
    kind, part, patient, side, view, number, pathology, _ = lesion
    film = f"{kind}-{part}_{patient}_{side}_{view}"
    series = f"{film}_{number}/{_uid(film, 3)}/{_uid(film, number + 3)}"
    own = {"mass shape": "OVAL", "mass margins": "N/A"}
    if kind == "Calc":
        own = {"calc type": "PLEOMORPHIC", "calc distribution": "CLUSTERED"}
    return {
        "patient_id": patient,
        "breast_density" if kind == "Mass" else "breast density": 3,
        "left or right breast": side,
        "image view": view,
        "abnormality id": number,
        "abnormality type": "mass" if kind == "Mass" else "calcification",
        **own,
        "assessment": 4,
        "pathology": pathology,
        "subtlety": 4,
        "image file path": f"{film}/{_uid(film, 1)}/{_uid(film, 2)}/000000.dcm",
        "cropped image file path": f"{series}/000000.dcm" + ("\n" if kind == "Calc" else ""),
        "ROI mask file path": f"{series}/000001.dcm" + ("\n" if kind == "Mass" else ""),
    }


def _mask(patient: str) -> np.ndarray:
    return mask(_HEIGHT // 2, _WIDTH // 2) if patient == "P_00038" else mask(_HEIGHT, _WIDTH)


def _dicom(file: Path, name: str, described: str, image: np.ndarray) -> None:
    side = name.split("_")[3][0]
    dicom(
        file,
        image,
        SOPClassUID=SECONDARY_CAPTURE,
        PatientID=name,
        PatientName=name,
        SeriesDescription=described,
        Laterality=side,
        PatientOrientation=name.split("_")[4],
    )


def _info(file: Path, name: str, described: str, image: np.ndarray) -> dict[str, object]:
    return {
        "file_path": f"CBIS-DDSM/dicom/{file.parent.name}/1-01.dcm",
        "image_path": f"CBIS-DDSM/jpeg/{file.parent.name}/{file.name}",
        "PatientID": name,
        "SeriesDescription": described,
        "Rows": image.shape[0],
        "Columns": image.shape[1],
    }


def _uid(film: str, number: int) -> str:
    """A UID that follows from a name, as long as the published ones."""
    return f"1.3.6.1.4.1.9590.100.1.2.{int.from_bytes(film.encode(), 'big') % 10**30}{number:09d}"
