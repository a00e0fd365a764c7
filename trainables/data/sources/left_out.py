"""What is not read from a folder of images: counted, and one file of each kind named."""

import re
from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import Final

from trainables.data.dicom.reading import is_dicom
from trainables.data.image_files import SUFFIXES
from trainables.data.sources.companions import is_companion_folder
from trainables.data.sources.folder_layout import images_below, images_in, is_hidden

FORMATS_IN_WORDS: Final = "DICOM, PNG, JPEG, TIFF, PGM or BMP"
RENAME: Final = "end their names as those of images do, such as in .dcm or .png, to have them read"
_OTHER_IMAGES: Final = {
    *(".webp", ".gif", ".jp2", ".j2k", ".j2c", ".jpx", ".jfif", ".heic", ".avif", ".ppm", ".pnm", ".pbm"),
    *(".pfm", ".exr", ".tga", ".ljpeg", ".npy", ".mha", ".mhd", ".nii", ".nrrd", ".raw", ".img"),
    *(".svs", ".ndpi", ".czi", ".mrxs", ".scn"),
}
_ARCHIVES: Final = {".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"}
# An ending of images with more after it, as in a.png.dvc, a.dcm.gz, a.png~ and a.PNG (1).
_ENDING_WITHIN: Final = re.compile(
    rf"({'|'.join(re.escape(suffix) for suffix in sorted(SUFFIXES))})(?![a-z0-9])", re.IGNORECASE
)
_FIRST_BYTES: Final = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|II\*\0|MM\0\*|BM.{4}\0{4}|P[25]\s", re.DOTALL
)  # of PNG, JPEG, TIFF, BMP and PGM


def note_left_out(
    root: Path, base: Path, class_folders: Sequence[Path], read: Set[Path], notes: list[str]
) -> None:
    """Add a sentence for each kind of file that was not read.

    Args:
        root: Folder that the user names.
        base: Folder in it that holds the layout.
        class_folders: The class folders, also those that the task leaves out.
        read: Files that were read: images, and the table of patients.
        notes: The sentences are added here.
    """
    files = sorted(path for path in root.rglob("*") if path not in read and not path.is_dir())
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    hidden = [path for path in images if any(map(is_hidden, _below(root, path)))]
    beside = _beside(base, class_folders)
    for paths, where in (
        (_deeper(class_folders, read), "lie deeper than the class folders"),
        (beside, "lie beside the class folders"),
        (hidden, "are hidden or system files"),
    ):
        if paths:
            first = paths[0].relative_to(root if where.startswith("are") else base).as_posix()
            notes.append(f"images left out, since they {where}: {len(paths)}, such as {first}")
    _note_outside(root, _outside(images, root, class_folders, read, {*hidden, *beside}), notes)
    _note_others(root, [path for path in files if path.suffix.lower() not in SUFFIXES], notes)


def _note_outside(root: Path, images: Sequence[Path], notes: list[str]) -> None:
    if images:
        notes.append(
            "WARNING: images left out, since they lie in folders that are not read as class folders and hold "
            f"none: {len(images)}, such as {images[0].relative_to(root).as_posix()}; lay them out as the "
            "others to have them read"
        )


def _note_others(root: Path, files: Sequence[Path], notes: list[str]) -> None:
    """Sentences on files whose names do not end as those of images do."""
    if not files:
        return
    notes.append(
        f"files left out, since their names do not end as those of {FORMATS_IN_WORDS} images do: "
        f"{len(files)}, such as {files[0].relative_to(root).as_posix()}"
    )
    visible = [path for path in files if not any(map(is_hidden, _below(root, path)))]
    kinds: tuple[tuple[Callable[[Path], bool], str, str], ...] = (
        (_leads_nowhere, "are links that lead nowhere", "fetch or mount what they lead to, or remove them"),
        (_is_archive, "are archives", "unpack them to have images in them read"),
        (_may_be_image, "may be images", "save them as PNG to have them read"),
        (is_image_by_content, "are images by their content", RENAME),
    )
    for is_of_kind, what, advice in kinds:
        found = [path for path in visible if is_of_kind(path)]
        visible = [path for path in visible if path not in set(found)]
        if found:
            notes.append(
                f"WARNING: {len(found)} of the files left out {what}, such as "
                f"{found[0].relative_to(root).as_posix()}; {advice}"
            )


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _is_archive(path: Path) -> bool:
    return path.suffix.lower() in _ARCHIVES


def _may_be_image(path: Path) -> bool:
    return path.suffix.lower() in _OTHER_IMAGES or (
        _ENDING_WITHIN.search(path.name) is not None and not is_image_by_content(path)
    )


def is_image_by_content(path: Path) -> bool:
    """True for what begins as an image that is read does, and is not named as one of another format."""
    if path.suffix.lower() in _OTHER_IMAGES or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return _FIRST_BYTES.match(file.read(16)) is not None or is_dicom(path)
    except OSError:
        return False


def _below(root: Path, path: Path) -> list[Path]:
    """The file and the folders between it and the root."""
    return [path, *(folder for folder in path.parents if root in folder.parents)]


def _deeper(class_folders: Sequence[Path], read: Set[Path]) -> list[Path]:
    return [path for folder in class_folders for path in images_below(folder) if path not in read]


def _levels(base: Path, class_folders: Sequence[Path]) -> set[Path]:
    """The base, and the folders between it and the class folders."""
    above = {folder for one in class_folders for folder in one.parents if base in folder.parents}
    return {base, *above} - set(class_folders)


def _beside(base: Path, class_folders: Sequence[Path]) -> list[Path]:
    """Images in the folders between the base and the class folders."""
    return [path for level in sorted(_levels(base, class_folders)) for path in images_in(level)]


def _outside(
    images: Sequence[Path], root: Path, class_folders: Sequence[Path], read: Set[Path], named: Set[Path]
) -> list[Path]:
    """Images below no class folder, of which no other sentence speaks."""
    folders = set(class_folders)
    return [
        path
        for path in images
        if path not in named
        and not folders.intersection(path.parents)
        and not any(is_companion_folder(folder.name) for folder in _below(root, path)[1:])
        and not _is_copied_one_level_up(path, root, read)
    ]


def _is_copied_one_level_up(path: Path, root: Path, read: Set[Path]) -> bool:
    """True for an image in a nested copy of its neighbours."""
    parts = path.relative_to(root).parts
    return any(root.joinpath(*parts[:place], *parts[place + 1 :]) in read for place in range(len(parts) - 1))
