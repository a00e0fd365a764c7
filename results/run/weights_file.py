"""Check of files of weights without reading them: whether a safetensors file has the size that it says."""

import json
import stat
import struct
from pathlib import Path
from typing import Final

_LENGTH: Final = struct.Struct("<Q")  # of the header, at the beginning of the file
_LONGEST: Final = 100_000_000  # bytes of a header that the format allows
_ABOUT: Final = "__metadata__"  # the entry of a header that is no tensor
_CUT: Final = "it ends too early"


def folder_fault(folder: Path, models: int) -> tuple[str, str] | None:
    """Return the file of a folder of weights that is damaged or missing, and what is wrong with it.

    Args:
        folder: Folder with one file per model, numbered from 0.
        models: Number of models at least.

    Returns:
        Name of the file, and the fault as the end of a sentence; None if nothing is wrong.
    """
    found = {int(path.stem) for path in folder.glob("*.safetensors") if path.stem.isdecimal()}
    for number in range(max([models, 1, *(other + 1 for other in found)])):
        name = f"{number}.safetensors"
        fault = weights_fault(folder / name) if number in found else "it is not there"
        if fault is not None:
            return name, fault
    return None


def weights_fault(path: Path) -> str | None:
    """Return what is wrong with a safetensors file, as the end of a sentence; None if nothing is.

    Header and size are looked at. A change within a tensor is not seen.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return "it is no regular file"
        size = found.st_size
        with path.open("rb") as file:
            start = file.read(_LENGTH.size)
            if len(start) < _LENGTH.size:
                return _CUT
            (length,) = _LENGTH.unpack(start)
            if length > min(_LONGEST, size):
                return "it does not begin as a file of weights"
            return _header_fault(file.read(length), size - _LENGTH.size - length)
    except FileNotFoundError:
        return "it is not there"
    except OSError:
        return None  # a file that cannot be read now may be whole


def _header_fault(header: bytes, held: int) -> str | None:
    """What is wrong with a header, where so many bytes of tensors follow it."""
    try:
        ends = [entry["data_offsets"][1] for name, entry in json.loads(header).items() if name != _ABOUT]
        said = max(ends, default=0)
        if held == said:
            return None
        return _CUT if held < said else f"it holds {held} bytes of weights, its header says {said}"
    except (ValueError, AttributeError, KeyError, IndexError, TypeError, RecursionError):
        return "its header cannot be read"
