"""A mammogram made ready: the breast stays, the rest goes, and boxes follow their pixels."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from trainables.data.mammogram import preparation as module
from trainables.data.mammogram.preparation import (
    Preparation,
    PreparationError,
    Rectangle,
    map_rectangle,
    prepare,
)

HEIGHT, WIDTH = 400, 300


def film(
    *, is_left: bool = True, marker: bool = True, frame: bool = False, pectoral: bool = False
) -> np.ndarray:
    """A scanned film of 12 bits: half an ellipse of tissue on grey, a marker and a white frame."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    distance = np.hypot((rows - 200) / 160, columns / 170)
    noise = np.random.default_rng(0).random((HEIGHT, WIDTH))
    grey = np.where(distance < 1, 0.35 + 0.25 * (1 - distance), 0.04) + 0.01 * noise
    if pectoral:
        grey = np.where((columns / 110 + (rows - 40) / 150 < 1) & (distance < 1), 0.85, grey)
    if marker:
        grey[20:60, 240:280] = 0.98
    if frame:
        grey[:6], grey[-5:] = 1.0, 1.0
    image = np.rint(grey * 4095).astype(np.uint16)
    return np.ascontiguousarray(image if is_left else image[:, ::-1])


@pytest.mark.parametrize("is_left", [True, False])
@pytest.mark.parametrize("frame", [False, True])
def test_the_breast_is_cut_out_and_its_chest_wall_turned_to_the_left(is_left: bool, frame: bool) -> None:
    done = prepare(film(is_left=is_left, frame=frame), 4095, preparation=Preparation())
    left, top, width, height = done.box
    assert done.has_breast
    assert done.flipped is not is_left
    edge = left + width if is_left else WIDTH - left
    assert edge == pytest.approx(175, abs=8)
    assert (top, top + height) == (pytest.approx(38, abs=8), pytest.approx(362, abs=8))
    assert (done.pixels.dtype, done.max_value) == (np.uint16, 4095)
    assert done.pixels[:, 0].mean() > 4 * done.pixels[:, -1].mean()


def test_markers_and_background_are_set_to_0_and_tissue_stays() -> None:
    image = film()
    done = prepare(image, 4095, preparation=Preparation(crop_breast=False))
    assert done.pixels.shape == image.shape
    assert (done.pixels[20:60, 240:280] == 0).all()
    assert (done.pixels[380:] == 0).all()
    np.testing.assert_array_equal(done.pixels[100:300, :120], image[100:300, :120])


def test_a_mirrored_film_gives_the_same_pixels() -> None:
    steps = Preparation(size=(128, 96))
    one, other = (prepare(film(is_left=side), 4095, preparation=steps) for side in (True, False))
    assert np.abs(one.pixels.astype(int) - other.pixels).mean() < 0.02 * 4095


def test_the_pectoral_muscle_of_oblique_views_is_removed_if_asked_for() -> None:
    image, steps = film(pectoral=True), Preparation(remove_pectoral=True, crop_breast=False)
    muscle = (slice(70, 110), slice(5, 40))
    assert (prepare(image, 4095, preparation=steps, view="MLO").pixels[muscle] == 0).mean() > 0.95
    for kept in (
        prepare(image, 4095, preparation=steps, view="CC"),
        prepare(image, 4095, preparation=Preparation(crop_breast=False), view="MLO"),
    ):
        np.testing.assert_array_equal(kept.pixels[muscle], image[muscle])
    tissue = (slice(220, 330), slice(5, 60))
    done = prepare(image, 4095, preparation=steps, view="MLO")
    np.testing.assert_array_equal(done.pixels[tissue], image[tissue])


def test_a_film_is_resampled_to_millimetres_and_to_a_size() -> None:
    image = film()
    half = prepare(image, 4095, preparation=Preparation(mm_per_px=0.2), spacing_mm=(0.1, 0.1))
    assert half.mm_per_px == pytest.approx((0.2, 0.2), rel=0.01)
    assert half.pixels.shape == (pytest.approx(half.box[3] / 2, abs=1), pytest.approx(half.box[2] / 2, abs=1))
    sized = prepare(image, 4095, preparation=Preparation(size=(100, 100)))
    assert sized.pixels.shape == (100, 100)
    assert sized.scale[0] == pytest.approx(sized.scale[1], rel=0.02)  # a breast is not stretched
    right = prepare(image, 4095, preparation=Preparation(size=(100, 100), chest_wall="right"))
    np.testing.assert_array_equal(right.pixels, sized.pixels[:, ::-1])


