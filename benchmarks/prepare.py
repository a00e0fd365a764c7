"""Time and memory of `data prepare`, against plain loops over the same files.

    python -m benchmarks.prepare [--patches 100000] [--films 2000] [--pixels 16] [--workers 2] [--share 10]

Patches are PNGs of 50x50 as in the IDC set, films 16-bit DICOM of 12 bits, uncompressed, made ready and
brought to 1024x832. A share of the files is generated and the others are links to them, so that the disk
need not hold 64 GB; each is read, decoded and prepared for itself.

A plain loop is what a script of twenty lines does, in a process of its own like the command: it finds the
files, reads them with Pillow or pydicom, cuts films to what is brighter than a twentieth of their range,
resizes with Pillow and saves. `films` collects the images and saves one array, which fits no memory for large
sets; `films-png` saves each for itself, as most scripts do. Loops check no file, take labels for tissue, and
know no patient. They run on every `--share`-th file. The time to start is that of one film, or 400 patches.

Core seconds are the processor time of all processes, which a busy machine changes less than the clock. Memory
is the largest sum over the command's processes, of pages that belong to no file (`RssAnon`).
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

_OWN: Final = 32  # files that are generated; the others link to them
_FILM_SIZE: Final = (1024, 832)
_MIB: Final = 2**20
_MAMMOGRAPHY: Final = "1.2.840.10008.5.1.4.1.1.1.2"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patches", type=int, default=100_000, help="number of patches (default: 100000)")
    parser.add_argument("--films", type=int, default=2_000, help="number of films (default: 2000)")
    parser.add_argument("--pixels", type=float, default=16.0, help="megapixels of a film (default: 16)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--share", type=int, default=10, help="loops run on every N-th file (default: 10)")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    parser.add_argument("--loop", nargs=2, help=argparse.SUPPRESS)  # KIND FOLDER: the process of a plain loop
    arguments = parser.parse_args()
    if arguments.loop:
        _LOOPS[arguments.loop[0]](Path(arguments.loop[1]), arguments.share)
        return
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.patches:
            one = _write_patches(Path(folder) / "one" / "patches", 400)
            tree = _write_patches(Path(folder) / "patches", arguments.patches)
            command = ("folder", "--option", "task=idc")
            found["patches"] = _compare(command, tree, one, ("patches",), arguments)
        if arguments.films:
            one = _write_films(Path(folder) / "one" / "films", 1, arguments.pixels)
            tree = _write_films(Path(folder) / "films", arguments.films, arguments.pixels)
            found["films"] = _compare(("dicom",), tree, one, ("films", "films-png"), arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


def _compare(
    what: tuple[str, ...], tree: Path, few: Path, loops: tuple[str, ...], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Time the command and the loops; prints a line for each."""
    own, one = _prepared(what, tree, arguments.workers), _prepared(what, few, arguments.workers)
    count = sum(1 for _ in tree.rglob("*.*")) - (tree / "labels.csv").exists()
    print(f"{tree.name}: {count} files")
    print(
        f"  prepare, {arguments.workers} processes: {_said(own, one, count)}, {own['anonymous_mib']:.0f} MiB"
    )
    found: dict[str, Any] = {"files": count, "prepare": own, "prepare_few": one}
    for loop in loops:
        times, few_times = _looped(loop, tree, arguments.share), _looped(loop, few, 10**9)
        of_all = {name: few_times[name] + (times[name] - few_times[name]) * arguments.share for name in times}
        faster, of_core = (of_all[name] / own[name] for name in ("seconds", "core_seconds"))
        print(
            f"  loop {loop}: {_said(of_all, few_times, count)}; prepare is {faster:.2f} times as fast, and "
            f"{of_core:.2f} times a core"
        )
        found[loop] = of_all
    return found


def _said(times: dict[str, float], start: dict[str, float], count: int) -> str:
    each = (times["core_seconds"] - start["core_seconds"]) / count
    return (
        f"{times['seconds']:.1f} s ({start['seconds']:.1f} s of them to start), "
        f"{times['core_seconds']:.1f} core seconds, {1000 * each:.2f} core ms each"
    )


def _prepared(what: tuple[str, ...], tree: Path, workers: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "orchestrator.cli.main",
            "data",
            "prepare",
            what[0],
            str(tree),
            *what[1:],
        ]
        return _timed([*command, "--out", f"{folder}/set", "--workers", str(workers)])


def _looped(loop: str, tree: Path, share: int) -> dict[str, float]:
    """Time of a loop over every `share`-th file of a tree, in a process of its own."""
    return _timed(
        [sys.executable, "-m", "benchmarks.prepare", "--loop", loop, str(tree), "--share", str(share)]
    )


