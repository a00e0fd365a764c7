"""What is not read from a folder of images: counted, and one file of each kind named."""

from collections.abc import Sequence, Set
from pathlib import Path
from typing import Final

from trainables.data.image_files import SUFFIXES
from trainables.data.sources.folder_layout import images_below, images_in, is_hidden

FORMATS_IN_WORDS: Final = "DICOM, PNG, JPEG, TIFF, PGM or BMP"
_OTHER_IMAGES: Final = {
    *(".webp", ".gif", ".jp2", ".j2k", ".jpx", ".jfif", ".heic", ".avif", ".ppm", ".pnm", ".pbm", ".ljpeg"),
    *(".npy", ".mha", ".mhd", ".nii", ".nrrd", ".svs", ".ndpi", ".raw", ".img"),
}


def note_left_out(
    root: Path, base: Path, class_folders: Sequence[Path], read: Set[Path], notes: list[str]
) -> None:
    """Add a sentence for each kind of file that was not read.

    Args:
        root: Folder that the user names.
        base: Folder in it that holds the layout.
        class_folders: The class folders.
        read: Files that were read: images, and the table of patients.
        notes: The sentences are added here.
    """
    files = sorted(path for path in root.rglob("*") if path not in read and path.is_file())
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    hidden = [path for path in images if any(map(is_hidden, _below(root, path)))]
    for paths, where in (
        (_deeper(class_folders, read), "lie deeper than the class folders"),
        (_beside(base, class_folders), "lie beside the class folders"),
        (hidden, "are hidden or system files"),
    ):
        if paths:
            first = paths[0].relative_to(root if where.startswith("are") else base).as_posix()
            notes.append(f"images left out, since they {where}: {len(paths)}, such as {first}")
    others = [path for path in files if path.suffix.lower() not in SUFFIXES]
    if others:
        notes.append(f"files left out, since they are not {FORMATS_IN_WORDS}: {len(others)}")
    likely = [path for path in others if path.suffix.lower() in _OTHER_IMAGES]
    if likely:
        notes.append(
            f"WARNING: {len(likely)} of the files left out may be images, such as "
            f"{likely[0].relative_to(root).as_posix()}; save them as PNG to have them read"
        )


def _below(root: Path, path: Path) -> list[Path]:
    """The file and the folders between it and the root."""
    return [path, *(folder for folder in path.parents if root in folder.parents)]


def _deeper(class_folders: Sequence[Path], read: Set[Path]) -> list[Path]:
    return [path for folder in class_folders for path in images_below(folder) if path not in read]


def _beside(base: Path, class_folders: Sequence[Path]) -> list[Path]:
    """Images in the folders between the base and the class folders."""
    levels = {base, *(above for folder in class_folders for above in folder.parents if base in above.parents)}
    return [path for level in sorted(levels - set(class_folders)) for path in images_in(level)]
