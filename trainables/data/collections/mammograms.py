"""Which images of a user's own are whole mammograms, by their headers or their size."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from trainables.common.text import count_text
from trainables.data.collections.collection import Example
from trainables.data.collections.parts import image_size
from trainables.data.dicom.reading import is_dicom, read_headers
from trainables.data.image_errors import ImageFileError

MAMMOGRAMS: Final = ("auto", "yes", "no")  # values of the option of this name

# Films are at least as large as the canvas on which whole mammograms are laid, or nearly so. Patches rarely
# are: the methods of source system 003 cut 299 to 598 pixels.
_LEAST_FILM_PX: Final = (1000, 500)  # longer and shorter side
_LEAST_SHARE: Final = 0.9  # of mammograms among the images, where the others are taken as such, too
_OPTION: Final = "data prepare with --option mammograms"

_Kind = Literal["header", "size", "other"]


def are_mammograms(examples: Sequence[Example], wanted: str, notes: list[str]) -> bool:
    """Decide whether whole images are mammograms, from which the breast is cut out.

    A DICOM header decides where it can, else the size in pixels: what is smaller than a film may be a patch,
    of which the steps for mammograms would remove tissue.

    Args:
        examples: Examples of whole images.
        wanted: `yes` or `no`, as the user says, or `auto`.
        notes: A sentence on what was decided is added here.
    """
    if wanted != "auto":
        return wanted == "yes"
    files = dict.fromkeys(example.file for example in examples)
    kinds = Counter(kind for file in files if (kind := _kind(file)) is not None)
    found, total = kinds["header"] + kinds["size"], kinds.total()
    is_so = total > 0 and found >= _LEAST_SHARE * total
    if not total:
        return is_so
    size = f"{'x'.join(map(str, _LEAST_FILM_PX))} pixels or more"
    if found == total:
        notes.append(
            "images are taken as whole mammograms, as their DICOM headers say so or they are as large as a "
            f"film ({size}); {_OPTION}=no takes them as they are"
        )
    elif not found:
        notes.append(
            "images are taken as they are and not as whole mammograms, as no DICOM header says so and none "
            f"is as large as a film ({size}); {_OPTION}=yes makes them ready as such"
        )
    else:
        taken, other = ("whole mammograms", "no") if is_so else ("other images, as they are", "yes")
        notes.append(
            f"WARNING: {found} of {count_text(total, 'image')} are whole mammograms by their DICOM headers "
            f"or their size ({size}), and the others are not; all are taken as {taken}: {_OPTION}={other} "
            "takes them otherwise, and a table of mammograms alone is better than both"
        )
    return is_so


def _kind(file: Path) -> _Kind | None:
    """What says that a file is a whole mammogram; `other` where nothing does, None for no image."""
    try:
        kind = read_headers(file).kind if is_dicom(file) else None
    except (ImageFileError, OSError):
        return None
    if kind in ("region", "mask"):
        return "other"
    if kind in ("mammogram", "film", "spot view", "tomosynthesis"):
        return "header"
    size = image_size(file)
    if size is None:
        return None
    sides = sorted(size, reverse=True)
    is_large = all(side >= least for side, least in zip(sides, _LEAST_FILM_PX, strict=True))
    return "size" if is_large else "other"
