"""A stored file with a matching checksum is not believed: what it claims is checked before it is mapped."""

import json
import shutil
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lending import StoreLender
from prefix_examples import IMAGES, LOW, TOP, VIEWS, Counting, expected, key

from trainables.features.store import PrefixStore
from trainables.features.stored_files import meta_path, open_stored
from trainables.features.stored_header import DamagedFeaturesError, ExpectedFeatures, Header

HALF = np.dtype("<f2")


def forge(path: Path, array: np.ndarray, **claims: Any) -> None:
    """Write an array in the place of features, with metadata that fit it."""
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=True)
    content = path.read_bytes()
    meta = {"crc32": zlib.crc32(content), "bytes": len(content), "seconds": 1.0, "images": len(array)}
    meta_path(path).write_text(json.dumps(meta | claims))


def forge_header(path: Path, header: str) -> None:
    text = header.encode().ljust(117) + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(64)
    path.write_bytes(content)
    meta = {"crc32": zlib.crc32(content), "bytes": len(content), "seconds": 1.0, "images": IMAGES}
    meta_path(path).write_text(json.dumps(meta))


FORGERIES: dict[str, Callable[[Path], None]] = {
    "objects": lambda path: forge(path, np.full((IMAGES, 2), None, object)),
    "a header of objects": lambda path: forge_header(
        path, f"{{'descr': '|O', 'fortran_order': False, 'shape': ({IMAGES}, 1)}}"
    ),
    "whole numbers": lambda path: forge(path, np.ones((IMAGES, 2), np.int16)),
    "double precision": lambda path: forge(path, np.ones((IMAGES, 2))),
    "big-endian": lambda path: forge(path, np.ones((IMAGES, 2), ">f2")),
    "records": lambda path: forge(path, np.ones(IMAGES, [("a", "<f2"), ("b", "<f2")])),
    "columns first": lambda path: forge(path, np.asfortranarray(np.ones((IMAGES, 2), "<f2"))),
    "fewer images": lambda path: forge(path, np.ones((IMAGES - 1, 2), "<f2")),
    "more images": lambda path: forge(path, np.ones((IMAGES + 1, 2), "<f2")),
    "a map in the place of a vector": lambda path: forge(path, np.ones((IMAGES, 2, 1, 1), "<f2")),
    "NaN": lambda path: forge(path, np.full((IMAGES, 2), np.nan, "<f2")),
    "infinity": lambda path: forge(path, np.full((IMAGES, 2), -np.inf, "<f4")),
    "another number of images in its metadata": lambda path: forge(
        path, np.ones((IMAGES, 2), "<f2"), images=7
    ),
    "a size that is a text": lambda path: forge(path, np.ones((IMAGES, 2), "<f2"), bytes="1"),
    "a size without end": lambda path: forge(path, np.ones((IMAGES, 2), "<f2"), bytes=10**18),
    "a time that is no number": lambda path: forge(path, np.ones((IMAGES, 2), "<f2"), seconds="long"),
    "a negative shape": lambda path: forge_header(
        path, "{'descr': '<f2', 'fortran_order': False, 'shape': (-5, -2)}"
    ),
    "a header that is no dictionary": lambda path: forge_header(path, "[" * 100),
}


