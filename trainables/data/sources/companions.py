"""Files that belong to an image but are no image of their own: masks, contours, overlays, previews."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

Words: TypeAlias = tuple[str, ...]

# Words that say what a file is even where its image is not beside it.
_CLEAR: Final = frozenset(
    {"mask", "masks", "segmentation", "segmentations", "groundtruth", "annotation", "annotations", "overlay"}
    | {"overlays", "heatmap", "heatmaps"}
)
# Words that say so only beside the image whose name they follow: a region of interest may be an image.
_IN_COMPANY: Final = _CLEAR | frozenset(
    {"seg", "segm", "gt", "truth", "label", "labels", "labelled", "labeled", "annotated", "roi", "rois"}
    | {"contour", "contours", "outline", "outlines", "boundary", "bbox", "bboxes", "marked", "binary"}
    | {"thumb", "thumbnail", "preview", "cam", "gradcam", "saliency"}
    | {"msk", "anno", "annot", "labelmap", "maske", "gtruth", "overlayed", "overlaid"}
)
# Words after the name of an image that stand for a view or a side, with which they are another image.
_VIEWS: Final = frozenset(
    {"cc", "mlo", "ml", "lm", "left", "right", "lcc", "rcc", "lmlo", "rmlo", "dm", "cm"}
)
_FEWEST: Final = 3  # so many images with the same word after their names are no accident
_SHARE: Final = 0.1  # and this share of the images
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Companions:
    """The image files of a folder, sorted out.

    Attributes:
        images: Files that are images.
        companions: Files that belong to one of these.
        doubtful: Files of which neither is certain: named like a mask, without its image; as other images
            with one word more, such as `_tumor`, that many share; or two files of one name in two formats.
    """

    images: tuple[Path, ...]
    companions: tuple[Path, ...]
    doubtful: tuple[Path, ...]


def is_companion_folder(name: str) -> bool:
    """True for the name of a folder of masks, contours or other companions.

    >>> [is_companion_folder(name) for name in ("masks", "benign_mask", "GT", "BUSI_with_GT", "benign")]
    [True, True, True, False, False]
    """
    words = _words(name)
    return bool(words) and (
        all(word in _IN_COMPANY for word in words) or bool({words[0], words[-1]} & _CLEAR)
    )


def sort_out(files: Sequence[Path]) -> Companions:
    """Tell the images of one folder from their companions, by name.

    >>> found = sort_out([Path("benign (1).png"), Path("benign (1)_mask.png"), Path("benign (1)_mask_1.png")])
    >>> [path.name for path in found.images], len(found.companions)
    (['benign (1).png'], 2)
    """
    words = {file: _words(file.stem) for file in files}
    plain = {own for own in words.values() if not any(word in _CLEAR for word in own)}
    images, companions, doubtful = [], [], []
    for file, own in words.items():
        if _is_companion(own, plain):
            companions.append(file)
        elif any(word in _CLEAR for word in own):
            doubtful.append(file)
        else:
            images.append(file)
    more = (*_of_one_name(images), *_with_one_word_more({file: words[file] for file in images}))
    return Companions(tuple(images), tuple(companions), (*doubtful, *dict.fromkeys(more)))


def _is_companion(own: Words, images: set[Words]) -> bool:
    """True if the words are those of an image with words for a companion after or before them."""
    for place, word in enumerate(own):
        if word in _IN_COMPANY:
            before = (own[:end] for end in range(place, 0, -1))
            if any(part in images for part in (*before, own[place + 1 :]) if part and part != own):
                return True
    return False


def _with_one_word_more(images: Mapping[Path, Words]) -> list[Path]:
    """Files named as another one with a word after it, or before its number, that many such files share."""
    names = set(images.values())
    after_first = Counter(words[1:] for words in names)
    files = defaultdict(list)
    for file, words in images.items():
        end = next((end for end in range(len(words) - 1, 0, -1) if words[:end] in names), None)
        if end is not None and len(words[end]) > 1 and not words[end].isdigit() and words[end] not in _VIEWS:
            files[words[end]].append(file)
        elif words[0] in _IN_COMPANY and words[1:] and after_first[words[1:]] > 1:
            files[words[0]].append(file)
    most = max(_FEWEST, _SHARE * len(images))
    return [file for own in files.values() if len(own) >= most for file in own]


def _of_one_name(files: Sequence[Path]) -> list[Path]:
    stems = defaultdict(list)
    for file in files:
        stems[unicodedata.normalize("NFC", file.stem).casefold()].append(file)
    counts = Counter({stem: len({file.suffix.lower() for file in own}) for stem, own in stems.items()})
    return [file for stem, count in counts.items() if count > 1 for file in stems[stem]]


def _words(name: str) -> Words:
    text = unicodedata.normalize("NFC", name).replace("ground_truth", "groundtruth")
    text = text.replace("ground-truth", "groundtruth").replace("GroundTruth", "groundtruth")
    return tuple(word.casefold() for word in _WORD.findall(text))
