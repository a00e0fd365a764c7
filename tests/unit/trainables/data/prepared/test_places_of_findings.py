"""Where a finding lies in what an image has become."""

import numpy as np
import pytest

from trainables.data.collections.collection import Box
from trainables.data.prepared.chunk import _Ready


@pytest.mark.parametrize(("is_flipped", "expected"), [(False, (2, 0, 1, 2)), (True, (2, 0, 2, 2))])
def test_a_finding_reaches_from_edge_to_edge(is_flipped: bool, expected: tuple[int, ...]) -> None:
    ready = _Ready(np.zeros((5, 5)), (0, 0, 10, 10), is_flipped, (5, 5), (0, 0), None)
    assert ready.place_of(Box(3, 1, 3, 3)) == expected
    assert ready.place_of(Box(10, 0, 3, 3)) is None


@pytest.mark.parametrize("is_flipped", [False, True])
@pytest.mark.parametrize("side", [3, 5, 7, 9])
def test_findings_that_touch_touch_in_the_set(side: int, is_flipped: bool) -> None:
    ready = _Ready(np.zeros((side, side)), (0, 0, 10, 10), is_flipped, (side, side), (0, 0), None)
    places = [ready.place_of(Box(column, 0, 1, 10)) for column in range(10)]
    assert sum(place[2] for place in places if place is not None) == side
