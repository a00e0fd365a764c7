"""EMBED: two joined tables, paths of another machine, a byte-order mark, tomosynthesis, unknown outcome."""

from pathlib import Path

from collections_trees.files import dicom, table

NAME, EXAMPLES, PROBLEMS, COLUMN = "embed", 5, 1, ("EMBED_OpenData_metadata.csv", "acc_anon")
_CLINICAL = (
    ("1001", "901", "L", "S", "0.0"),  # invasive cancer
    ("1001", "901", "R", "N", ""),
    ("1002", "902", "B", "N", ""),
    ("1003", "903", "L", "A", ""),  # recalled, and nothing more is known
    ("1003", "903", "R", "S", "4.0"),  # benign by biopsy
)


def build(folder: Path) -> None:
    clinical = [
        dict(zip(("empi_anon", "acc_anon", "side", "asses", "path_severity"), row, strict=True))
        | {"tissueden": "3.0", "age_at_study": "57.2", "RACE_DESC": "African American  or Black"}
        for row in _CLINICAL
    ]
    table(folder / "EMBED_OpenData_clinical.csv", clinical, bom=True)
    images = []
    for patient, exam in (("1001", "901"), ("1002", "902"), ("1003", "903")):
        for side in "LR":
            tail = f"cohort_1/{patient}/{exam}/1.2.3/4.5.6/{patient}{side}.dcm"
            images.append(_image(patient, exam, side, tail, "2D", "((10, 5, 30, 25), (40, 5, 60, 20))"))
            if (patient, side) != ("1002", "R"):
                dicom(folder / "images" / tail, ImageLaterality=side, ViewPosition="CC")
    images.append(_image("1001", "901", "L", "cohort_1/1001/901/1.2.3/4.5.6/tomo.dcm", "3D", "()"))
    spot = _image("1001", "901", "L", "cohort_1/1001/901/1.2.3/4.5.6/spot.dcm", "2D", "()")
    extra = _image("1001", "901", "L", "cohort_1/1001/901/1.2.3/4.5.6/second.dcm", "2D", "()")
    dicom(folder / "images/cohort_1/1001/901/1.2.3/4.5.6/second.dcm")
    table(folder / "EMBED_OpenData_metadata.csv", [*images, spot | {"spot_mag": "1.0"}, extra], bom=True)


def _image(patient: str, exam: str, side: str, tail: str, kind: str, boxes: str) -> dict[str, object]:
    return {
        "anon_dicom_path": f"/mnt/NAS2/mammo/anon_dicom/{tail}",
        "empi_anon": patient,
        "acc_anon": exam,
        "FinalImageType": kind,
        "ImageLateralityFinal": side,
        "ViewPosition": "CC",
        "spot_mag": "",
        "ROI_coords": boxes,
        "Manufacturer": "HOLOGIC, Inc.",
        "ManufacturerModelName": "Selenia Dimensions",
        "cohort_num": 1,
    }
