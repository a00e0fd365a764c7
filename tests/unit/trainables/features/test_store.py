"""Features are computed once per key, whoever asks, and never read for another key."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from prefix_examples import IMAGES, LOW, TOP, VIEWS, Counting, expected, key
from torch import Tensor

from trainables.common.errors import PrefixError
from trainables.features import keys
from trainables.features.locks import held
from trainables.features.store import PrefixStore
from trainables.models.taps import Tap
from trainables.preprocessing.views import View


def test_a_key_is_computed_once_and_read_by_all(tmp_path: Path) -> None:
    compute = Counting()
    first = PrefixStore(tmp_path).views(key(), VIEWS, TOP, also=(), compute=compute)
    again = PrefixStore(tmp_path).views(key(), VIEWS, TOP, also=(), compute=compute)
    assert (first.computed, again.computed, len(compute.calls)) == (4, 0, 4)
    for view, array in zip(VIEWS, again.arrays, strict=True):
        np.testing.assert_array_equal(array[:, 0], expected(view))
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
        {"transform": {"contrast": 2.0, "size_px": 32}},
        {"kind": "float32"},
    ],
    ids=["data set", "rows", "backbone", "weights", "transform", "number type"],
)
def test_another_key_is_never_read_by_mistake(tmp_path: Path, other: dict[str, object]) -> None:
    store = PrefixStore(tmp_path)
    store.views(key(), VIEWS[:1], TOP, also=(), compute=Counting())
    assert store.views(key(**other), VIEWS[:1], TOP, also=(), compute=Counting()).computed == 1


def test_features_of_another_version_are_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PrefixStore(tmp_path)
    store.views(key(), VIEWS[:1], TOP, also=(), compute=Counting())
    monkeypatch.setattr(keys, "FORMAT", keys.FORMAT + 1)
    assert store.views(key(), VIEWS[:1], TOP, also=(), compute=Counting()).computed == 1


def test_single_precision_keeps_every_bit(tmp_path: Path) -> None:
    compute = Counting(scale=1 / 3)
    found = PrefixStore(tmp_path).views(key(kind="float32"), VIEWS[:1], TOP, also=(), compute=compute)
    assert found.arrays[0].dtype == np.float32
    np.testing.assert_array_equal(
        found.arrays[0][:, 0], expected(VIEWS[0]).astype(np.float32) * np.float32(1 / 3)
    )


def test_what_computing_cost_is_known_of_stored_features_too(tmp_path: Path) -> None:
    cold = PrefixStore(tmp_path).views(key(), VIEWS[:2], TOP, also=(), compute=_Slow())
    warm = PrefixStore(tmp_path).views(key(), VIEWS[:2], TOP, also=(), compute=_Slow())
    assert cold.seconds >= 2 * _Slow.SECONDS
    assert cold.seconds_per_image >= _Slow.SECONDS / IMAGES
    assert warm.seconds == 0.0
    assert warm.seconds_per_image == pytest.approx(cold.seconds_per_image, rel=0.2)


def test_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PrefixError, match="no image to compute features of"):
        PrefixStore(tmp_path).views(key(), VIEWS[:1], TOP, also=(), compute=lambda view, taps: iter(()))


def test_a_folder_that_cannot_be_written_costs_time_and_no_trial(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    found = PrefixStore(tmp_path / "file").views(key(), VIEWS[:2], TOP, also=(LOW,), compute=Counting())
    assert found.computed == 2
    np.testing.assert_array_equal(found.arrays[1][:, 0], expected(VIEWS[1]))
    assert found.arrays[1].dtype == np.float16
    assert len(found.notes) == 1
    assert "cannot be written (Not a directory)" in found.notes[0]
    assert "--store" in found.notes[0]


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


def test_a_view_that_another_process_computes_is_left_to_it_while_there_are_others(tmp_path: Path) -> None:
    compute = Counting()
    lock = tmp_path / "prefix" / key().digest() / f"{VIEWS[0]}.lock"

    def work() -> None:
        PrefixStore(tmp_path).views(key(), VIEWS[:2], TOP, also=(), compute=compute)

    with held(lock, may_wait=True):
        thread = threading.Thread(target=work)
        thread.start()
        deadline = time.monotonic() + 20
        while not compute.calls and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [view for view, _ in compute.calls] == [VIEWS[1]]
    thread.join(timeout=20)
    assert [view for view, _ in compute.calls] == [VIEWS[1], VIEWS[0]]


def test_the_time_until_another_process_has_computed_is_waiting(tmp_path: Path) -> None:
    lock = tmp_path / "prefix" / key().digest() / f"{VIEWS[0]}.lock"
    found = []

    def work() -> None:
        found.append(PrefixStore(tmp_path).views(key(), VIEWS[:1], TOP, also=(), compute=Counting()))

    with held(lock, may_wait=True):
        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.3)
    thread.join(timeout=20)
    assert found[0].waited_seconds >= 0.2
    alone = PrefixStore(tmp_path).views(key(), VIEWS[1:2], TOP, also=(), compute=_Slow())
    assert alone.waited_seconds < _Slow.SECONDS  # computing is no waiting


class _Slow(Counting):
    SECONDS = 0.15

    def __call__(self, view: View, taps: Sequence[Tap]) -> Iterator[tuple[int, dict[Tap, Tensor]]]:
        time.sleep(self.SECONDS)
        yield from super().__call__(view, taps)


_DIES = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from prefix_examples import *
from trainables.features.store import PrefixStore
class Stuck(Counting):
    def __call__(self, view, taps):
        yield next(super().__call__(view, taps))
        print("computing", flush=True)
        time.sleep(60)
PrefixStore(Path(sys.argv[1])).views(key(), VIEWS[:1], TOP, also=(), compute=Stuck())
"""


def test_a_builder_that_dies_leaves_nobody_waiting(tmp_path: Path) -> None:
    script = _DIES.format(tests=str(Path(__file__).parents[3] / "helpers"))
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
