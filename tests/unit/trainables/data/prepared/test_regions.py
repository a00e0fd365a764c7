"""Regions are cut as the methods say, at the same place in every run."""

import numpy as np
import pytest

from trainables.common.errors import DataError, UnknownNameError
from trainables.data.collections.collection import Box
from trainables.data.prepared.regions import LIMITS, box_of_mask, cut_pieces, is_tissue

FILM = np.random.default_rng(0).integers(0, 4096, (1500, 1200)).astype(np.uint16)


def pieces(
    cut: str | None, box: Box | None, film: np.ndarray = FILM, name: str = "a", machine: str = ""
) -> list:
    return cut_pieces(film, cut, box, name=name, max_value=4095, machine=machine)  # type: ignore[arg-type]  # names of tests


def test_a_box_is_cut_out_as_it_is_and_the_whole_image_without_one() -> None:
    (own,) = pieces("box", Box(10, 20, 30, 40))
    np.testing.assert_array_equal(own.pixels, FILM[20:60, 10:40])
    for cut, box in ((None, None), ("whole", Box(10, 20, 30, 40))):
        (whole,) = pieces(cut, box)
        assert whole.pixels.shape == FILM.shape


def test_a_box_that_leaves_the_image_is_cut_at_its_border_and_one_outside_is_refused() -> None:
    (own,) = pieces(None, Box(-5, 1490, 30, 40))
    assert own.box == Box(0, 1490, 25, 10)
    with pytest.raises(DataError, match="region outside of its image of 1500x1200 pixels"):
        pieces(None, Box(2000, 0, 10, 10))


@pytest.mark.parametrize(
    ("box", "names"),
    [
        (Box(500, 600, 100, 90), ["native", "zoom-1", "zoom-2"]),
        (Box(500, 600, 300, 90), ["native", "zoom-1", "zoom-2", "half-1", "half-2"]),
    ],
)
def test_method_1_gives_native_size_two_zooms_and_halves_of_a_long_region(box: Box, names: list[str]) -> None:
    found = pieces("roi_1", box)
    assert [piece.name for piece in found] == names
    assert found[0].pixels.shape == (598, 598)
    assert found[1].pixels.shape[0] == max(300, 2 * box.width)
    for piece in found[:3]:  # offsets leave the region inside
        assert piece.box.left <= box.left
        assert piece.box.left + piece.box.width >= box.left + box.width


def test_method_2_gives_three_tiles_of_native_size_around_the_region() -> None:
    found = pieces("roi_2", Box(500, 600, 100, 90))
    assert [piece.pixels.shape for piece in found] == [(598, 598)] * 3
    assert len({piece.box for piece in found}) > 1


def test_data_set_6_lays_tiles_over_a_region_that_is_larger_than_one() -> None:
    small, large = (pieces("data_set_6", Box(400, 400, side, side)) for side in (100, 500))
    assert [piece.name for piece in small] == ["zoom-1", "zoom-2", "native"]
    assert [piece.name for piece in large if piece.name.startswith("tile")] == [
        "tile-1",
        "tile-2",
        "tile-3",
        "tile-4",
    ]


def test_draws_follow_from_the_name_of_the_example() -> None:
    box = Box(500, 600, 100, 90)
    one, same, other = (pieces("roi_1", box, name=name) for name in ("a", "a", "b"))
    for left, right in zip(one, same, strict=True):
        assert left.box == right.box
        np.testing.assert_array_equal(left.pixels, right.pixels)
    assert [piece.box for piece in one] != [piece.box for piece in other]


def test_tiles_are_tissue_by_the_limits_of_the_scanner() -> None:
    film = np.zeros((1300, 1300), np.uint16)
    film[:, :700] = np.random.default_rng(1).integers(1000, 2000, (1300, 700))
    found = pieces("tiles", None, film, machine="Howtek")
    assert {piece.box.left for piece in found} == {0}
    assert len(found) == 3
    with pytest.raises(UnknownNameError, match="unknown scanner 'howteck'; did you mean 'howtek'"):
        pieces("tiles", None, film, machine="howteck")


def test_what_is_burnt_in_at_full_brightness_is_black_in_a_tile() -> None:
    film = np.random.default_rng(1).integers(1000, 2000, (598, 598)).astype(np.uint16)
    film[:20, :90] = 4095
    (tile,) = pieces("tiles", None, film, machine="howtek")
    assert tile.pixels.max() < 2000


@pytest.mark.parametrize("value", [0, 250])
def test_a_tile_that_is_too_dark_or_too_bright_is_no_tissue(value: int) -> None:
    assert not is_tissue(np.full((299, 299), value, np.uint8), LIMITS["dba"])


def test_a_method_without_a_region_and_an_empty_mask_are_refused() -> None:
    with pytest.raises(DataError, match="has no region, which the method roi_1 needs"):
        pieces("roi_1", None)
    with pytest.raises(DataError, match="empty mask"):
        box_of_mask(np.zeros((4, 4), np.uint8))
