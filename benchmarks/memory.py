"""Memory of a node whose workers read one set of images or features, mapped from the store or loaded.

    python -m benchmarks.memory [--gb 1.0] [--workers 8] [--json FILE]

It compares a driver that has the set open and eight workers that have read all of it with workers that
`np.load` the whole set as a plain script does. Pages that several processes share count once for the node:
PSS divides them by their number of users, USS leaves them out. Two workers that load the whole set are
measured and scaled to the same number. All figures but the number of copies include the interpreter and its
packages.
"""

import argparse
import json
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from trainables.data.patches import RawPatches, open_patch_set, store_patch_set
from trainables.features.keys import PrefixKey
from trainables.features.store import PrefixStore
from trainables.models.taps import Tap
from trainables.preprocessing.views import IDENTITY, View

_SIDE: Final = 256
_FEATURES: Final = (320, 7, 7)
_BATCH: Final = 64
_LOADED_WORKERS: Final = 2
_TAP: Final = Tap("block7", is_pooled=False)
_MIB: Final = 2**20

Open = Callable[[Path], Any]
Memory = dict[str, float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gb", type=float, default=1.0, help="size of the set (default: 1)")
    parser.add_argument("--workers", type=int, default=8, help="workers that read it (default: 8)")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    for name, write in (("images", _write_images), ("features", _write_features)):
        with tempfile.TemporaryDirectory() as folder:
            open_mapped, path = write(Path(folder), round(arguments.gb * 1e9))
            found[name] = _compare(open_mapped, Path(folder), path, arguments.workers)
            found[name]["set_mib"] = path.stat().st_size / _MIB
        _print(name, found[name], arguments.workers)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


def _compare(open_mapped: Open, folder: Path, path: Path, workers: int) -> dict[str, Any]:
    idle = _measure(_nothing, folder, path, 1)
    mapped = _measure(open_mapped, folder, path, workers)
    loaded = _measure(np.load, path, path, _LOADED_WORKERS)
    node = sum(one["pss"] for one in mapped)
    plain = sum(one["pss"] for one in loaded[1:]) / _LOADED_WORKERS * workers + loaded[0]["pss"]
    return {
        "driver": mapped[0],
        "worker": _mean(mapped[1:]),
        "loaded_worker": _mean(loaded[1:]),
        "idle_process": _mean(idle),
        "node_mib": node,
        "loaded_node_mib": plain,
        "ratio": plain / node,
        "copies_a_node": sum(one["set"] for one in mapped) / (path.stat().st_size / _MIB),
    }


def _mean(found: Sequence[Memory]) -> Memory:
    return {name: sum(one[name] for one in found) / len(found) for name in found[0]}


def _print(name: str, found: dict[str, Any], workers: int) -> None:
    print(f"{name}, {found['set_mib']:.0f} MiB; MiB resident    USS     PSS")
    rows = (
        ("driver, set open", found["driver"]),
        (f"each of {workers} workers, set read", found["worker"]),
        (f"each of {_LOADED_WORKERS} workers, set loaded", found["loaded_worker"]),
        ("a process without it", found["idle_process"]),
    )
    for label, memory in rows:
        print(f"  {label:32}{memory['uss']:8.0f}{memory['pss']:8.0f}")
    print(
        f"  node: {found['node_mib']:.0f} MiB, {found['copies_a_node']:.2f} copies of the set; "
        f"{workers} that load it (scaled from {_LOADED_WORKERS}) {found['loaded_node_mib']:.0f} MiB, "
        f"{found['ratio']:.1f} times as much"
    )


def _measure(open_set: Open, place: Path, path: Path, workers: int) -> list[Memory]:
    """Memory of a driver and of some workers, in MiB, while all of them have the set at `path` open."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(workers + 1)]
    processes = [
        context.Process(target=_hold, args=(child, open_set, place, number > 0))
        for number, (_, child) in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    try:
        for parent, _ in pipes:
            parent.recv()
        return [_memory(process.pid or 0, path) for process in processes]
    finally:
        for parent, _ in pipes:
            parent.send("done")
        for process in processes:
            process.join()


def _hold(pipe: Connection, open_set: Open, place: Path, reads: bool) -> None:
    array = open_set(place)
    if reads and array is not None:
        for start in range(0, len(array), _BATCH):
            torch.from_numpy(np.array(array[start : start + _BATCH]).astype(np.float32)).sum()
    pipe.send("ready")
    pipe.recv()


def _memory(process: int, path: Path) -> Memory:
    """Resident memory of a process, and its share of the pages of the file that it has mapped, in MiB."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    unique = kib["Private_Clean"] + kib["Private_Dirty"]
    return {"uss": unique / 1024, "pss": kib["Pss"] / 1024, "set": _mapped_share(process, path)}


def _mapped_share(process: int, path: Path) -> float:
    share, is_here = 0.0, False
    for line in Path(f"/proc/{process}/smaps").read_text().splitlines():
        name, *values = line.split()
        if not name.endswith(":"):  # the first line of a mapping: addresses, and its file at the end
            is_here = line.endswith(str(path))
        elif name == "Pss:" and is_here:
            share += int(values[0]) / 1024
    return share


def _nothing(folder: Path) -> None:
    """Open no set, for a process that only measures the interpreter and its packages."""


def _write_images(folder: Path, size: int) -> tuple[Open, Path]:
    count = size // (2 * _SIDE * _SIDE)
    images = np.lib.format.open_memmap(
        folder / "raw.npy", mode="w+", dtype=np.uint16, shape=(count, _SIDE, _SIDE)
    )
    random = np.random.default_rng(0)
    for start in range(0, count, _BATCH):
        images[start : start + _BATCH] = random.integers(0, 65536, images[start : start + _BATCH].shape)
    stored = store_patch_set(RawPatches(images, np.arange(count) % 2, "task"), folder / "data")
    (folder / "raw.npy").unlink()
    return _open_images, folder / "data" / stored.fingerprint / "images.npy"


def _open_images(folder: Path) -> Any:
    fingerprint = next((folder / "data").iterdir()).name
    return open_patch_set(folder / "data", fingerprint).images


def _write_features(folder: Path, size: int) -> tuple[Open, Path]:
    count = size // (2 * int(np.prod(_FEATURES)))
    (folder / "count").write_text(str(count))
    _open_features(folder)
    return _open_features, next(folder.rglob("*.npy"))


def _open_features(folder: Path) -> Any:
    count = int((folder / "count").read_text())
    key = PrefixKey("f", np.arange(count), "efficientnet_lite0", "w", {})

    def compute(view: View, taps: Sequence[Tap]) -> Iterator[tuple[int, dict[Tap, Tensor]]]:
        for start in range(0, count, _BATCH):
            yield start, {tap: torch.randn(min(_BATCH, count - start), *_FEATURES) for tap in taps}

    return PrefixStore(folder).views(key, [IDENTITY], _TAP, also=(), compute=compute).arrays[0]


if __name__ == "__main__":
    main()
