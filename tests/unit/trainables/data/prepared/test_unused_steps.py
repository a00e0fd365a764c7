"""Steps of whole mammograms that the user gives are taken or refused, and never passed over."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orchestrator import prepare_set
from trainables.common.errors import DataError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(4):
        pixels = random.integers(100, 200, (64, 48)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def labels(tree: Path, *, more: str = "", cells: str = "") -> None:
    rows = [f"{number}.png,{number % 2},P{number}{cells}" for number in range(4)]
    (tree / "labels.csv").write_text("\n".join([f"file,label,patient{more}", *rows, ""]))


def test_steps_for_images_that_are_no_mammograms_are_refused(tree: Path, tmp_path: Path) -> None:
    labels(tree)
    said = r"\(remove_pectoral=True\), and the images are no mammograms; leave them out, or say that they are"
    with pytest.raises(DataError, match=said):
        prepare_set("dicom", tree, tmp_path / "set", steps={"remove_pectoral": True}, workers=1)
    assert not (tmp_path / "set").exists()
    usual = prepare_set("dicom", tree, tmp_path / "set", steps={"remove_pectoral": False}, workers=1)
    assert usual.prepared.facts["settings"]["steps"] is None


def test_steps_for_regions_are_refused(tree: Path, tmp_path: Path) -> None:
    labels(tree, more=",box_left,box_top,box_width,box_height", cells=",4,4,16,16")
    with pytest.raises(DataError, match=r"\(margin=0\.1\), and the images are "):
        prepare_set("dicom", tree, tmp_path / "set", steps={"margin": 0.1}, workers=1)
