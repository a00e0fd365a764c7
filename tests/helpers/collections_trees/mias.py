"""mini-MIAS: prose before the rows, a film of two severities, one without coordinates, one in two formats."""

from pathlib import Path

from collections_trees.files import picture, pixels

NAME, EXAMPLES, PROBLEMS, COLUMN = "mias", 6, 1, None
INFO = """              MAMMOGRAPHIC IMAGE ANALYSIS SOCIETY
                  MiniMammographic Database

REFNUM BG CLASS SEVERITY X Y RADIUS
mdb001 G CIRC B 535 425 197
mdb002 G CIRC B 522 280 69
mdb003 D NORM\x20
mdb144 F MISC B 233 994 29
mdb144 F MISC M 313 540 27
mdb059 F CIRC B
mdb209 G CALC M 647 503 87
mdb210 G NORM\x20
"""


def build(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Info.txt").write_text(INFO)
    for name in ("mdb001", "mdb002", "mdb003", "mdb144", "mdb059", "mdb209"):
        picture(folder / f"{name}.pgm", pixels(name, 128, 128))
    picture(folder / "jpeg" / "mdb001.jpg", pixels("mdb001", 128, 128))