def test_a_fixed_scale_on_a_fixed_size_cuts_or_fills() -> None:
    image = film()
    for size in ((60, 50), (500, 400)):
        done = prepare(image, 4095, preparation=Preparation(mm_per_px=0.2, size=size), spacing_mm=(0.1, 0.1))
        assert done.pixels.shape == size
        assert done.mm_per_px == pytest.approx((0.2, 0.2), rel=0.01)


def test_spacing_is_asked_for_or_assumed() -> None:
    with pytest.raises(
        PreparationError, match="states no pixel spacing, which mm_per_px needs; give spacing"
    ):
        prepare(film(), 4095, preparation=Preparation(mm_per_px=0.2))
    assumed = prepare(film(), 4095, preparation=Preparation(mm_per_px=0.2, spacing_mm=(0.1, 0.1)))
    stated = prepare(film(), 4095, preparation=Preparation(mm_per_px=0.2), spacing_mm=(0.1, 0.1))
    np.testing.assert_array_equal(assumed.pixels, stated.pixels)


@settings(max_examples=40, deadline=None)
@given(
    is_left=st.booleans(),
    chest_wall=st.sampled_from(["left", "right", None]),
    size=st.sampled_from([None, (128, 96), (200, 260)]),
    row=st.integers(120, 260),
    column=st.integers(10, 100),
)
def test_a_box_follows_its_pixels(
    is_left: bool, chest_wall: str | None, size: tuple[int, int] | None, row: int, column: int
) -> None:
    image = film()
    image[row : row + 20, column : column + 16] = 4095
    if not is_left:
        image, column = np.ascontiguousarray(image[:, ::-1]), WIDTH - column - 16
    done = prepare(image, 4095, preparation=Preparation(chest_wall=chest_wall, size=size))  # type: ignore[arg-type]  # one of three words
    mapped = done.map_box((column, row, 16, 20))
    assert mapped is not None
    left, top, width, height = mapped
    inside = done.pixels[top : top + height, left : left + width]
    assert inside.mean() > 0.9 * 4095
    rest = done.pixels.copy()
    rest[max(0, top - 2) : top + height + 2, max(0, left - 2) : left + width + 2] = 0
    assert rest.max() < 0.9 * 4095


@settings(max_examples=200, deadline=None)
@given(
    left=st.integers(0, 300),
    width=st.integers(1, 200),
    more=st.integers(1, 200),
    scale=st.floats(0.1, 2.0),
    is_flipped=st.booleans(),
)
def test_rectangles_that_touch_touch_where_they_are_mapped_to(
    left: int, width: int, more: int, scale: float, is_flipped: bool
) -> None:
    def mapped(left: int, width: int) -> Rectangle:
        found = map_rectangle(
            (left, 0, width, 1000),
            kept=(0, 0, 800, 1000),
            is_flipped=is_flipped,
            scale=(scale, scale),
            offset=(0, 10),
            shape=(4000, 4000),
        )
        return found or (0, 0, 0, 0)

    first, second, both = mapped(left, width), mapped(left + width, more), mapped(left, width + more)
    assert first[2] + second[2] == both[2]


def test_a_box_outside_of_what_was_kept_is_none() -> None:
    assert prepare(film(), 4095, preparation=Preparation()).map_box((280, 0, 10, 10)) is None


def test_depth_and_number_type_stay() -> None:
    image = film()
    steps = Preparation(size=(128, 96))
    deep = prepare(image, 4095, preparation=steps).pixels
    flat = prepare((image >> 4).astype(np.uint8), 255, preparation=steps)
    assert (flat.pixels.dtype, flat.max_value) == (np.uint8, 255)
    floats = prepare((image / 4095).astype(np.float32), 1.0, preparation=steps)
    assert floats.pixels.dtype == np.float32
    assert np.abs(floats.pixels * 4095 - deep).max() <= 0.51
    coloured = prepare(np.repeat(image[..., None], 3, axis=2), 4095, preparation=steps)
    np.testing.assert_array_equal(coloured.pixels, deep)


def test_a_film_without_a_breast_stays_whole_and_says_so() -> None:
    for image in (np.zeros((80, 60), np.uint8), np.full((80, 60), 200, np.uint8)):
        done = prepare(image, 255, preparation=Preparation())
        assert not done.has_breast
        assert (done.kept_share, done.box) == (1.0, (0, 0, 60, 80))
        np.testing.assert_array_equal(done.pixels, image)


