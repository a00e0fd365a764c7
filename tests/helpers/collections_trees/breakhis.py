"""BreakHis: one slide at four magnifications, two slides of one patient, one stray picture."""

from pathlib import Path

from collections_trees.files import picture

NAME, EXAMPLES, PROBLEMS, COLUMN = "breakhis", 8, 1, None


def build(folder: Path) -> None:
    breast = folder / "BreaKHis_v1" / "histology_slides" / "breast"
    for zoom in (40, 100, 200, 400):
        slide = breast / "benign/SOB/fibroadenoma/SOB_B_F_14-25197" / f"{zoom}X"
        picture(slide / f"SOB_B_F-14-25197-{zoom}-001.png")
    for part in ("AB", "CD"):
        slide = breast / f"malignant/SOB/ductal_carcinoma/SOB_M_DC_14-22549{part}/40X"
        picture(slide / f"SOB_M_DC-14-22549{part}-40-001.png")
        picture(slide / f"SOB_M_DC-14-22549{part}-40-002.png")
    picture(breast / "benign/preview.png")
