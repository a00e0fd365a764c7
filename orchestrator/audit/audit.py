"""The audit of a patch set for a task and a split. It prints nothing and writes nothing."""

import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from orchestrator.audit.digests import ImageDigests, digest_images
from orchestrator.audit.examined_set import ExaminedSet
from orchestrator.audit.feature_copies import NEARLY_SAME, AlikePairs, StoredVectors, alike_pairs
from orchestrator.audit.near_copies import MOST_PAIRS, NearCopies, find_near_copies
from orchestrator.audit.origin import findings_of_origin, unknown_origins
from orchestrator.audit.parts import SHOWN, findings_of_parts
from orchestrator.audit.shortcuts import Scored, findings_of_shortcuts, score_shortcuts
from results.run.audit_record import AuditRecord, Check, Finding
from trainables.common.text import count_text
from trainables.common.types import IntArray
from trainables.data.patches import NO_PARTNER

_SEED: Final = 0  # of what is drawn from a large set, and of the folds of the shortcuts


@dataclass(frozen=True, slots=True)
class Effort:
    """How much of a large set is looked at.

    Attributes:
        images: Number of images that are compared with each other at most.
        scored: Number of images that shortcuts are scored on at most.
        pairs: Number of pairs that are laid over each other at most.
        pixel_bytes: Size of the images that are read at most, in bytes.
    """

    images: int
    scored: int
    pairs: int
    pixel_bytes: float


OF_A_SEARCH: Final = Effort(images=8_000, scored=4_000, pairs=MOST_PAIRS, pixel_bytes=1e9)
WHOLE: Final = Effort(images=40_000, scored=20_000, pairs=20_000, pixel_bytes=1e12)


def audit_set(
    examined: ExaminedSet, effort: Effort = OF_A_SEARCH, features: StoredVectors | None = None
) -> AuditRecord:
    """Look for copies, torn patients, labels that disagree, classes of one origin, and shortcuts.

    Args:
        examined: The set, with its task and split.
        effort: How much of a large set is looked at.
        features: Features of the set that are stored, for a second look for copies; None for none.
    """
    started = time.monotonic()
    patch_set = examined.patch_set
    findings = [*_exact_copies(examined), *findings_of_parts(examined), *findings_of_origin(examined)]
    scored, compared = Scored((), 0, "rows are measurements"), len(examined.rows.rows)
    if not patch_set.is_table:
        places = _drawn(examined, effort)
        digests = digest_images(patch_set.images, examined.rows.rows[places], patch_set.max_value)
        compared = len(places)
        findings += _near_copies(examined, digests, places, effort, features)
        scored = _scored(examined, digests, places, effort)
        findings += findings_of_shortcuts(scored)
    return AuditRecord(
        fingerprint=patch_set.fingerprint,
        task=examined.task.name,
        images=len(examined.rows.rows),
        compared=compared,
        patients=len(np.unique(patch_set.patients[examined.rows.rows]))
        if patch_set.patients is not None
        else None,
        scored=scored.images,
        unscored=scored.unscored,
        lacks=unknown_origins(examined),
        findings=tuple(sorted(findings, key=lambda finding: not finding.is_warning)),
        shortcuts=scored.shortcuts,
        seconds=round(time.monotonic() - started, 3),
    )


