"""Places of a prepared image in its film are the inverse of places of the film in it."""

import numpy as np
import pytest

from results.relevance.frame import Frame
from results.relevance.place_in_file import PlaceInFile
from trainables.data.mammogram.preparation import Preparation, prepare


@pytest.mark.parametrize("laterality", ["L", "R"])
@pytest.mark.parametrize(
    "steps",
    [
        Preparation(size=(64, 48)),
        Preparation(size=(64, 48), chest_wall="right"),
        Preparation(crop_breast=False, chest_wall=None, size=(100, 90)),
        Preparation(mm_per_px=0.17, size=(60, 50)),
        Preparation(),
    ],
)
def test_what_lies_in_a_box_of_the_film_lies_in_its_way_there_and_back(
    laterality: str, steps: Preparation
) -> None:
    rows, columns = np.mgrid[:200, :140]
    film = np.where(np.hypot((rows - 100) / 80, columns / 100) < 1, 2000, 10).astype(np.uint16)
    film = film if laterality == "L" else film[:, ::-1].copy()
    done = prepare(film, 4095, preparation=steps, spacing_mm=(0.1, 0.1))
    place = PlaceInFile(Frame(*done.box), done.flipped, done.scale, done.offset)
    left = 20 if laterality == "L" else 100
    there = done.map_box((left, 90, 20, 30))
    assert there is not None
    back = place.frame(Frame(*there))
    assert back is not None
    slack = 1 / min(done.scale) + 1
    assert abs(back.left - left) <= slack
    assert abs(back.top - 90) <= slack
    assert abs(back.width - 20) <= 2 * slack
    assert abs(back.height - 30) <= 2 * slack
    middle = place.point(there[1] + there[3] // 2, there[0] + there[2] // 2)
    assert middle is not None
    assert back.holds(*middle)


def test_what_lies_outside_of_what_was_kept_has_no_place() -> None:
    place = PlaceInFile(Frame(10, 20, 30, 40), False, (1.0, 1.0), (5, 0))
    assert place.point(4, 0) is None
    assert place.point(5, 0) == (20, 10)
    assert place.frame(Frame(0, 0, 4, 4)) is None
    assert place.frame(Frame(0, 0, 4, 8)) == Frame(10, 20, 4, 3)
