"""What an audit finds: planted copies on real sets, and shortcuts that are not there.

    python -m benchmarks.audit DATA [--sets films infn idc mias phantom] [--images 200] [--shuffles 40]

DATA is the folder of real images. Of each set some images are copied as another patient, changed in one way,
and the pairs are counted that the search for near copies gives back. Then labels are exchanged between
patients and within them, and the audits are counted in which a shortcut is said to tell them.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.changed_copies import CHANGES
from orchestrator.audit.digests import digest_images
from orchestrator.audit.examined_set import ExaminedSet
from orchestrator.audit.near_copies import find_near_copies
from orchestrator.audit.shortcuts import findings_of_shortcuts, score_shortcuts
from trainables.common.types import IntArray
from trainables.config.tasks import Task, task_named
from trainables.data.group_names import named_by_rows
from trainables.data.patches import PatchSet, select_rows
from trainables.data.sources import load_patch_set
from trainables.data.splits import make_split


@dataclass(frozen=True, slots=True)
class RealSet:
    """A set that is audited.

    Attributes:
        task: Name of the task.
        path: Path below the folder of real data; `phantom` for the built-in set.
        label_codes: What label numbers mean; None finds out.
    """

    task: str
    path: str
    label_codes: str | None = None


SETS: Final = {
    "films": RealSet("benign_malignant", "ddsm_mass_films_227.npz"),
    "infn": RealSet("benign_malignant", "infn_mass_patches_150.npz", "pisa"),
    "idc": RealSet("idc", "idc"),
    "mias": RealSet("normal_abnormal", "mias_pisa_layout"),
    "phantom": RealSet("benign_malignant", "phantom"),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of real images")
    parser.add_argument("--sets", nargs="+", choices=tuple(SETS), default=tuple(SETS))
    parser.add_argument("--images", type=int, default=200, help="images that are copied (default: 200)")
    parser.add_argument("--shuffles", type=int, default=40, help="exchanges of labels (default: 40)")
    arguments = parser.parse_args()
    print(f"| set | images copied | {' | '.join(CHANGES)} | as they are | exchanged labels | seconds |")
    print(f"| --- |{' ---: |' * (len(CHANGES) + 4)}")
    for name in arguments.sets:
        began = time.monotonic()
        own = SETS[name]
        with tempfile.TemporaryDirectory() as store:
            location = own.path if own.path == "phantom" else str(arguments.data / own.path)
            patch_set, _ = load_patch_set(
                location,
                task=task_named(own.task),
                label_codes=own.label_codes,  # type: ignore[arg-type]  # a name from the table above
                store=Path(store),
            )
            found, copied, untouched = copies_found(patch_set, arguments.images)
            wrong = false_warnings(patch_set, task_named(own.task), arguments.shuffles)
        cells = [str(found[change]) for change in CHANGES]
        print(
            f"| {name} | {copied} | {' | '.join(cells)} | {untouched} pairs | {wrong} of "
            f"{arguments.shuffles} warned of | {time.monotonic() - began:.0f} |",
            flush=True,
        )


def copies_found(patch_set: PatchSet, count: int) -> tuple[dict[str, int], int, int]:
    """Plant copies of some images as another patient.

    Returns:
        Change -> copies that are found, the number that was planted, and the pairs found without any.
    """
    images: NDArray[Any] = np.asarray(patch_set.images)
    if images.dtype != np.uint8:
        images = np.rint(images.astype(np.float32) * 255.0 / patch_set.max_value).astype(np.uint8)
    total = len(images)
    chosen = np.sort(np.random.default_rng(0).choice(total, min(count, total), replace=False))
    patients = patch_set.patients
    groups = named_by_rows(range(total)) if patients is None else patients
    plain = digest_images(images, np.arange(total), 255.0).compared
    untouched = len(find_near_copies(plain, groups, patch_set.labels).pairs)
    found = {}
    for change, altered in CHANGES.items():
        both = np.concatenate([images, np.stack([altered(images[row]) for row in chosen])])
        digests = digest_images(both, np.arange(len(both)), 255.0).compared
        of_all = np.concatenate([groups, np.array([f"planted-{row}" for row in chosen])])
        pairs = find_near_copies(
            digests, of_all, np.concatenate([patch_set.labels, patch_set.labels[chosen]])
        )
        planted = {(int(row), total + place) for place, row in enumerate(chosen)}
        found[change] = len(planted & {(pair.first, pair.second) for pair in pairs.pairs})
    return found, len(chosen), untouched


def false_warnings(patch_set: PatchSet, task: Task, shuffles: int) -> int:
    """Exchange labels between patients; returns the number of times that a shortcut is warned of."""
    rows = select_rows(patch_set, task)
    split = make_split(
        rows, fingerprint=patch_set.fingerprint, task=task, folds=4, test_share=0.0, seed=0, is_naive=False
    )
    examined = ExaminedSet.of(patch_set, task, split)
    places: IntArray = examined.training
    digests = digest_images(patch_set.images, rows.rows[places], patch_set.max_value)
    warned = 0
    for seed in range(shuffles):
        labels = _exchanged(rows.labels, rows.groups, seed)
        own = replace(examined, rows=replace(examined.rows, labels=labels))
        scored = score_shortcuts(own, digests, places, seed)
        warned += any(finding.is_warning for finding in findings_of_shortcuts(scored))
    return warned


def _exchanged(labels: IntArray, groups: NDArray[np.str_], seed: int) -> IntArray:
    """Each patient gets the labels of another one in another order, repeated or cut to as many images."""
    random = np.random.default_rng(seed)
    names, group = np.unique(groups, return_inverse=True)
    giver = random.permutation(len(names))
    of_group = [labels[group == index] for index in range(len(names))]
    exchanged = labels.copy()
    for index in range(len(names)):
        given = np.resize(of_group[giver[index]], int((group == index).sum()))
        exchanged[group == index] = random.permutation(given)
    return exchanged


if __name__ == "__main__":
    main()