def _timed(command: list[str]) -> dict[str, float]:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    watch = _Watch(process.pid)
    code = process.wait()
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if code:
        raise SystemExit(f"{' '.join(command)} ended with {code}")
    core = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "core_seconds": core, "anonymous_mib": watch.ended() / _MIB}


class _Watch:
    """Follows the memory of a process and its children until it is told to end."""

    def __init__(self, pid: int) -> None:
        self._pid, self._largest, self._end = pid, 0, threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def ended(self) -> int:
        """Largest sum of anonymous memory, in bytes."""
        self._end.set()
        self._thread.join()
        return self._largest

    def _follow(self) -> None:
        while not self._end.wait(0.1):
            self._largest = max(self._largest, sum(map(_anonymous, _family(self._pid))))


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        threads = [task for task in os.listdir(f"/proc/{pid}/task") if task != str(pid)]  # noqa: PTH208 - names
        for task in threads:
            children += Path(f"/proc/{pid}/task/{task}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in _family(int(child)))]


def _anonymous(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = [line.split() for line in status.splitlines() if line.startswith("RssAnon")]
    return int(lines[0][1]) * 1024 if lines else 0


def _write_patches(folder: Path, count: int) -> Path:
    """Class folders of patients, as in the IDC set; patches differ in their noise."""
    random = np.random.default_rng(0)
    own = []
    for number in range(min(count, _OWN * 8)):
        pixels = np.clip(random.normal((200, 150, 190), 30, (50, 50, 3)), 0, 255).astype(np.uint8)
        own.append(folder.parent / f"own-{number}.png")
        own[-1].parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(own[-1])
    for number in range(count):
        place = folder / str(8000 + number % 200) / str(number // 200 % 2)
        place.mkdir(parents=True, exist_ok=True)
        os.link(own[number % len(own)], place / f"{number}.png")
    return folder


def _write_films(folder: Path, count: int, megapixels: float) -> Path:
    """DICOM films with a breast at one side, and their table."""
    folder.mkdir(parents=True)
    height = round((megapixels * 1e6 * 1.25) ** 0.5)
    width = round(height / 1.25)
    own = []
    for number in range(min(count, _OWN // 8)):
        own.append(folder.parent / f"own-{number}.dcm")
        _write_film(own[-1], _film(number, height, width))
    for number in range(count):
        os.link(own[number % len(own)], folder / f"{number:05d}.dcm")
    rows = [f"{number:05d}.dcm,{number % 2},p{number // 4}" for number in range(count)]
    (folder / "labels.csv").write_text("file,label,patient\n" + "\n".join(rows) + "\n")
    return folder


def _film(number: int, height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
    rows, columns = np.mgrid[:height, :width]
    reach = 0.7 * width * np.sqrt(np.clip(1 - ((rows - height / 2) / (0.47 * height)) ** 2, 0, 1))
    noise = np.random.default_rng(number).integers(0, 400, (height, width))
    return np.where(columns < reach, 1200 + noise, noise // 40).astype(np.uint16)


def _write_film(path: Path, pixels: np.ndarray[Any, np.dtype[np.uint16]]) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(_MAMMOGRAPHY), generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = _MAMMOGRAPHY, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.PresentationIntentType = "MG", "FOR PRESENTATION"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(path, enforce_file_format=True)


def _loop_patches(tree: Path, share: int) -> None:
    files = sorted(tree.rglob("*.png"))[::share]
    labels = np.array([int(file.parent.name) for file in files])
    images = np.stack([np.asarray(Image.open(file).convert("RGB").resize((50, 50))) for file in files])
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/set.npz", images=images, labels=labels)


def _loop_films(tree: Path, share: int) -> None:
    films = [_plain_film(file) for file in sorted(tree.glob("*.dcm"))[::share]]
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/films.npy", np.stack(films))


def _loop_films_to_png(tree: Path, share: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for file in sorted(tree.glob("*.dcm"))[::share]:
            Image.fromarray(_plain_film(file)).save(f"{folder}/{file.stem}.png")


def _plain_film(file: Path) -> np.ndarray[Any, np.dtype[np.uint16]]:
    import pydicom

    pixels = pydicom.dcmread(file).pixel_array
    bright = pixels > pixels.max() * 0.05
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    breast = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = min(_FILM_SIZE[0] / breast.shape[0], _FILM_SIZE[1] / breast.shape[1])
    size = (round(breast.shape[1] * scale), round(breast.shape[0] * scale))
    small = Image.fromarray(breast.astype(np.int32)).resize(size, Image.Resampling.BOX)
    canvas = np.zeros(_FILM_SIZE, np.uint16)
    canvas[: size[1], : size[0]] = np.asarray(small)
    return canvas


_LOOPS: Final[dict[str, Callable[[Path, int], None]]] = {
    "patches": _loop_patches,
    "films": _loop_films,
    "films-png": _loop_films_to_png,
}

if __name__ == "__main__":
    main()
