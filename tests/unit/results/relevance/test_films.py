"""Windows over films, marks and their curve, and patches put together to slides."""

from pathlib import Path

import numpy as np
import pytest

from results.errors import ScoreError
from results.relevance.explaining import relevance_map
from results.relevance.frame import Frame
from results.relevance.froc import froc
from results.relevance.method import FoundBox, RelevanceSettings
from results.relevance.slides import coordinates_of, put_together
from results.relevance.sliding import boxes_of, slide
from trainables.common.errors import ConfigError, DataError


def bright_share(windows: np.ndarray) -> np.ndarray:
    """Probability of something bright in a window: the more of it, the higher."""
    share = (windows > 200).mean(axis=(1, 2)) * 10
    positive = np.clip(share, 0, 1)
    return np.stack([1 - positive, positive], axis=1)


def film() -> np.ndarray:
    """Noise with two bright squares at the left, and background at the right, uint8, (300, 400)."""
    pixels = np.zeros((300, 400), np.uint8)
    pixels[:, :250] = np.random.default_rng(0).integers(60, 120, (300, 250))
    pixels[40:56, 40:56] = pixels[220:236, 180:196] = 255
    return pixels


def test_a_window_finds_both_places_and_leaves_the_background_out() -> None:
    heat = slide(bright_share, film(), 1, window_px=64, step=0.25)
    assert heat.values.shape == (19, 25)
    assert np.isnan(heat.values[:, 20:]).all()
    boxes = boxes_of(heat, (300, 400))
    assert len(boxes) >= 2
    for centre in ((48, 48), (228, 188)):
        assert any(one.box.holds(*centre) for one in boxes[:2])
    assert [one.score for one in boxes] == sorted((one.score for one in boxes), reverse=True)


def test_every_pixel_up_to_the_edge_is_in_a_window() -> None:
    heat = slide(lambda windows: np.ones((len(windows), 1)), film()[:, :230], 0, window_px=100)
    assert not np.isnan(heat.values).any()
    with pytest.raises(ScoreError, match="does not fit"):
        slide(bright_share, film()[:50], 1, window_px=64)


def test_a_free_response_curve_counts_lesions_once_and_marks_elsewhere() -> None:
    lesion, second, elsewhere = Frame(10, 10, 20, 20), Frame(100, 100, 20, 20), Frame(200, 0, 20, 20)
    marks = [
        [FoundBox(lesion, 0.9), FoundBox(Frame(12, 12, 20, 20), 0.7), FoundBox(elsewhere, 0.8)],
        [FoundBox(elsewhere, 0.2)],
    ]
    curve = froc(marks, [[lesion, second], []])
    assert (curve.lesions, curve.images) == (2, 2)
    assert curve.sensitivity_at(0.25) == 0.5
    assert curve.sensitivity_at(4.0) == 0.5
    assert curve.false_marks.tolist() == sorted(curve.false_marks.tolist())
    with pytest.raises(ScoreError, match="found none"):
        froc(marks, [[], []])


def test_patches_lie_where_their_names_say() -> None:
    files = [Path(f"9_idx5_x{x}_y{y}_class0.png") for x, y in ((51, 101), (101, 101), (51, 151))]
    corners = coordinates_of(files)
    patches = [np.full((50, 50, 3), 10 * number, np.uint8) for number in range(3)]
    whole, values = put_together(patches, corners, np.array([0.1, 0.2, 0.3]))
    assert whole.shape == (100, 100, 3)
    assert values[0, 60] == 0.2
    assert values[60, 0] == 0.3
    assert np.isnan(values[60, 60])
    assert (whole[60, 60] == 20).all()
    with pytest.raises(DataError, match="does not say where"):
        coordinates_of([Path("a.png")])
    with pytest.raises(DataError, match="of one slide"):
        coordinates_of([files[0], files[0]])


def test_the_method_windows_marks_places_on_a_whole_film() -> None:
    def score(windows: np.ndarray) -> np.ndarray:
        return bright_share(windows)[:, 1]

    settings = RelevanceSettings(masks=200, window_px=64)
    found = relevance_map("windows", score, film(), settings)
    assert found.values.shape == (300, 400)
    assert found.values[:, 330:].max() == 0
    assert any(mark.box.holds(48, 48) for mark in found.marks[:2])
    assert found.evaluations <= 200
    with pytest.raises(ConfigError, match="at least 8 pixels"):
        RelevanceSettings(window_px=4)
