"""Time and memory of `data prepare`, against a plain loop over the same files.

    python -m benchmarks.prepare [--patches 100000] [--films 2000] [--pixels 16] [--workers 2] [--json FILE]

Patches are PNGs of 50x50 as in the IDC set, films 16-bit DICOM of 12 bits, uncompressed, made ready and
brought to 1024x832. A share of the files is generated and the others are links to them, so that the disk
need not hold 64 GB; each is read, decoded and prepared for itself. The plain loop reads with Pillow or
pydicom, resizes with Pillow and fills one array; it finds no breast, and is run on a tenth of the files.
Memory is the largest sum over this command's processes, of pages that belong to no file (`RssAnon`).
"""

import argparse
import json
import os
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
_LOOP_SHARE: Final = 10
_MIB: Final = 2**20
_MAMMOGRAPHY: Final = "1.2.840.10008.5.1.4.1.1.1.2"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patches", type=int, default=100_000, help="number of patches (default: 100000)")
    parser.add_argument("--films", type=int, default=2_000, help="number of films (default: 2000)")
    parser.add_argument("--pixels", type=float, default=16.0, help="megapixels of a film (default: 16)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.patches:
            tree = _write_patches(Path(folder) / "patches", arguments.patches)
            files = sorted(tree.rglob("*.png"))
            found["patches"] = _compare(
                ("folder", tree, "--option", "task=idc"), files, _loop_patches, arguments.workers
            )
        if arguments.films:
            tree = _write_films(Path(folder) / "films", arguments.films, arguments.pixels)
            files = sorted(tree.glob("*.dcm"))
            found["films"] = _compare(("dicom", tree), files, _loop_films, arguments.workers)
    for name, one in found.items():
        print(
            f"{name}: {one['files']} in {one['seconds']:.1f} s, {one['per_second']:.1f} a second with "
            f"{arguments.workers} processes; plain loop {one['loop_per_second']:.1f} a second "
            f"({one['per_second'] / one['loop_per_second']:.2f}x); memory {one['anonymous_mib']:.0f} MiB"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


def _compare(
    what: tuple[object, ...],
    files: list[Path],
    loop: Callable[[list[Path]], object],
    workers: int,
) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "orchestrator.cli.main", "data", "prepare", *map(str, what)]
        command += ["--out", f"{folder}/set", "--workers", str(workers)]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        watch = _Watch(process.pid)
        code = process.wait()
        seconds = time.perf_counter() - start
        if code:
            raise SystemExit(f"{' '.join(command)} ended with {code}")
        largest = watch.ended()
    some = files[: max(1, len(files) // _LOOP_SHARE)]
    start = time.perf_counter()
    loop(some)
    loop_seconds = time.perf_counter() - start
    return {
        "files": len(files),
        "seconds": seconds,
        "per_second": len(files) / seconds,
        "loop_per_second": len(some) / loop_seconds,
        "anonymous_mib": largest / _MIB,
    }


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


def _loop_patches(files: list[Path]) -> object:
    return np.stack([np.asarray(Image.open(file).convert("RGB").resize((50, 50))) for file in files])


def _loop_films(files: list[Path]) -> object:
    import pydicom

    films = []
    for file in files:
        pixels = pydicom.dcmread(file).pixel_array
        scale = min(_FILM_SIZE[0] / pixels.shape[0], _FILM_SIZE[1] / pixels.shape[1])
        size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
        small = Image.fromarray(pixels.astype(np.int32)).resize(size, Image.Resampling.BOX)
        canvas = np.zeros(_FILM_SIZE, np.uint16)
        canvas[: size[1], : size[0]] = np.asarray(small)
        films.append(canvas)
    return np.stack(films)


if __name__ == "__main__":
    main()
