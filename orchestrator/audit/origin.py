"""Classes that come from one source, vendor, site, size or view alone."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.audit.examined_set import ExaminedSet, is_known
from results.run.audit_record import Finding
from trainables.common.text import printable
from trainables.data.columns import PLACES, SITES, names_of

CATEGORIES: Final = (*SITES, "view", "laterality")
SIZE: Final = "size"
_ALL: Final = 0.98  # share of a class, or of a value, from which it counts as all of it
_OTHERS: Final = 0.5  # share of the other classes that the value may have at most
_LEAST_PATIENTS: Final = 5  # of a class and of a value; fewer say nothing


def categories_of(examined: ExaminedSet) -> dict[str, NDArray[np.str_]]:
    """Return what is known about where images come from: name -> value of each row, empty where unknown."""
    found = {name: names_of(np.asarray(values)) for name in CATEGORIES
             if (values := examined.column(name)) is not None}  # fmt: skip
    height, width = examined.column("height_px"), examined.column("width_px")
    if height is not None and width is not None:
        known = is_known(height) & is_known(width)
        sizes = [
            f"{h:g}x{w:g}" if is_there else "" for h, w, is_there in zip(height, width, known, strict=True)
        ]
        found[SIZE] = np.array(sizes)
    return found


def unknown_origins(
    examined: ExaminedSet, names: Sequence[str] = ("vendor", "site", SIZE)
) -> tuple[str, ...]:
    """Return the names of what is not known about the origin of the images.

    Args:
        examined: The set.
        names: What is asked for, of `CATEGORIES` and `SIZE`; `site` is known by any of `PLACES`.
    """
    found = categories_of(examined)
    return tuple(name for name in names if not any(one in found for one in _ways(name)))


def _ways(name: str) -> tuple[str, ...]:
    return PLACES if name == "site" else (name,)


def findings_of_origin(examined: ExaminedSet) -> list[Finding]:
    """Say which classes come from one value of a column alone, and which values hold one class alone."""
    found = []
    for name, values in categories_of(examined).items():
        found += list(_of_column(examined, name, values))
    return found


def _of_column(examined: ExaminedSet, name: str, values: NDArray[np.str_]) -> Iterator[Finding]:
    labels, groups = examined.rows.labels, examined.rows.groups
    known = values != ""
    texts = []
    for value in np.unique(values[known]):
        has = known & (values == value)
        for label, class_name in enumerate(examined.task.classes):
            is_class = known & (labels == label)
            if min(_patients(groups[has]), _patients(groups[is_class])) < _LEAST_PATIENTS:
                continue
            shown = f"{name} {printable(str(value), keeps='')}"
            rest = known & ~is_class
            if has[is_class].mean() >= _ALL and rest.any() and has[rest].mean() <= _OTHERS:
                texts.append(f"{_share(has[is_class])} of {class_name} images have {shown}, and "
                             f"{_share(has[rest])} of the others")  # fmt: skip
            elif is_class[has].mean() >= _ALL and is_class[known].mean() <= 1 - (1 - _ALL) * 10:
                texts.append(
                    f"{_share(is_class[has])} of the {int(has.sum())} images with {shown} are {class_name}"
                )
    if texts:
        more = f" (and {len(texts) - 1} more of {name})" if len(texts) > 1 else ""
        yield Finding(check="origin", is_warning=True, text=texts[0] + more, count=len(texts))


def _patients(groups: NDArray[np.str_]) -> int:
    return len(np.unique(groups))


def _share(is_so: NDArray[Any]) -> str:
    return f"{is_so.mean():.0%}"
