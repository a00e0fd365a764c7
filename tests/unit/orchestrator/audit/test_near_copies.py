"""Copies are found though their pixels differ, and what is no copy is not."""

from collections.abc import Callable

import numpy as np
import pytest
from audited_sets import Image, textured

from benchmarks.changed_copies import all_of_it, brightened, cut, mirrored, saved_again
from orchestrator.audit.digests import digest_images
from orchestrator.audit.near_copies import find_near_copies
from orchestrator.audit.registration import SAME, likeness, local_contrast


def pairs_of(images: Image, groups: list[str], labels: list[int]) -> list[tuple[int, int, bool]]:
    digests = digest_images(images, np.arange(len(images)), 255.0)
    found = find_near_copies(digests.small, np.array(groups), np.array(labels))
    return [(pair.first, pair.second, pair.is_turned) for pair in found.pairs]


@pytest.mark.parametrize("change", [saved_again, brightened, mirrored, cut, all_of_it])
@pytest.mark.parametrize("channels", [0, 3])
def test_a_changed_copy_of_another_patient_is_found_and_nothing_else(
    change: Callable[[Image], Image], channels: int
) -> None:
    images = textured(30, channels=channels)
    with_copy = np.concatenate([images, change(images[4])[None]])
    is_turned = change in (mirrored, all_of_it)
    assert pairs_of(with_copy, [str(row) for row in range(31)], [0] * 31) == [(4, 30, is_turned)]


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("is_mirrored", [False, True])
def test_every_turn_is_found(turns: int, is_mirrored: bool) -> None:
    images = textured(6)
    turned = np.rot90(images[2][:, ::-1] if is_mirrored else images[2], turns)
    found = pairs_of(np.concatenate([images, turned[None]]), list("abcdefg"), [0] * 7)
    assert found == [(2, 6, True)]


def test_copies_within_a_patient_count_only_if_their_labels_differ() -> None:
    images = textured(4)
    doubled = np.concatenate([images, brightened(images[1])[None]])
    assert pairs_of(doubled, list("abcdb"), [0, 0, 0, 0, 0]) == []
    assert pairs_of(doubled, list("abcdb"), [0, 0, 0, 0, 1]) == [(1, 4, False)]


def test_images_that_show_nothing_are_copies_of_nothing() -> None:
    blank = np.full((3, 64, 64), 200, dtype=np.uint8)
    assert pairs_of(np.concatenate([textured(3), blank]), list("abcdef"), [0] * 6) == []


def test_pairs_that_were_not_looked_at_are_counted() -> None:
    images = np.concatenate([textured(4)] * 2)
    digests = digest_images(images, np.arange(8), 255.0)
    found = find_near_copies(digests.small, np.arange(8).astype(str), np.zeros(8, int), most_pairs=1)
    assert (len(found.pairs), found.left) == (1, 3)


def test_likeness_is_one_for_a_shift_and_low_for_another_picture() -> None:
    one, other = (image.astype(np.float32) / 255 for image in textured(2))
    assert likeness(np.roll(one, 1, axis=1), one) > SAME
    assert likeness(other, one) < SAME
    assert likeness(1 - one, one) < SAME  # a negative is no copy


def test_local_contrast_does_not_depend_on_brightness() -> None:
    image = textured(1)[0].astype(np.float32) / 255
    plain = local_contrast(image, narrow=1.0, wide=4.0, floor=0.02)
    brighter = local_contrast(image + 0.1, narrow=1.0, wide=4.0, floor=0.02)
    np.testing.assert_allclose(plain, brighter, atol=1e-3)
