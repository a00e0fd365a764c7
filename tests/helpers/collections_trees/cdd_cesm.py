"""CDD-CESM: names with a trailing space, a name on two rows whose files end in 2, text among numbers."""

from pathlib import Path

from collections_trees.files import picture, workbook

NAME, EXAMPLES, PROBLEMS, COLUMN = "cdd-cesm", 4, 1, None
_HEADER = (
    *(
        "Image_name",
        "Patient_ID",
        "Side",
        "Type",
        "Age",
        "Breast density (ACR)",
        "BIRADS",
        "Findings",
        "View",
    ),
    *("Tags", "Machine", "Pathology Classification/ Follow up"),
)
_ROWS = (
    ("P1_L_DM_MLO", 1, "L", "DM", 46, "C", 4, "Distortion ", "MLO", "suspicious", 1, "Malignant"),
    ("P1_L_CM_MLO", 1, "L", "CESM", 46, "_", 4, "Enhancement ", "MLO", "suspicious", 1, "Malignant"),
    ("P3_R_DM_CC ", 3, "R", "DM", 31, "C", "3$2", "Masses$Macrocalcifications ", "CC", "benign", 2, "Benign"),
    ("P281_L_DM_MLO", 281, "L", "DM", 50, "B", 1, None, "MLO", "normal", 2, "Normal"),
    ("P281_L_DM_MLO", 281, "L", "DM", 50, "B", 5, "Speculated", "MLO", "mass, speculated", 2, "Malignant"),
    ("P300_L_DM_CC", 300, "L", "DM", 50, "B", 1, None, "CC", "normal", 2, "Normal"),
)


def build(folder: Path) -> None:
    workbook(folder / "Radiology manual annotations.xlsx", [_HEADER, *_ROWS])
    low, subtracted = folder / "Low energy images of CDD-CESM", folder / "Subtracted images of CDD-CESM"
    for name in ("P1_L_DM_MLO", "P3_R_DM_CC", "P281_L_DM_MLO", "P281_L_DM_MLO2"):
        picture(low / f"{name}.jpg")
    picture(subtracted / "P1_L_CM_MLO.jpg")
