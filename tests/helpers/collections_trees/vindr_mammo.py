"""VinDr-Mammo: findings as a list in a cell, a box beyond the edge, views without findings, two parts."""

from pathlib import Path

from collections_trees.files import dicom, table

NAME, EXAMPLES, PROBLEMS, COLUMN = "vindr-mammo", 7, 1, ("breast-level_annotations.csv", "breast_birads")
_VIEWS = (("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO"))
_EMPTY = {
    "finding_categories": "['No Finding']",
    "finding_birads": "",
    "xmin": "",
    "ymin": "",
    "xmax": "",
    "ymax": "",
}


def build(folder: Path) -> None:
    breasts, findings = [], []
    for study, part in (
        ("b8d273e8601f348d3664778dae0e7e0b", "training"),
        ("8269f5971eaca3e5d3772d1796e6bd7a", "test"),
    ):
        for place, (side, view) in enumerate(_VIEWS):
            image = f"{study[:28]}{place:04d}"
            suspicious = side == "L"
            row = {
                "study_id": study,
                "series_id": study[::-1],
                "image_id": image,
                "laterality": side,
                "view_position": view,
                "height": 64,
                "width": 48,
                "breast_birads": "BI-RADS 4" if suspicious else "BI-RADS 1",
                "breast_density": "DENSITY C",
                "split": part,
            }
            breasts.append(row)
            found = [_EMPTY]
            if suspicious:
                found = [
                    _box("['Mass', 'Skin Thickening']", 5, 5, 20, 20),
                    _box("['Suspicious Calcification']", 30.5, 40.25, 52, 60),
                    _box("['Nipple Retraction']", 1, 1, 9, 9),
                ]
            findings += [row | one for one in found]
            if (part, side, view) != ("test", "R", "MLO"):
                dicom(folder / "images" / study / f"{image}.dicom", ViewPosition=view, ImageLaterality=side)
    table(folder / "breast-level_annotations.csv", breasts)
    table(folder / "finding_annotations.csv", findings)
    table(
        folder / "metadata.csv",
        [
            {
                "SOP Instance UID": breasts[0]["image_id"],
                "Patient's Age": "053Y",
                "Manufacturer": "SIEMENS",
                "Manufacturer's Model Name": "Mammomat Inspiration",
            }
        ],
    )


def _box(categories: str, *corners: float) -> dict[str, object]:
    return {"finding_categories": categories, "finding_birads": "BI-RADS 4"} | dict(
        zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
