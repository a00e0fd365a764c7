"""DDSM: dates of two orders, SEQUENCE and SELECTED, a film in two encodings, an overlay that is absent."""

from pathlib import Path

from collections_trees.files import picture, pixels

NAME, EXAMPLES, PROBLEMS, COLUMN = "ddsm", 8, 4, None
_ICS = """ics_version 1.0
filename {name}
DATE_OF_STUDY 29 5 1998
PATIENT_AGE 58
FILM
FILM_TYPE REGULAR
DENSITY 2
DATE_DIGITIZED 7 22 1997
DIGITIZER {digitizer}
{word}
LEFT_CC LINES 128 PIXELS_PER_LINE 96 BITS_PER_PIXEL 12 RESOLUTION 50 {left}
LEFT_MLO LINES 128 PIXELS_PER_LINE 96 BITS_PER_PIXEL 12 RESOLUTION 50 {left}
RIGHT_CC LINES 128 PIXELS_PER_LINE 96 BITS_PER_PIXEL 12 RESOLUTION 50 NON_OVERLAY
"""
_OVERLAY = """TOTAL_ABNORMALITIES 2
ABNORMALITY 1
LESION_TYPE CALCIFICATION TYPE PLEOMORPHIC DISTRIBUTION CLUSTERED
ASSESSMENT 4
SUBTLETY 3
PATHOLOGY {pathology}
TOTAL_OUTLINES 2
BOUNDARY
 20 40 2 2 2 2 4 4 4 4 6 6 6 6 0 0 0 0 #
\tCORE
 21 41 2 4 6 0 #
ABNORMALITY 2
LESION_TYPE MASS SHAPE OVAL MARGINS CIRCUMSCRIBED
ASSESSMENT 3
SUBTLETY 5
PATHOLOGY {second}
TOTAL_OUTLINES 1
BOUNDARY
 60 60 2 4 6 0 #
"""


def build(folder: Path) -> None:
    cancer = _case(folder / "cancers/cancer_01/case3024", "B-3024-1", "LUMISYS", "SELECTED", "OVERLAY")
    for view in ("LEFT_CC", "LEFT_MLO"):
        second = "BENIGN" if view == "LEFT_CC" else "UNPROVEN"
        text = _OVERLAY.format(pathology="MALIGNANT", second=second)
        (cancer / f"B_3024_1.{view}.OVERLAY").write_text(text)
    _case(folder / "benigns/benign_01/case1024", "A-1024-1", "DBA 21", "SEQUENCE", "OVERLAY")  # no overlay
    normal = _case(folder / "normals/normal_09/case4014", "D-4014-1", "HOWTEK 960", "SEQUENCE", "NON_OVERLAY")
    (normal / "D_4014_1.LEFT_CC.LJPEG").write_bytes(b"\xff\xd8\xff\xc3")
    second = _case(folder / "normals/normal_09/case0014", "A-0014-1", "DBA 21", "SEQUENCE", "NON_OVERLAY")
    (second / "A_0014_1.RIGHT_CC.LJPEG.png").unlink()
    (second / "TAPE_A_0014_1.COMB.16_PGM").touch()


def _case(folder: Path, name: str, digitizer: str, word: str, left: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.ics").write_text(_ICS.format(name=name, digitizer=digitizer, word=word, left=left))
    for view in ("LEFT_CC", "LEFT_MLO", "RIGHT_CC"):
        file = f"{name.replace('-', '_')}.{view}.LJPEG.png"
        picture(folder / file, pixels(file, 64, 48, largest=65535))  # half the size of the outline
    return folder