def features_file(folder: Path) -> Path:
    return next(folder.rglob("top.gap.npy"))


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_file_in_the_store_is_computed_again(tmp_path: Path, forgery: str) -> None:
    PrefixStore(tmp_path).views(key(), VIEWS[:1], TOP, also=(), compute=Counting())
    FORGERIES[forgery](features_file(tmp_path))
    with pytest.warns(UserWarning, match="damaged and are computed again"):
        found = PrefixStore(tmp_path).views(key(), VIEWS[:1], TOP, also=(), compute=Counting())
    assert (found.computed, found.rebuilt) == (1, 1)
    np.testing.assert_array_equal(found.arrays[0][:, 0], expected(VIEWS[0]))


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_file_in_the_shared_store_is_not_taken(tmp_path: Path, forgery: str) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    PrefixStore(tmp_path / "one", shared=shared).views(key(), VIEWS[:1], TOP, also=(LOW,), compute=Counting())
    FORGERIES[forgery](features_file(shared))
    with pytest.warns(UserWarning, match="shared features are damaged and are not used"):
        found = PrefixStore(tmp_path / "two", shared=shared).views(
            key(), VIEWS[:1], TOP, also=(), compute=Counting()
        )
    assert (found.computed, found.fetched) == (1, 0)
    np.testing.assert_array_equal(found.arrays[0][:, 0], expected(VIEWS[0]))


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_file_of_another_machine_is_not_taken(tmp_path: Path, forgery: str) -> None:
    PrefixStore(tmp_path / "one").views(key(), VIEWS[:1], TOP, also=(LOW,), compute=Counting())
    FORGERIES[forgery](features_file(tmp_path / "one"))
    store = PrefixStore(tmp_path / "two", lender=StoreLender(tmp_path / "one"))
    with pytest.warns(UserWarning, match="another machine are damaged and are not used"):
        found = store.views(key(), VIEWS[:1], TOP, also=(), compute=Counting())
    assert (found.computed, found.fetched) == (1, 0)
    np.testing.assert_array_equal(found.arrays[0][:, 0], expected(VIEWS[0]))
    assert not list(tmp_path.rglob("*.partial"))


def test_a_file_of_objects_does_not_end_the_process(tmp_path: Path) -> None:
    PrefixStore(tmp_path).views(key(), VIEWS[:1], TOP, also=(), compute=Counting())
    path = features_file(tmp_path)
    FORGERIES["a header of objects"](path)
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from trainables.features.stored_files import open_stored\n"
        f"print(open_stored(Path({str(path)!r})).array[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 1  # an exception, not a signal
    assert "not float16 or float32" in done.stderr


def test_features_of_another_width_are_not_those_of_the_backbone(tmp_path: Path) -> None:
    PrefixStore(tmp_path).views(key(), VIEWS[:1], TOP, also=(), compute=Counting(width=3))
    with pytest.warns(UserWarning, match=r"has shape \(5, 3\), not \(5, 2\)"):
        found = PrefixStore(tmp_path).views(
            key(), VIEWS[:1], TOP, also=(), compute=Counting(), shape=(2, 1, 1)
        )
    assert found.arrays[0].shape == (IMAGES, 2)


def test_an_honest_file_of_the_shared_store_is_taken(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    for name, counts in (("one", (1, 0)), ("two", (0, 1))):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = PrefixStore(tmp_path / name, shared=shared).views(
                key(), VIEWS[:1], TOP, also=(LOW,), compute=Counting(), shape=(2, 1, 1)
            )
        assert (found.computed, found.fetched) == counts
    shutil.rmtree(shared)


@pytest.mark.parametrize(
    ("tap", "kind", "shape", "header", "message"),
    [
        (TOP, "float16", None, ((5, 2), HALF), ""),
        (TOP, "float16", (2, 7, 7), ((5, 2), np.dtype("<f4")), ""),
        (TOP, "float32", None, ((5, 2), HALF), "holds float16, not float32"),
        (LOW, "float16", (2, 7, 7), ((5, 2, 7, 7), HALF), ""),
        (LOW, "float16", (2, 7, 7), ((5, 2, 7, 6), HALF), r"has shape \(5, 2, 7, 6\), not \(5, 2, 7, 7\)"),
        (LOW, "float16", None, ((5, 2), HALF), r"not \(5, any, any, any\)"),
        (TOP, "float16", (2, 7, 7), ((4, 2), HALF), r"has shape \(4, 2\), not \(5, 2\)"),
    ],
)
def test_what_is_asked_for_is_compared_with_what_is_there(
    tap: Any, kind: str, shape: Any, header: Any, message: str
) -> None:
    asked = ExpectedFeatures(5, tap, kind, shape)
    if not message:
        asked.check(Header(*header, 128), "file")
        return
    with pytest.raises(DamagedFeaturesError, match=message):
        asked.check(Header(*header, 128), "file")


def test_a_file_is_opened_without_expectations_by_who_has_none(tmp_path: Path) -> None:
    PrefixStore(tmp_path).views(key(), VIEWS[:1], TOP, also=(), compute=Counting())
    assert open_stored(features_file(tmp_path)) is not None
