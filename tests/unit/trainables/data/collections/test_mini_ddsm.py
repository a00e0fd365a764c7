"""Mini-DDSM: films of every class are taken whole, whether a mask lies beside them or not."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from dicom_tree import film

from orchestrator import prepare_set
from trainables.data.collections import COLLECTIONS
from trainables.data.collections.collection import Choices

SIZE = (192, 128)
SIDES = ("left", "top", "width", "height")


def mini_ddsm(folder: Path) -> Path:
    """Two films a class, with a mask for each that is not normal."""
    root = folder / "MINI-DDSM-Complete-PNG-16"
    for number, (volume, letter) in enumerate((("Cancer", "C"), ("Benign", "B"), ("Normal", "A")) * 2):
        place, name = root / volume / str(number), f"{letter}_{1000 + number}_1"
        place.mkdir(parents=True)
        is_normal = letter == "A"
        word = "NON_OVERLAY" if is_normal else "OVERLAY"
        line = f"LEFT_CC LINES 192 PIXELS_PER_LINE 128 BITS_PER_PIXEL 12 RESOLUTION 50 {word}\n"
        (place / f"{name.replace('_', '-')}.ics").write_text(f"DIGITIZER HOWTEK\nSEQUENCE\n{line}")
        pixels = film(number, is_malignant=letter == "C", side="L", size=SIZE)
        assert cv2.imwrite(str(place / f"{name}.LEFT_CC.png"), pixels)
        if not is_normal:
            mask = np.zeros(SIZE, np.uint8)
            mask[88:104, 25:39] = 255
            assert cv2.imwrite(str(place / f"{name}.LEFT_CC_MASK.png"), mask)
    return root


@pytest.mark.parametrize("regions", [None, "image"])
def test_every_film_is_whole_and_is_made_ready_as_a_mammogram(tmp_path: Path, regions: str | None) -> None:
    root = mini_ddsm(tmp_path)
    plain = prepare_set("ddsm", root, tmp_path / "plain", regions=regions, is_prepared=False).prepared
    boxes = [[plain.table[f"box_{side}"][row] for side in SIDES] for row in range(6)]
    assert boxes == [[0, 0, SIZE[1], SIZE[0]]] * 6
    ready = prepare_set("ddsm", root, tmp_path / "ready", regions=regions).prepared
    assert ready.facts["settings"]["steps"] is not None
    assert ready.images.shape == (6, 1024, 832)
    shares = [width / SIZE[1] for width in ready.table["box_width"]]
    assert max(shares) - min(shares) < 0.1


def test_a_mask_is_kept_beside_its_film(tmp_path: Path) -> None:
    root = mini_ddsm(tmp_path)
    prepared = prepare_set("ddsm", root, tmp_path / "set", size=SIZE, is_prepared=False).prepared
    assert prepared.masks is not None
    drawn = [int((mask > 0).sum()) for mask in prepared.masks]
    assert drawn == [0 if label == 0 else 16 * 14 for label in prepared.table["label"]]
    found = COLLECTIONS["ddsm"].list(root, Choices())
    assert {example.cut for example in found.examples} == {None, "whole"}
