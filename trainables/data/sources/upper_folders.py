"""Folders above the class folders: patients, unless their names or their content speak against it."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from trainables.common.errors import DataError
from trainables.data.sources.telling_names import plain

_FEW: Final = 10  # so many patients are few for a data set, but many for views, folds or sites
_VIEW: Final = r"(l|r|left|right)?(cc|mlo|ml|lm|lmo|xccl|lat|ap)|(l|r|left|right)"
_WORDS: Final = (
    "view|k?fold|split|partition|chunk|cv|run|set|subset|batch|part|site|hospital|centre|center|clinic|institution|scanner|vendor|"
    "reader|radiologist|slice|epoch|window|rot|device|machine|camera|magnification|mag|zoom|resolution|scale|level|year|round|session|series|group|images?|"
    "imgs?|data|dataset|raw|original|originals|augmented|aug|rotated|flipped|version|density|birads|modality|"
    "mammo|mammograms?|ultrasound|us|mri|cesm|cm|dm|ffdm|dbt|sfm|png|jpe?g|tiff?|bmp|pgm"
)
# Names that are no patient's: such a word, alone or with a number or letter, a magnification, or a view.
_NO_PATIENT: Final = re.compile(rf"({_WORDS})(\d{{1,4}}x?|[a-h])?|\d{{1,4}}x|x\d{{1,4}}|{_VIEW}|(19|20)\d\d")
_MONTH: Final = re.compile(r"(19|20)\d\d[-_. ](0[1-9]|1[0-2])([-_. ]\d\d)?")
_PART: Final = re.compile(
    r"train|test|valid|val$|dev(elopment)?$|hold_?out|unseen|eval|external$|internal$|extra$"
)
_MOST_FOLDS: Final = 30  # so many folders may be called 1, 2, ... for folds or sites; more are patients


@dataclass(frozen=True, slots=True)
class UpperImage:
    """What the check of a folder above class folders looks at: class and name of an image in it."""

    code: int
    stem: str


def check_patients(folders: Mapping[str, Sequence[UpperImage]]) -> None:
    """Refuse to take folders for patients where they are probably something else.

    Args:
        folders: Name of the folder -> its images.

    Raises:
        DataError: If the names are those of views, folds, sites or the like; or if the folders hold all
            classes and are few, count up, have no number or hold images of the same names, unless their
            images are named after them.
    """
    reason = _doubt(folders)
    if reason:
        names = list(folders)
        raise DataError(
            f"the {len(names)} folders {', '.join(names[:4])}{', ...' if len(names) > 4 else ''} lie "
            f"above the class folders, but are they patients? {reason}. Say --upper-folders patients if "
            "they are; else name the patient of each image in patients.csv (file,patient), or say "
            "--upper-folders other if patients are not known"
        )


def _doubt(folders: Mapping[str, Sequence[UpperImage]]) -> str:
    """Why folders are hardly patients, "" where nothing speaks against it."""
    if parts := parts_in(folders):
        return f"{parts[0]} may be a part of a split; parts are called train, val, test and extra"
    named = [name for name in folders if _is_no_patient(name)]
    if len(named) > len(folders) / 2:
        return f"{named[0]} is a name for something else"
    if all(_are_named_after(name, images) for name, images in folders.items()):
        return ""
    codes = {image.code for images in folders.values() for image in images}
    with_all = sum({image.code for image in images} == codes for images in folders.values())
    if with_all <= len(folders) / 2:
        return ""
    besides = _doubt_besides_classes(folders)
    return besides and f"{with_all} of them hold every class, and {besides}"


def _doubt_besides_classes(folders: Mapping[str, Sequence[UpperImage]]) -> str:
    """What makes folders doubtful that hold every class, "" if nothing does."""
    if len(folders) < _FEW:
        return "they are few"
    if not any(sign.isdigit() for name in folders for sign in name):
        return "no name holds a number, as those of patients do"
    if _count_up(folders):
        return "their names count up, as those of folds do"
    return "images of the same names" if _share_of_shared_names(folders) > 0.5 else ""


def _is_no_patient(name: str) -> bool:
    return _NO_PATIENT.fullmatch(plain(name)) is not None or _MONTH.fullmatch(name) is not None


def parts_in(names: Iterable[str]) -> list[str]:
    """Return the names of folders that may be parts of a split.

    >>> parts_in(["calc_train", "Holdout", "P01", "L_CC"])
    ['calc_train', 'Holdout']
    """
    return [name for name in names if any(map(_PART.match, re.findall(r"[a-z]+", name.lower())))]


def _count_up(names: Collection[str]) -> bool:
    """True for a few numbers without gaps, from 0 or 1."""
    numbers = sorted(int(name) for name in names if name.isdecimal())
    if len(numbers) < len(names) or len(names) > _MOST_FOLDS:
        return False
    return numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _are_named_after(name: str, images: Sequence[UpperImage]) -> bool:
    """True if the images begin with the folder's name, and that holds a number, as a patient's id does."""
    has_number = any(sign.isdigit() for sign in name)
    return has_number and all(image.stem.lower().startswith(name.lower()) for image in images)


def _share_of_shared_names(folders: Mapping[str, Sequence[UpperImage]]) -> float:
    """Share of the different names of images that at least half of the folders hold."""
    held = Counter(stem for images in folders.values() for stem in {image.stem for image in images})
    return sum(count >= len(folders) / 2 for count in held.values()) / max(1, len(held))
