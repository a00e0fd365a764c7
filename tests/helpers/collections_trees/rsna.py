"""RSNA: the columns of train.csv, unknown density and BI-RADS, an image that is not there, the view ML."""

from pathlib import Path

from collections_trees.files import dicom, table

NAME, EXAMPLES, PROBLEMS, COLUMN = "rsna", 7, 1, ("train.csv", "laterality")
_VIEWS = (("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO"))


def build(folder: Path) -> None:
    rows = []
    for patient, cancer in ((10006, "L"), (10011, "")):
        for place, (side, view) in enumerate(_VIEWS):
            image = patient * 1000 + place
            rows.append(
                {
                    "site_id": 2 if cancer else 1,
                    "patient_id": patient,
                    "image_id": image,
                    "laterality": side,
                    "view": "ML" if image == 10011001 else view,
                    "age": "61.0" if cancer else "",
                    "cancer": int(side == cancer),
                    "biopsy": 0,
                    "invasive": 0,
                    "BIRADS": "" if cancer else "1.0",
                    "implant": 0,
                    "density": "" if cancer else "C",
                    "machine_id": 29,
                    "difficult_negative_case": "False",
                }
            )
            if image != 10011003:
                dicom(folder / "train_images" / str(patient) / f"{image}.dcm")
    table(folder / "train.csv", rows)
