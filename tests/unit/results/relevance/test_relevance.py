"""Relevance maps find what a score depends on, whatever computes the score."""

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest

from results.errors import ScoreError
from results.relevance.explaining import masks_within, relevance_map, score_of
from results.relevance.faithfulness import faithfulness, rank_correlation, smooth_noise
from results.relevance.frame import Frame, frame_of, peak_of
from results.relevance.known_boxes import known_boxes
from results.relevance.method import RelevanceSettings, Score
from results.relevance.methods import RELEVANCE_METHODS
from results.relevance.pictures import picture
from results.relevance.pointing import point
from results.relevance.worst import worst_places
from results.scores.decision_intervals import wilson_interval
from trainables.common.errors import ConfigError, UnknownNameError
from trainables.data.patches import PatchSet

PLACE = np.s_[20:28, 36:44]
BOX = Frame(36, 20, 8, 8)
SETTINGS = RelevanceSettings(masks=300)
ASKING = sorted(set(RELEVANCE_METHODS) - {"windows"})  # about changed copies of the whole image


def image() -> np.ndarray:
    """A bright square on noise, uint8, (64, 64)."""
    grey = np.random.default_rng(0).normal(90, 15, (64, 64))
    grey[PLACE] += 90
    return np.clip(grey, 0, 255).astype(np.uint8)


def brightness(images: np.ndarray) -> np.ndarray:
    """Brightness of the square, in [0, 1]."""
    return images[:, PLACE[0], PLACE[1]].mean(axis=(1, 2)) / 255


@pytest.mark.parametrize("name", ASKING)
@pytest.mark.parametrize("fill", ["blur", "mean"])
def test_a_map_has_its_peak_where_the_score_looks(name: str, fill: Literal["blur", "mean"]) -> None:
    settings = RelevanceSettings(masks=300, fill=fill)
    found = relevance_map(name, brightness, image(), settings)
    assert found.values.shape == (64, 64)
    assert BOX.holds(*peak_of(found.values))
    assert found.evaluations <= 302


@pytest.mark.parametrize("name", ASKING)
def test_a_map_of_the_opposite_score_is_turned_over(name: str) -> None:
    own = relevance_map(name, brightness, image(), SETTINGS).values
    other = relevance_map(name, lambda images: 1 - brightness(images), image(), SETTINGS).values
    np.testing.assert_allclose(other, -own, atol=1e-9)


