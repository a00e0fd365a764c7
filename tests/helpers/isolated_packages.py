"""A folder of some of the installed packages, and what those need, to try a program without all others."""

from collections import defaultdict
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement


def link_packages(names: Iterable[str], folder: Path) -> Path:
    """Link the packages of some import names, and all that they require, into a folder.

    Args:
        names: Names by which the packages are imported, such as `cv2`.
        folder: Folder that is made, to stand in `PYTHONPATH` for a Python that runs with `-S`.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True)
    owners: dict[str, list[Distribution]] = defaultdict(list)  # of each entry of the installed packages
    for found in distributions():
        for entry in {file.parts[0] for file in found.files or () if not _lies_elsewhere(file.parts)}:
            owners[entry].append(found)
    wanted = [own.name for name in names for entry in (name, f"{name}.py") for own in owners.get(entry, ())]
    for found in _with_requirements(wanted):
        for file in found.files or ():
            if not _lies_elsewhere(file.parts):
                whole = len(owners[file.parts[0]]) == 1
                _link(Path(str(found.locate_file(""))), Path(file.parts[0] if whole else file), folder)
    return folder


def _lies_elsewhere(parts: tuple[str, ...]) -> bool:
    return parts[0] in ("..", "/") or "__pycache__" in parts


def _link(installed: Path, file: Path, folder: Path) -> None:
    target = folder / file
    if not target.is_symlink() and (installed / file).exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(installed / file)


def _with_requirements(names: Iterable[str]) -> list[Distribution]:
    waiting: list[tuple[str, str]] = [(name, "") for name in names]  # with an extra of it
    seen, found = set[tuple[str, str]](), dict[str, Distribution]()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            one = distribution(name)
        except PackageNotFoundError:  # of another platform
            continue
        found[one.name] = one
        for text in one.requires or ():
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                waiting += [(need.name, own) for own in ("", *need.extras)]
    return list(found.values())