def _drawn(examined: ExaminedSet, effort: Effort) -> IntArray:
    """Places of the rows to look at: all, or as many as the effort allows, drawn at random."""
    count = len(examined.rows.rows)
    image_bytes = examined.patch_set.images[:1].nbytes
    most = int(min(effort.images, max(1.0, effort.pixel_bytes // max(1, image_bytes))))
    if count <= most:
        return np.arange(count, dtype=np.int64)
    return np.sort(np.random.default_rng(_SEED).choice(count, most, replace=False)).astype(np.int64)


def _scored(examined: ExaminedSet, digests: ImageDigests, places: IntArray, effort: Effort) -> Scored:
    kept = np.flatnonzero(np.isin(places, examined.training))
    if len(kept) > effort.scored:
        kept = np.sort(np.random.default_rng(_SEED).choice(kept, effort.scored, replace=False))
    return score_shortcuts(examined, digests.of(kept), places[kept], _SEED)


def _exact_copies(examined: ExaminedSet) -> list[Finding]:
    """Pictures that are there twice under two patients, or with two labels; a split keeps them together."""
    copy_of = examined.patch_set.duplicate_of
    if copy_of is None:
        return []
    rows = examined.rows.rows
    copies = rows[np.isin(copy_of[rows], rows)]
    copies = copies[copy_of[copies] != NO_PARTNER]
    pairs = np.stack([copy_of[copies], copies], axis=1)
    patients, label = examined.patch_set.patients, np.full(len(examined.patch_set.labels), -1)
    label[rows] = examined.rows.labels
    found = []
    if patients is not None and len(two := pairs[patients[pairs[:, 0]] != patients[pairs[:, 1]]]):
        text = f"{_twice(len(two))} under two patients; the split keeps them together"
        found.append(_of_pairs(examined, two, "copies", text, is_warning=False))
    if len(torn := pairs[label[pairs[:, 0]] != label[pairs[:, 1]]]):
        text = f"{_twice(len(torn))} with two labels"
        found.append(_of_pairs(examined, torn, "labels", text, is_warning=True))
    return found


def _twice(count: int) -> str:
    return f"{count_text(count, 'image')} {'is' if count == 1 else 'are'} there twice, pixel by pixel,"


def _near_copies(
    examined: ExaminedSet,
    digests: ImageDigests,
    places: IntArray,
    effort: Effort,
    features: StoredVectors | None,
) -> list[Finding]:
    rows = examined.rows
    groups, labels = rows.groups[places], rows.labels[places]
    alike = None if features is None else alike_pairs(features.vectors[places], groups, labels)
    near = find_near_copies(
        digests.compared,
        groups,
        labels,
        most_pairs=effort.pairs,
        proposed=None if alike is None else alike.pairs,
    )
    across, torn = [], []
    for pair in near.pairs:
        first, second = int(places[pair.first]), int(places[pair.second])
        if rows.groups[first] != rows.groups[second]:
            across.append((first, second))
        if rows.labels[first] != rows.labels[second]:
            torn.append((first, second))
    found = []
    if across:
        found.append(_of_near(examined, np.array(across), near))
    if torn:
        text = (
            f"{count_text(len(torn), 'pair')} of images {_show(len(torn))} the same picture with two labels"
        )
        found.append(_of_pairs(examined, rows.rows[np.array(torn)], "labels", text, is_warning=True))
    if features is not None and alike is not None:
        found += _nearly_same(examined, places, near, features, alike)
    return found


def _nearly_same(
    examined: ExaminedSet, places: IntArray, near: NearCopies, features: StoredVectors, alike: AlikePairs
) -> list[Finding]:
    """Pairs that do not fit onto each other, but whose features are closer than those of two pictures."""
    copies = {(pair.first, pair.second) for pair in near.pairs}
    pairs = [pair for pair in alike.pairs[alike.cosines >= NEARLY_SAME].tolist() if tuple(pair) not in copies]
    if not pairs:
        return []
    rows = examined.rows.rows[places[np.array(pairs)]]
    text = (
        f"{count_text(len(pairs), 'pair')} of other images {'has' if len(pairs) == 1 else 'have'} nearly the "
        f"same features (cosine of {NEARLY_SAME:g} and more, {features.backbone}); look at them"
    )
    return [_of_pairs(examined, rows, "copies", text, is_warning=False)]


def _of_near(examined: ExaminedSet, pairs: IntArray, near: NearCopies) -> Finding:
    whose = "different patients" if examined.rows.is_grouped else "different images"
    in_two = int((examined.parts[pairs[:, 0]] != examined.parts[pairs[:, 1]]).sum())
    turned = sum(pair.is_turned for pair in near.pairs)
    how = f", {turned} of them turned" if turned else ""
    left = f"; {near.left} more pairs look alike and were not compared" if near.left else ""
    text = (
        f"{count_text(len(pairs), 'pair')} of images of {whose} {_show(len(pairs))} the same picture{how} "
        f"({in_two} of them in two parts{left})"
    )
    return _of_pairs(examined, examined.rows.rows[pairs], "copies", text, is_warning=True)


def _show(count: int) -> str:
    return "shows" if count == 1 else "show"


def _of_pairs(
    examined: ExaminedSet, pairs: IntArray, check: Check, text: str, *, is_warning: bool
) -> Finding:
    named = tuple(" and ".join(examined.name(int(row)) for row in pair) for pair in pairs[:SHOWN])
    return Finding(
        check=check,
        is_warning=is_warning,
        text=text,
        count=len(pairs),
        examples=named,
    )
