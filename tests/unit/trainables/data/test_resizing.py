"""Images are resized by exact sums: as by OpenCV but for the last rounding, and as by plain loops exactly."""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from trainables.data.resizing import resize

SHAPES = np.random.default_rng(0).integers(1, 80, (120, 4)).tolist()


def by_loops(line: np.ndarray, target: int) -> list[Fraction]:
    """Means of the equal parts of a line; where it grows, values between the centres of pixels."""
    length = len(line)
    values = [Fraction(int(value)) for value in line]
    if target > length:
        places = [Fraction((2 * one + 1) * length - target, 2 * target) for one in range(target)]
        places = [min(max(place, Fraction(0)), Fraction(length - 1)) for place in places]
        ends = [(int(place), min(int(place) + 1, length - 1), place - int(place)) for place in places]
        return [values[low] * (1 - share) + values[high] * share for low, high, share in ends]
    parts = []
    for one in range(target):
        start, stop = Fraction(one * length, target), Fraction((one + 1) * length, target)
        covered = [
            (min(stop, Fraction(pixel + 1)) - max(start, Fraction(pixel))) * values[pixel]
            for pixel in range(length)
            if pixel < stop and pixel + 1 > start
        ]
        parts.append(sum(covered, Fraction(0)) * target / length)
    return parts


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_pixels_are_those_of_opencv_but_for_the_last_rounding(kind: type, channels: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    for height, width, high, wide in SHAPES:
        image = rng.integers(0, np.iinfo(kind).max + 1, (height, width, *channels)).astype(kind)
        how = cv2.INTER_LINEAR if high > height or wide > width else cv2.INTER_AREA
        theirs = cv2.resize(image, (wide, high), interpolation=how).reshape(high, wide, *channels)
        ours = resize(image, (high, wide))
        assert ours.dtype == kind
        assert np.abs(ours.astype(int) - theirs).max() <= 1, (height, width, high, wide)


@pytest.mark.parametrize(("length", "target"), [(7, 3), (9, 2), (80, 79), (5, 5), (3, 7), (1, 4), (64, 65)])
def test_a_line_is_exact_and_halves_go_to_the_even_number(length: int, target: int) -> None:
    line = np.random.default_rng(length).integers(0, 65536, length).astype(np.uint16)
    wanted = [round(value) for value in by_loops(line, target)]
    assert resize(line[None], (1, target)).tolist() == [wanted]
    assert resize(line[:, None], (target, 1)).ravel().tolist() == wanted


def test_a_flat_image_stays_flat_and_one_of_the_size_is_not_copied() -> None:
    white = np.full((301, 173), 65535, np.uint16)
    for size in ((300, 172), (7, 11), (640, 50), (900, 900)):
        assert (resize(white, size) == 65535).all()
    assert resize(white, white.shape) is white
    assert resize(white[:, ::-1], (20, 20)).flags.c_contiguous
