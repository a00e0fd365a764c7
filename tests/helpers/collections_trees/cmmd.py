"""CMMD: files of one name, a breast without a row, a breast with both findings, a patient of both classes."""

from pathlib import Path

from collections_trees.files import dicom, table, workbook

NAME, EXAMPLES, PROBLEMS = "cmmd", 8, 1
COLUMN = None  # a workbook; test_tables.py has its missing column
HEADER = ("ID1", "LeftRight", "Age", "number", "abnormality", "classification", "subtype")
ROWS = (
    ("D1-0001", "R", 44, 2, "calcification", "Benign", None),
    ("D1-0002", "L", 40, 2, "both", "Malignant", None),
    ("D2-0003", "L", 61, 2, "mass", "Malignant", "Luminal A"),
    ("D2-0003", "R", 61, 2, "mass", "Benign", "0"),
    ("D2-0004", "L", 50, 2, "mass", "Malignant", None),
)


def build(folder: Path) -> None:
    workbook(folder / "CMMD_clinicaldata_revision.xlsx", [HEADER, *ROWS])
    sides = {"D1-0001": "LR", "D1-0002": "L", "D2-0003": "LR"}  # D1-0001 L has no row, D2-0004 no file
    for patient, breasts in sides.items():
        series = folder / "CMMD" / patient / "07-18-2010-49690" / "1.000000-35817"
        for place, (side, view) in enumerate((side, view) for side in breasts for view in ("CC", "MLO")):
            dicom(series / f"1-{place + 1}.dcm", ImageLaterality=side, ViewPosition=view, PatientID=patient)
    table(
        folder / "metadata.csv",
        [
            {
                "Subject ID": "D1-0001",
                "File Location": r".\CMMD\D1-0001\07-18-2010-NA-NA-79377\1.000000-NA-70244",
            }
        ],
    )