def test_what_is_no_grey_image_is_refused() -> None:
    colour = np.random.default_rng(0).integers(0, 255, (20, 20, 3)).astype(np.uint8)
    with pytest.raises(PreparationError, match="is coloured, as no mammogram is"):
        prepare(colour, 255, preparation=Preparation())
    with pytest.raises(PreparationError, match="must be a grey image of at least 2x2 pixels"):
        prepare(np.zeros((1, 60000), np.uint8), 255, preparation=Preparation())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"margin": 0.7}, r"margin must lie in \[0, 0.5\], found 0.7"),
        ({"chest_wall": "up"}, "chest_wall must be left, right or None, found up"),
        ({"mm_per_px": 0.0}, r"mm_per_px must lie in \[0.001, 10\], found 0"),
        ({"size": [0, 5]}, r"size must be two positive numbers, found \(0, 5\)"),
        ({"size": [70000, 5]}, "size must not exceed 65535 pixels a side"),
        ({"spacing_mm": [0.1, -1]}, "spacing_mm must be two positive numbers"),
        ({"version": 99}, "the steps have version 99, this file has version 2"),
        ({"sharpen": True}, "unknown steps: sharpen; known are allows_for_processing, blank_background"),
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(PreparationError, match=message):
        Preparation.from_dict(wrong)


def test_values_survive_json_and_the_digest_follows_them() -> None:
    steps = Preparation(size=(512, 384), mm_per_px=0.2, spacing_mm=(0.05, 0.05), remove_pectoral=True)
    again = Preparation.from_dict(json.loads(json.dumps(steps.as_dict())))
    assert (again, again.digest) == (steps, steps.digest)
    assert steps.digest != Preparation().digest
    assert steps.sentence == (
        "breast cut out, background set to 0, chest wall to the left, pectoral muscle removed, "
        "0.2 mm a pixel, on 512x384 pixels"
    )


def test_a_copy_of_the_file_alone_does_the_same(tmp_path: Path) -> None:
    copy = tmp_path / "steps.py"
    copy.write_text(Path(str(module.__file__)).read_text())
    spec = importlib.util.spec_from_file_location("copied_steps", copy)
    assert spec is not None
    assert spec.loader is not None
    copied = importlib.util.module_from_spec(spec)
    sys.modules["copied_steps"] = copied  # dataclasses look their module up there
    try:
        spec.loader.exec_module(copied)
        steps = Preparation(size=(128, 96))
        done = copied.prepare(film(), 4095, preparation=copied.Preparation.from_dict(steps.as_dict()))
    finally:
        del sys.modules["copied_steps"]
    np.testing.assert_array_equal(done.pixels, prepare(film(), 4095, preparation=steps).pixels)
    assert "trainables" not in copy.read_text()


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(2, 400),
    share=st.floats(0.01, 1.0),
    bits=st.sampled_from([8, 16]),
    is_flipped=st.booleans(),
)
def test_area_means_of_whole_numbers_are_exact_over_the_parts_of_pillow(
    length: int, share: float, bits: int, is_flipped: bool
) -> None:
    width = max(2, length // 2)
    kind = np.uint8 if bits == 8 else np.uint16
    image = np.random.default_rng(length).integers(0, 2**bits, (length, width)).astype(kind)
    target = (max(1, int(length * share)), max(1, int(width * share)))
    kept = module._Kept(image, (0, 0, width, length), None, 1, is_flipped)
    turned = image[:, ::-1] if is_flipped else image
    plain = Image.fromarray(turned.astype(np.float32)).resize(target[::-1], Image.Resampling.BOX)
    found = module._resampled(kept, target).astype(np.float64)
    # Pillow rounds each sum to 24 bits, so that halves may fall to the other side.
    assert np.abs(found - np.asarray(plain)).max() <= 0.5 + 2**bits * 1e-6
    high, wide = (module._bins(side, parts) for side, parts in zip(image.shape, target, strict=True))
    row, column = target[0] // 2, target[1] // 2
    rows = slice(high[0][row], high[0][row] + high[1][row])
    own = turned[rows, wide[0][column] : wide[0][column] + wide[1][column]]
    assert found[row, column] == np.rint(int(own.sum(dtype=np.int64)) / own.size)


def test_sums_beyond_32_bits_are_right() -> None:
    image = np.full((900, 600), 65535, np.uint16)
    kept = module._Kept(image, (0, 0, 600, 900), None, 1, False)
    np.testing.assert_array_equal(module._resampled(kept, (2, 1)), 65535)


def test_background_is_0_and_tissue_the_same_whatever_the_number_of_bands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = Preparation(size=(120, 100))
    of_bands = prepare(film(is_left=False), 4095, preparation=steps).pixels
    monkeypatch.setattr(module, "_BAND", HEIGHT)
    np.testing.assert_array_equal(prepare(film(is_left=False), 4095, preparation=steps).pixels, of_bands)


def test_holes_are_filled_and_bays_at_the_edge_are_not() -> None:
    shape = np.ones((7, 9), bool)
    shape[3, 4] = False  # a hole
    shape[0, 2] = shape[1, 2] = False  # a bay
    filled = module._filled(shape)
    assert filled[3, 4]
    assert not filled[1, 2]
