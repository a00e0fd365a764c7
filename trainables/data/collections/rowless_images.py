"""Images of a tree that no row of its table names, known by their endings, or else by their content."""

from collections.abc import Sequence, Set
from pathlib import Path
from typing import Final

from trainables.common.text import count_text
from trainables.data.dicom.reading import is_dicom, read_headers
from trainables.data.image_files import SUFFIXES, ImageFileError
from trainables.data.sources.left_out import is_image_by_content

_LISTED: Final = 3


def note_rowless(root: Path, files: Sequence[Path], named: Set[Path], notes: list[str]) -> None:
    """Note how many images have no row, and the first of them.

    Args:
        root: Folder of the images.
        files: Its files, without the table.
        named: Files that rows name, whether the rows can be used or not.
        notes: The sentence is added here.
    """
    rowless = [file for file in files if file not in named and _is_image(file)]
    if rowless:
        listed = ", ".join(file.relative_to(root).as_posix() for file in rowless[:_LISTED])
        more = ", ..." if len(rowless) > _LISTED else ""
        notes.append(f"{count_text(len(rowless), 'image file')} without a row in the table: {listed}{more}")


def _is_image(file: Path) -> bool:
    """True for an image; a DICOM file without pixels, such as the index of a disc or a report, is none."""
    if file.suffix.lower() in SUFFIXES:
        return True
    if not is_image_by_content(file):
        return False
    try:
        return not is_dicom(file) or read_headers(file).rows > 0
    except ImageFileError:
        return True
