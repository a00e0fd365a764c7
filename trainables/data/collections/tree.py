"""Files of a folder tree, in one order on every machine; links in a loop and archives are named."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from trainables.data.collections.collection import Problem

_ARCHIVES: Final = frozenset({".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz"})


def files_below(root: Path) -> tuple[list[Path], list[Problem]]:
    """List the visible files below a folder, links to folders included.

    Args:
        root: Folder.

    Returns:
        Files, ordered by their path, and what was not entered: links that lead back to a folder above them,
        links that lead nowhere, archives, and folders that may not be read.
    """
    problems: list[Problem] = []
    return list(_walk(root, (root.resolve(),), root, problems)), problems


def _walk(folder: Path, above: tuple[Path, ...], root: Path, problems: list[Problem]) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        problems.append(Problem(_said(folder, root), f"cannot be read ({error.strerror})"))
        return
    for entry in entries:
        if entry.name.startswith((".", "__MACOSX")):
            continue
        reason = _why_not(entry, above)
        if reason:
            problems.append(Problem(_said(entry, root), reason))
        elif entry.is_dir():
            yield from _walk(entry, (*above, entry.resolve()), root, problems)
        else:
            yield entry


def _why_not(entry: Path, above: tuple[Path, ...]) -> str:
    """Why a file or folder is not entered, as the rest of a sentence; empty if it is."""
    try:
        if entry.is_symlink() and (not entry.exists() or entry.resolve() in above):
            leads = "back to a folder that holds it" if entry.exists() else "nowhere"
            return f"is a link that leads {leads}"
    except (OSError, RuntimeError):  # Python before 3.13 raises the latter
        return "is a link that leads back to itself"
    if entry.suffix.lower() in _ARCHIVES and entry.is_file():
        return f"is {'an encrypted' if _is_encrypted(entry) else 'an'} archive; unpack it first"
    return ""


def _is_encrypted(archive: Path) -> bool:
    if archive.suffix.lower() != ".zip":
        return False
    try:
        with zipfile.ZipFile(archive) as opened:
            return any(member.flag_bits & 1 for member in opened.infolist())
    except (OSError, zipfile.BadZipFile):
        return False


def _said(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
