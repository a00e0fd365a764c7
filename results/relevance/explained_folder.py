"""The folder of explanations: names of its pictures, what may be replaced in it, and how it is written."""

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.lib.format import write_array
from PIL import Image

from results.errors import ExportError
from results.relevance.explanation import ExplainedImage, Explanation, Explanations
from results.relevance.pictures import MAKER, picture
from trainables.common.files import write_atomically
from trainables.common.text import printable

EXPLANATIONS_FILE: Final = "explanations.json"
MAPS_FILE: Final = "maps.npz"
ENDING: Final = ".map.png"  # of a picture, so that it is never taken for the image that it shows
_LONGEST: Final = 200  # bytes of a name without number and ending; file systems take 255 of all
_DRAWN: Final = 5  # marks in a picture


def picture_names(files: Sequence[Path]) -> list[str]:
    """Return names of pictures: those of the files without ending, with a number where a name is taken.

    Names that differ in capital letters alone are alike, since some file systems take them for one.
    Characters that cannot be printed are shown as escapes, and long names are cut.

    >>> picture_names([Path("a/film.png"), Path("b/film.dcm"), Path("a/film-2.png")])
    ['film', 'film-3', 'film-2']
    """
    stems = [_named(path) for path in files]
    own = {stem.casefold() for stem in stems}  # the first file of each has its own name
    taken: set[str] = set()
    numbers: dict[str, int] = {}
    names = []
    for stem in stems:
        name, key = stem, stem.casefold()
        if key in taken:
            number = numbers.get(key, 2)
            while f"{key}-{number}" in own or f"{key}-{number}" in taken:
                number += 1
            name, numbers[key] = f"{stem}-{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names


def _named(path: Path) -> str:
    """The name of a file without ending, as UTF-8 and no longer than file systems take with what is added."""
    return printable(path.stem, keeps="").encode()[:_LONGEST].decode(errors="ignore")


def check_folder(folder: Path, names: Sequence[str], inputs: Sequence[Path] = ()) -> None:
    """Check that nothing is lost when pictures, maps and JSON are written to a folder.

    Args:
        folder: Folder to write; it may be missing.
        names: Names of the pictures, without ending.
        inputs: Files that are explained, and those that are read with them.

    Raises:
        ExportError: If one of the files to be written is an input, or is there and is not of an earlier
            explanation.
    """
    check_replaced([folder / f"{name}{ENDING}" for name in names], inputs)
    check_replaced([folder / MAPS_FILE, folder / EXPLANATIONS_FILE], inputs)


def check_replaced(files: Sequence[Path], inputs: Sequence[Path] = ()) -> None:
    """Check that files which are to be written replace neither an input nor what another program wrote.

    Args:
        files: Pictures, maps or JSON; they may be missing.
        inputs: Files that are read.

    Raises:
        ExportError: If one is there and may not be replaced; the message names it.
    """
    read = {_identity(path) for path in inputs} - {None}
    for file in files:
        found = _identity(file)
        if found in read:
            raise ExportError(
                f"{file} is one of the images, and a picture would replace it; give another folder"
            )
        if found is not None and not _is_own(file):
            raise ExportError(
                f"{file} is there, and nothing says that an earlier explanation wrote it; move it, or give "
                "another folder"
            )


def _identity(path: Path) -> tuple[int, int] | None:
    """The file itself, by whatever name or link it is reached; None where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _is_own(file: Path) -> bool:
    """Tell whether an earlier explanation wrote a file; maps are known by the JSON file beside them."""
    try:
        if file.suffix == ".png":
            with Image.open(file, formats=("PNG",)) as drawn:
                return drawn.info.get("Software") == MAKER
        found = json.loads((file.parent / EXPLANATIONS_FILE).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and {"model", "method", "images"} <= found.keys()


def write_explanations(
    folder: Path,
    explanations: Explanations,
    images: Sequence[ExplainedImage],
    *,
    max_value: float,
    removes_earlier: bool = False,
) -> None:
    """Write pictures, maps and the JSON file; earlier ones of the same names are replaced.

    Args:
        folder: Folder to write; it is made if it is missing.
        explanations: Facts.
        images: Images with their maps.
        max_value: Pixel value that is white.
        removes_earlier: Remove pictures of other names that an earlier explanation wrote, in the end.

    Raises:
        OSError: If the folder cannot be written.
    """
    for one in images:
        drawn = picture(
            one.image,
            one.values,
            max_value=max_value,
            frame=one.facts.frame,
            marks=[mark.box for mark in one.facts.marks[:_DRAWN]],
            caption=_caption(explanations, one.facts),
            known=one.facts.known,
        )
        write_atomically(folder / f"{one.facts.name}{ENDING}", drawn)
    write_atomically(folder / MAPS_FILE, _archive(images))
    write_atomically(folder / EXPLANATIONS_FILE, explanations.model_dump_json(indent=1) + "\n")
    named = set(names_of_pictures(explanations))
    for file in folder.glob(f"*{ENDING}") if removes_earlier else ():
        if file.name not in named and _is_own(file):
            file.unlink()


def names_of_pictures(explanations: Explanations) -> list[str]:
    """Return the file names of the pictures that `explanations.json` tells of, in its order."""
    return [f"{one.name}{ENDING}" for one in explanations.images]


def _archive(images: Sequence[ExplainedImage]) -> bytes:
    """Maps by their names, as NumPy reads them; its own writer takes no array of the name `file`."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in images:
            with archive.open(f"{one.facts.name}.npy", "w", force_zip64=True) as member:
                write_array(member, one.values.astype(np.float32), allow_pickle=False)
    return written.getvalue()


def _caption(explanations: Explanations, facts: Explanation) -> list[str]:
    truth = f"; {facts.label} in the data" if facts.label else ""
    held = "" if facts.fold is None else f", by the models of fold {facts.fold} that held it out"
    lines = [
        f"P({facts.explained_class}) {facts.probability:.3f}{held}{truth}",
        f"{explanations.method}: brightest is {facts.highest:.3g}; blue speaks against it",
    ]
    if explanations.is_synthetic:
        lines.append("SYNTHETIC image")
    return lines
