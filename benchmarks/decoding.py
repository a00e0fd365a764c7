"""Films a second by transfer syntax: the product's reader, each decoder by itself, and a plain pydicom loop.

python -m benchmarks.decoding [--films 4] [--megapixels 12] [--film FILE.dcm]

Every figure is for one core: seconds of processor time are counted, over all threads, and the best of several
passes, so that a busy machine changes little. The plain loop is what most scripts do: `dcmread`,
`pixel_array`, `Image.fromarray(...).save(...)` as PNG; `pydicom` leaves the PNG out. The written files are
removed again.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import imagecodecs
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_decoder
from pydicom.uid import UID, generate_uid

from trainables.data.dicom.reading import read_dicom

_BITS: Final = 12
_ENCODERS: Final[dict[str, tuple[str, Callable[[NDArray[Any]], bytes | bytearray] | None]]] = {
    "uncompressed": ("1.2.840.10008.1.2.1", None),
    "RLE": ("1.2.840.10008.1.2.5", None),
    "JPEG lossless": (
        "1.2.840.10008.1.2.4.70",
        lambda image: imagecodecs.jpeg8_encode(image, lossless=True, bitspersample=16),
    ),
    "JPEG 12 bit": (
        "1.2.840.10008.1.2.4.51",
        lambda image: imagecodecs.jpeg8_encode(image, level=95, bitspersample=_BITS),
    ),
    "JPEG-LS": ("1.2.840.10008.1.2.4.80", imagecodecs.jpegls_encode),
    "JPEG 2000": (
        "1.2.840.10008.1.2.4.90",
        lambda image: imagecodecs.jpeg2k_encode(image, level=0, reversible=True, codecformat="j2k"),
    ),
    "HTJ2K": ("1.2.840.10008.1.2.4.201", imagecodecs.htj2k_encode),
}
_DECODERS: Final = {
    "JPEG lossless": ("jpeg8", "ljpeg", "jpegsof3"),
    "JPEG 12 bit": ("jpeg8",),
    "JPEG-LS": ("jpegls",),
    "JPEG 2000": ("jpeg2k",),
    "HTJ2K": ("htj2k", "jpeg2k"),
}
_PLUGINS: Final = ("pydicom", "pylibjpeg", "gdcm", "pyjpegls", "pillow")


def main() -> None:
    """Write the films, time every way, and print a table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--films", type=int, default=4, metavar="N", help="films of each syntax (4)")
    parser.add_argument("--megapixels", type=float, default=12.0, metavar="N", help="size of a film (12)")
    parser.add_argument("--passes", type=int, default=3, metavar="N", help="passes, of which the best counts")
    parser.add_argument("--film", type=Path, metavar="FILE", help="a real film, in place of a made one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        image = _film(arguments.film, arguments.megapixels)
        print(f"{image.shape[1]}x{image.shape[0]} pixels of {_BITS} bits, films a second on one core\n")
        print("| transfer syntax | MB | product | pydicom | loop to PNG | times the loop | decoders alone |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for name in _ENCODERS:
            print(_row(name, image, Path(folder), arguments.films, arguments.passes), flush=True)


def _film(real: Path | None, megapixels: float) -> NDArray[np.uint16]:
    """A film of 12 bits with the grain of a scanned one: entropy decides what decoders cost."""
    if real is not None:
        read = read_dicom(real)
        return np.rint(read.pixels * ((2**_BITS - 1) / read.max_value)).astype(np.uint16)
    height = int((megapixels * 1e6 * 1.3) ** 0.5)
    width = int(megapixels * 1e6 / height)
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot((rows - height / 2) / (0.45 * height), columns / (0.6 * width))
    grain = np.random.default_rng(0).normal(0, 12, (height, width))
    tissue = 1800 + 1200 * (1 - distance) + grain
    return np.clip(np.where(distance < 1, tissue, 0), 0, 2**_BITS - 1).astype(np.uint16)


def _row(name: str, image: NDArray[np.uint16], folder: Path, films: int, passes: int) -> str:
    files = [
        _write(name, image, folder / f"{name.replace(' ', '-')}-{number}.dcm") for number in range(films)
    ]
    expected = read_dicom(files[0]).pixels
    is_lossy = name == "JPEG 12 bit"
    assert is_lossy or np.array_equal(expected, image), name
    ours = _rate(read_dicom, files, passes)
    by_pydicom = _rate(lambda file: pydicom.dcmread(file).pixel_array, files, passes)
    loop = _rate(lambda file: _plain_loop(file, folder / "out.png"), files[:1], 1)
    others = _others(name, files[0], passes)
    megabytes = files[0].stat().st_size / 1e6
    for file in files:
        file.unlink()
    times = f"{ours / loop:.1f}" if loop else "the loop fails"
    cells = (name, f"{megabytes:.1f}", _said(ours), _said(by_pydicom), _said(loop), times, others)
    return f"| {' | '.join(cells)} |"


def _write(name: str, image: NDArray[np.uint16], path: Path) -> Path:
    syntax, encode = _ENCODERS[name]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1.2")
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1")
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.PresentationIntentType = "MG", "FOR PRESENTATION"
    dataset.Rows, dataset.Columns = image.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, _BITS, _BITS - 1
    dataset.PixelRepresentation = 0
    dataset.PixelData = image.tobytes()
    if name == "RLE":
        dataset.compress(syntax, generate_instance_uid=False)
    elif encode is not None:
        meta.TransferSyntaxUID = UID(syntax)
        dataset.PixelData = encapsulate([bytes(encode(image))])
        dataset["PixelData"].is_undefined_length = True
        dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)
    return path


def _plain_loop(file: Path, out: Path) -> None:
    Image.fromarray(pydicom.dcmread(file).pixel_array).save(out)


def _rate(read: Callable[[Path], Any], files: list[Path], passes: int) -> float:
    """Files a second, by the best of several passes; 0 if it cannot read them."""
    best = 0.0
    for _ in range(passes):
        start = time.process_time()
        try:
            for file in files:
                read(file)
        except Exception:  # of any decoder: what it cannot read is the finding
            return 0.0
        best = max(best, len(files) / (time.process_time() - start))
    return best


def _others(name: str, file: Path, passes: int) -> str:
    """Each decoder by itself, without the header and without the grey table."""
    dataset = pydicom.dcmread(file)
    decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)

    def by_plugin(plugin: str) -> Callable[[Path], Any]:
        return lambda _: decoder.as_array(dataset, decoding_plugin=plugin, raw=True)

    def by_codec(codec: str) -> Callable[[Path], Any]:
        frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
        decode = getattr(imagecodecs, f"{codec}_decode")
        return lambda _: decode(frame)

    plugins = [plugin for plugin in _PLUGINS if plugin in decoder.available_plugins]
    ways = {f"pydicom's {plugin}": by_plugin(plugin) for plugin in plugins if name != "uncompressed"}
    ways |= {f"imagecodecs' {codec}": by_codec(codec) for codec in _DECODERS.get(name, ())}
    return ", ".join(f"{way} {_said(_rate(read, [file], passes))}" for way, read in ways.items())


def _said(rate: float) -> str:
    return f"{rate:.1f}" if rate else "fails"


if __name__ == "__main__":
    main()