@pytest.mark.parametrize("name", ASKING)
def test_a_number_of_masks_makes_a_map_the_same_every_time(name: str) -> None:
    one, other = (relevance_map(name, brightness, image(), SETTINGS).values for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_occlusion_asks_nothing_about_even_background() -> None:
    film = np.zeros((64, 64), np.uint8)
    film[:, :16] = image()[:, :16]
    whole = relevance_map("occlusion", brightness, image(), SETTINGS).evaluations
    assert relevance_map("occlusion", brightness, film, SETTINGS).evaluations < 0.75 * whole


def test_colour_images_have_a_map_of_their_height_and_width() -> None:
    colours = np.repeat(image()[:, :48, None], 3, axis=2)

    def score(images: np.ndarray) -> np.ndarray:
        return images[:, 20:28, 36:44, 1].mean(axis=(1, 2)) / 255

    for name in ASKING:
        found = relevance_map(name, score, colours, SETTINGS).values
        assert found.shape == (64, 48)
        assert BOX.holds(*peak_of(found))


def test_the_number_of_changed_images_follows_from_the_time_of_the_model() -> None:
    def slow(images: np.ndarray) -> np.ndarray:
        import time

        time.sleep(0.002 * len(images))
        return brightness(images)

    assert 16 <= masks_within(slow, image(), 0.4, most=900) <= 160
    assert masks_within(brightness, image(), 60.0, most=900) == 900


def test_unknown_methods_and_settings_out_of_range_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'occlusion'"):
        relevance_map("oclusion", brightness, image(), SETTINGS)
    with pytest.raises(ConfigError, match="above 0 seconds"):
        RelevanceSettings(seconds=0)
    with pytest.raises(ConfigError, match="at least 1 mask"):
        RelevanceSettings(masks=0)
    with pytest.raises(ConfigError, match="blur or mean"):
        RelevanceSettings(fill="black")  # type: ignore[arg-type]  # a wrong word is what is refused here
    with pytest.raises(ConfigError, match="seed"):
        RelevanceSettings(seed=-1)


def test_a_score_of_another_shape_is_refused() -> None:
    with pytest.raises(ConfigError, match="one number an image"):
        relevance_map("occlusion", lambda images: np.zeros((len(images), 2)), image(), SETTINGS)


def test_the_score_of_a_class_is_its_column() -> None:
    score: Score = score_of(lambda images: np.tile([0.25, 0.75], (len(images), 1)), 1)
    assert score(np.zeros((2, 4, 4))).tolist() == [0.75, 0.75]


def test_the_frame_lies_around_the_connected_part_with_the_peak() -> None:
    values = np.zeros((10, 10))
    values[2:4, 5:8], values[8, 0] = 1.0, 0.9
    assert frame_of(values) == Frame(5, 2, 3, 2)
    assert frame_of(-values) is None
    assert frame_of(np.zeros((4, 4))) is None


def test_a_map_that_names_what_the_score_needs_beats_noise() -> None:
    values = relevance_map("occlusion", brightness, image(), SETTINGS).values
    good = faithfulness(brightness, image(), values)
    bad = faithfulness(brightness, image(), -values)
    assert good.gain > 0.05 > bad.gain
    assert good.insertion > good.deletion


def test_rank_correlation_is_that_of_scipy_and_of_a_flat_map_zero() -> None:
    one, other = smooth_noise((20, 20), 0), smooth_noise((20, 20), 1)
    assert rank_correlation(one, one**3) == pytest.approx(1.0)
    assert abs(rank_correlation(one, other)) < 0.6
    assert rank_correlation(one, np.zeros((20, 20))) == 0.0


def test_the_pointing_game_counts_hits_against_centre_and_chance() -> None:
    maps = [smooth_noise((40, 40), seed) for seed in range(12)]
    boxes = [Frame(max(0, peak_of(one)[1] - 4), max(0, peak_of(one)[0] - 4), 8, 8) for one in maps]
    patients = [f"P{number // 2}" for number in range(12)]
    found = point(maps, boxes, patients)
    assert (found.images, found.patients) == (12, 6)
    assert found.hits.estimate == 1.0
    assert found.random.estimate == pytest.approx(64 / 1600, abs=0.01)
    assert found.over_random.low > 0.5
    assert found.over_centre.estimate == pytest.approx(1 - found.centre.estimate)
    with pytest.raises(ScoreError, match="found none"):
        point([], [], [])
    with pytest.raises(ScoreError, match="shape of its map"):
        point(maps[:1], [np.ones((3, 3), bool)], ["P0"])


def test_all_hits_of_a_few_images_are_no_certainty() -> None:
    maps = [smooth_noise((40, 40), seed) for seed in range(5)]
    peaks = [peak_of(one) for one in maps]
    boxes = [Frame(left - 2, top - 2, 4, 4) for top, left in peaks]
    found = point(maps, boxes, list("abcde"))
    assert (found.hits.estimate, found.centre.estimate) == (1.0, 0.0)
    assert found.hits.low == pytest.approx(wilson_interval(1.0, 5).low)
    assert found.centre.high == pytest.approx(1 - found.hits.low)
    assert found.over_centre.low == pytest.approx(1 - np.sqrt(2) * (1 - found.hits.low))
    assert found.over_centre.high == 1.0
    assert found.over_random.low == pytest.approx(found.hits.low - found.random.estimate, abs=0.01)
    of_one = point(maps, boxes, ["a"] * 5)
    assert of_one.hits.low == pytest.approx(wilson_interval(1.0, 1).low)


def test_the_same_hits_differ_by_nothing_and_no_difference_is_certain() -> None:
    maps = [np.zeros((9, 9)) for _ in range(6)]
    for one in maps:
        one[4, 4] = 1.0  # the centre
    boxes = [Frame(3, 3, 3, 3)] * 4 + [Frame(0, 0, 2, 2)] * 2
    found = point(maps, boxes, list("abcdef"))
    assert found.hits == found.centre
    assert found.over_centre.low < -0.1
    assert found.over_centre.high > 0.1


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_intervals_of_hits_hold_the_truth(share: float) -> None:
    random, holds = np.random.default_rng(0), []
    flat, box = np.zeros((3, 3)), np.zeros((3, 3), bool)
    at_centre, at_corner = flat.copy(), flat.copy()
    at_centre[1, 1], at_corner[0, 0], box[1, 1] = 1.0, 1.0, True
    for _ in range(300):
        is_hit, is_central = random.random((2, 15)) < [[share], [0.3]]
        boxes = [box if one else ~box for one in is_central]
        maps = [
            at_centre if hit == central else at_corner
            for hit, central in zip(is_hit, is_central, strict=True)
        ]
        found = point(maps, boxes, np.arange(15).astype(str))
        holds.append((found.hits.holds(share), found.over_centre.holds(share - 0.3)))
    assert np.mean(holds, axis=0).min() > 0.92


def test_the_worst_mistakes_of_both_classes_take_turns() -> None:
    labels = np.array([0, 0, 1, 1, 1])
    positive = np.array([0.9, 0.1, 0.2, 0.3, 0.9])
    places = worst_places(labels, np.stack([1 - positive, positive], axis=1), 4)
    assert places.tolist() == [2, 0, 3, 1]


def test_a_picture_shows_image_and_map_side_by_side(tmp_path: Path) -> None:
    values = relevance_map("occlusion", brightness, image(), SETTINGS).values
    drawn = picture(image(), values, max_value=255, frame=frame_of(values), caption=["one"], known=[BOX])
    pixels = cv2.imdecode(np.frombuffer(drawn, np.uint8), cv2.IMREAD_COLOR)
    assert pixels.shape[1] == 2 * 320 + 8
    left, right = pixels[:320, :320].astype(int), pixels[:320, 328:648].astype(int)
    coloured = np.abs(right[..., 2] - right[..., 0]) > 60
    assert coloured[100:140, 180:220].mean() > 0.5
    assert coloured.mean() < 0.4
    assert not (np.abs(left[..., 2] - left[..., 0]) > 60)[100:140, 185:215].any()


def columns_of(**columns: list[float]) -> PatchSet:
    return PatchSet(
        images=np.zeros((2, 32, 32), np.uint8),
        labels=np.array([0, 1]),
        label_codes="task",
        patients=None,
        partners=None,
        is_test=None,
        source="arrays",
        is_synthetic=True,
        fingerprint="0" * 64,
        max_value=255,
        columns={name: np.array(values) for name, values in columns.items()},
    )


def test_boxes_are_those_of_the_finding_in_the_stored_pixels() -> None:
    nan = float("nan")
    sides = {"left": [3.0, nan], "top": [4.0, nan], "width": [5.0, nan], "height": [60.0, nan]}
    plain = columns_of(**{f"box_{name}": values for name, values in sides.items()})
    assert known_boxes(plain, 0) == (Frame(3, 4, 5, 28),)
    assert known_boxes(plain, 1) == ()
    of_a_piece = columns_of(
        **{f"box_{name}": values for name, values in sides.items()}, height_px=[99.0, 99.0]
    )
    assert known_boxes(of_a_piece, 0) == ()
    found = columns_of(
        **{f"finding_{name}": values for name, values in sides.items()}, height_px=[99.0, 99.0]
    )
    assert known_boxes(found, 0) == (Frame(3, 4, 5, 28),)
