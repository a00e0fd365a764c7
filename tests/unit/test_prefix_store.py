import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from trainables.data.views import View
from trainables.errors import PrefixError
from trainables.prefix.store import PrefixKey, PrefixStore, Tap

VIEWS = tuple(View("d4", index) for index in range(4))
TOP, LOW = Tap("top", is_pooled=True), Tap("low", is_pooled=False)


def key(**fields: object) -> PrefixKey:
    defaults: dict[str, object] = {
        "fingerprint": "f",
        "rows": np.arange(5),
        "backbone": "b",
        "weights": "w",
        "transform": {"contrast": 1.0},
    }
    return PrefixKey(**(defaults | fields))


class Counting:
    """Computes recognisable features and counts its calls."""

    def __init__(self, scale: float = 1.0) -> None:
        self.calls: list[tuple[View, tuple[Tap, ...]]] = []
        self.scale = scale

    def __call__(self, view: View, taps: Sequence[Tap]) -> Iterator[tuple[int, dict[Tap, Tensor]]]:
        self.calls.append((view, tuple(taps)))
        for start in (0, 3):
            rows = torch.arange(start, min(start + 3, 5), dtype=torch.float32)
            pooled = (rows + 10 * view.index)[:, None].repeat(1, 2) * self.scale
            yield start, {tap: pooled if tap.is_pooled else pooled[:, :, None, None] for tap in taps}


def test_a_key_is_computed_once_and_read_by_all(tmp_path: Path) -> None:
    compute = Counting()
    first = PrefixStore(tmp_path).views(key(), VIEWS, TOP, also=(), compute=compute)
    again = PrefixStore(tmp_path).views(key(), VIEWS, TOP, also=(), compute=compute)
    assert (first.computed, again.computed, len(compute.calls)) == (4, 0, 4)
    for index, array in enumerate(again.arrays):
        np.testing.assert_array_equal(array[:, 0], np.arange(5) + 10 * index)
        assert array.dtype == np.float16


def test_one_pass_fills_every_tap(tmp_path: Path) -> None:
    compute = Counting()
    store = PrefixStore(tmp_path)
    store.views(key(), VIEWS[:1], TOP, also=(LOW, TOP), compute=compute)
    found = store.views(key(), VIEWS[:1], LOW, also=(), compute=compute)
    assert found.computed == 0
    assert compute.calls == [(VIEWS[0], (TOP, LOW))]
    assert found.arrays[0].shape == (5, 2, 1, 1)


@pytest.mark.parametrize(
    "other",
    [
        {"fingerprint": "g"},
        {"rows": np.arange(1, 6)},
        {"backbone": "c"},
        {"weights": "x"},
        {"transform": {"contrast": 2.0}},
    ],
)
def test_another_key_is_never_read_by_mistake(tmp_path: Path, other: dict[str, object]) -> None:
    store = PrefixStore(tmp_path)
    store.views(key(), VIEWS[:1], TOP, also=(), compute=Counting())
    assert store.views(key(**other), VIEWS[:1], TOP, also=(), compute=Counting()).computed == 1


def test_a_damaged_file_is_noticed_reported_and_rebuilt(tmp_path: Path) -> None:
    store = PrefixStore(tmp_path)
    store.views(key(), VIEWS[:1], TOP, also=(), compute=Counting())
    path = next(tmp_path.rglob("top.gap.npy"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 0xFF
    path.write_bytes(bytes(content))
    os.utime(path, (1, 1))
    with pytest.warns(UserWarning, match="are damaged and are computed again"):
        found = store.views(key(), VIEWS[:1], TOP, also=(), compute=Counting())
    assert found.computed == 1
    np.testing.assert_array_equal(found.arrays[0][:, 0], np.arange(5))


def test_features_beyond_half_precision_are_stored_in_single(tmp_path: Path) -> None:
    compute = Counting(scale=1e5)
    found = PrefixStore(tmp_path).views(key(), VIEWS[:1], TOP, also=(), compute=compute)
    assert found.arrays[0].dtype == np.float32
    np.testing.assert_allclose(found.arrays[0][:, 0], np.arange(5) * 1e5)


def test_features_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PrefixError, match="are not finite; are the weights or pixels broken"):
        PrefixStore(tmp_path).views(key(), VIEWS[:1], TOP, also=(), compute=Counting(scale=float("nan")))
    assert not list(tmp_path.rglob("*.npy"))


def test_two_processes_that_need_the_same_key_share_the_work(tmp_path: Path) -> None:
    computes = [_Slow(), _Slow()]
    results = []

    def work(compute: "_Slow") -> None:
        results.append(PrefixStore(tmp_path).views(key(), VIEWS, TOP, also=(), compute=compute))

    threads = [threading.Thread(target=work, args=(compute,)) for compute in computes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert sorted(len(compute.calls) for compute in computes) == [2, 2]
    assert [len(result.arrays) for result in results] == [4, 4]


class _Slow(Counting):
    def __call__(self, view: View, taps: Sequence[Tap]) -> Iterator[tuple[int, dict[Tap, Tensor]]]:
        time.sleep(0.15)
        yield from super().__call__(view, taps)


_DIES = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_prefix_store import *
class Stuck(Counting):
    def __call__(self, view, taps):
        yield next(super().__call__(view, taps))
        print("computing", flush=True)
        time.sleep(60)
PrefixStore(Path(sys.argv[1])).views(key(), VIEWS[:1], TOP, also=(), compute=Stuck())
"""


def test_a_builder_that_dies_leaves_nobody_waiting(tmp_path: Path) -> None:
    script = _DIES.format(tests=str(Path(__file__).parent))
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == b"computing\n"
        builder.send_signal(signal.SIGKILL)
        builder.wait(timeout=10)
    found = PrefixStore(tmp_path).views(key(), VIEWS[:1], TOP, also=(), compute=Counting())
    assert found.computed == 1
    assert not list(tmp_path.rglob("*.partial"))


def test_the_key_folder_says_what_it_holds(tmp_path: Path) -> None:
    PrefixStore(tmp_path).views(key(), VIEWS[:1], TOP, also=(), compute=Counting())
    described = json.loads(next(tmp_path.rglob("key.json")).read_text())
    assert described["backbone"] == "b"
    assert described["images"] == 5
