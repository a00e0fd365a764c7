"""What searches read directly is prepared with the same labels, patients, parts and partners."""

from pathlib import Path

import numpy as np
import pytest
from source_files import CLASSES, COLOUR, load, npz, pisa, two_classes

from trainables.common.errors import DataError, UnknownNameError
from trainables.data.collections import COLLECTIONS
from trainables.data.collections.collection import Choices
from trainables.data.prepared.engine import prepare
from trainables.data.prepared.settings import Settings


def compare(data: Path, name: str, task: str = "benign_malignant") -> None:
    """Prepare, and compare with what a search reads directly."""
    direct, _ = load(data, task=task)
    out = data.parent / "prepared set"
    prepare(COLLECTIONS[name], data, out, Choices(options={"task": task}), Settings())
    prepared, _ = load(out, task=task)
    np.testing.assert_array_equal(prepared.images, direct.images)
    for part in ("labels", "patients", "partners", "is_test"):
        np.testing.assert_array_equal(getattr(prepared, part), getattr(direct, part))
    assert prepared.max_value == direct.max_value


def test_class_folders(tmp_path: Path) -> None:
    compare(two_classes(tmp_path / "folders"), "folder")


def test_arrays(tmp_path: Path) -> None:
    for name in ("in", "parts"):
        (tmp_path / name).mkdir()
    compare(npz(tmp_path / "in", images=COLOUR, patient=np.array(list("aabbcc"))), "npz")
    split = np.array(["train", "train", "test", "test", "train", "train"])
    compare(npz(tmp_path / "parts", split=split, labels=CLASSES), "npz")


def test_the_pisa_layout(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    compare(pisa(tmp_path / "in"), "pisa")


def test_options_that_are_not_known_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no option size; it has: task"):
        COLLECTIONS["folder"].list(tmp_path, Choices(options={"size": "3"}))
    with pytest.raises(UnknownNameError, match="did you mean 'idc'"):
        COLLECTIONS["folder"].list(tmp_path, Choices(options={"task": "idcc"}))
    with pytest.raises(DataError, match="there is no folder"):
        COLLECTIONS["folder"].list(tmp_path / "gone", Choices())
