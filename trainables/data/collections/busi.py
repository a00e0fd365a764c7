"""BUSI: 780 ultrasound images of 600 patients, with masks of the lesions.

Source: Al-Dhabyani et al. (2020), "Dataset of breast ultrasound images". The names hold no patient.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from trainables.common.errors import DataError
from trainables.common.text import count_text
from trainables.data.collections.collection import Choices, Collection, Example, Listing, Problem
from trainables.data.collections.parts import checked_options, listing, no_table, regions_of
from trainables.data.collections.tables import known
from trainables.data.collections.tree import files_below

_NAME: Final = re.compile(r"^(benign|malignant|normal) ?\((\d+)\)(_mask(?:_\d+)?)?$", re.IGNORECASE)
_CODES: Final = {"normal": 0, "benign": 1, "malignant": 2}


def list_busi(path: Path, choices: Choices) -> Listing:
    """List the images; masks are told apart by their names.

    Args:
        path: Folder `Dataset_BUSI_with_GT`, or the one that holds it.
        choices: `image` (the default) takes whole images and keeps the union of their masks; `roi` takes each
            lesion by itself, and no normal image, as there is no region in it.

    Raises:
        DataError: If there are no images.
    """
    checked_options(choices)
    regions = regions_of(choices, ("image", "roi"))
    no_table(choices)
    if not path.is_dir():
        raise DataError(f"there is no folder {path}")
    images, masks, problems = _images_and_masks(path)
    examples, several, normal = [], 0, 0
    for name, file in images.items():
        label, own = _CODES[name.split()[0]], masks.get(name, [])
        several += len(own) > 1
        if regions == "image":
            columns = known(masks=len(own), modality="ultrasound")
            outlines = own if label else []
            examples.append(_outlined(Example(file, name, label, cut="whole", columns=columns), outlines))
        elif label == 0:
            normal += 1
        elif not own:
            problems.append(
                Problem(file.relative_to(path).as_posix(), "has no mask, which --regions roi needs")
            )
        else:
            examples += _lesions(Example(file, name, label, cut="box"), own)
    problems += [
        Problem(own[0].relative_to(path).as_posix(), "is a mask without its image")
        for name, own in masks.items()
        if name not in images
    ]
    notes = [
        f"{count_text(len(images), 'image')} and {count_text(sum(map(len, masks.values())), 'mask')}; "
        "lesions are coded as masses",
        "no name holds a patient, so images of one patient may fall on both sides of a split",
    ]
    counted = {
        "with several masks; whole images keep their union": several,
        "of normal tissue left out, as no region of them is outlined": normal,
    }
    notes += [f"{count_text(count, 'image')} {what}" for what, count in counted.items() if count]
    return listing(path, examples, "pisa", notes=notes, problems=problems)


def _images_and_masks(path: Path) -> tuple[dict[str, Path], dict[str, list[Path]], list[Problem]]:
    """Images and their masks by names such as `benign (1)`, and files that cannot be used."""
    files, problems = files_below(path)
    images, masks = dict[str, Path](), dict[str, list[Path]]()
    for file in files:
        found = _NAME.match(file.stem)
        if found is None:
            continue
        word, number, mask = found[1].lower(), int(found[2]), found[3]
        name = f"{word} ({number})"
        if mask:
            masks.setdefault(name, []).append(file)
        elif file.parent.name.lower() in _CODES and file.parent.name.lower() != word:
            problems.append(Problem(file.relative_to(path).as_posix(), "lies in the folder of another class"))
        else:
            images.setdefault(name, file)
    return images, masks, problems


def _lesions(image: Example, masks: list[Path]) -> list[Example]:
    """One example a mask of an image."""
    columns = known(masks=len(masks), modality="ultrasound")
    return [
        replace(image, name=f"{image.name}_{place}", mask=mask, columns=columns)
        for place, mask in enumerate(masks, start=1)
    ]


def _outlined(example: Example, outlines: list[Path]) -> Example:
    if not outlines:
        return example
    return replace(example, mask=outlines[0], more_masks=tuple(outlines[1:]))


def _reads(path: Path) -> bool:
    if not path.is_dir():
        return False
    inner = path / "Dataset_BUSI_with_GT"
    folder = inner if inner.is_dir() else path
    return any(
        _NAME.match(file.stem) for word in ("benign", "malignant") for file in (folder / word).glob("*(*")
    )


BUSI = Collection(
    name="busi",
    title="BUSI (Al-Dhabyani et al. 2020)",
    accepts="a folder with benign, malignant and normal, as `benign (1).png` and `benign (1)_mask.png`",
    list=list_busi,
    reads=_reads,
    is_mammogram=False,
    licence="free for research; cite Al-Dhabyani et al. 2020",
    size=(224, 224),
    is_read_directly=True,
)
