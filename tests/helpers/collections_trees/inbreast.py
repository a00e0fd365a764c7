"""INbreast: `;`, ids that are all removed, text BI-RADS, a density of spaces, ML for MLO, totals."""

import plistlib
from pathlib import Path

from collections_trees.files import dicom

NAME, EXAMPLES, PROBLEMS, COLUMN = "inbreast", 4, 2, ("INbreast.csv", "Bi-Rads")
HEADER = (
    "Patient ID",
    "Patient age",
    "Laterality",
    "View",
    "Acquisition date",
    "File Name",
    "ACR",
    "Bi-Rads",
)
ROWS = (
    ("removed", "removed", "L", "CC", "201001", "22678622", "2", "4a"),
    ("removed", "removed", "R", "MLO", "201001", "22678646", " " * 193, "2"),
    ("removed", "removed", "L", "MLO", "200801", "20586908", "4", "6"),
    ("removed", "removed", "R", "CC", "200801", "20586934", "1", "1"),
    ("removed", "removed", "R", "CC", "200801", "20586999", "1", "1"),  # no file
    ("removed", "removed", "R", "FB", "200801", "20587000", "1", "none"),
    ("", "", "", "", "", "28", "49", "108"),
)
_HASHES = {"22678622": "61b13c59bcba149e", "22678646": "61b13c59bcba149e"}


def build(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [";".join(row) for row in (HEADER, *ROWS)]
    (folder / "INbreast.csv").write_bytes("\r\n".join(lines).encode())
    for row in ROWS[:4] + ROWS[5:6]:
        view = {"MLO": "ML"}.get(row[3], row[3])
        name = f"{row[5]}_{_HASHES.get(row[5], 'b6a4f5a3f1f2d3e4')}_MG_{row[2]}_{view}_ANON.dcm"
        dicom(folder / "AllDICOMs" / name)
    regions = [
        _region("Mass", (10, 12), (30.5, 12), (30, 40)),
        _region("Calcification", (5, 5)),
        _region("Cluster", (1, 2), (8, 2), (8, 9)),
        _region("Asymmetry", (1, 2), (8, 2), (8, 9)),
    ]
    (folder / "AllXML").mkdir()
    images = {"Images": [{"ImageIndex": 0, "NumberOfROIs": len(regions), "ROIs": regions}]}
    (folder / "AllXML" / "22678622.xml").write_bytes(plistlib.dumps(images))


def _region(name: str, *points: tuple[float, float]) -> dict[str, object]:
    written = [f"({x:.6f}, {y:.6f})" for x, y in points]
    return {"Name": name, "NumberOfPoints": len(points), "Point_px": written, "Point_mm": []}
