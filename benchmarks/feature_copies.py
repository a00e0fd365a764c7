"""How alike the features of copies and of other pictures are: the thresholds of the second look of an audit.

    python -m benchmarks.feature_copies DATA [--sets films idc mias] [--images 160] [--copies 40] [--side 128]

DATA is the folder of real images. Features are those of a pretrained backbone, pooled, each in units of its
spread over the set. Pairs of different images are compared, of different patients where these are known, and
images with copies of themselves that are changed in one way.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.audit import SETS, RealSet
from benchmarks.changed_copies import CHANGES
from orchestrator.audit.feature_copies import ALIKE, NEARLY_SAME
from trainables.common.types import Float32Array
from trainables.config.tasks import task_named
from trainables.data.sources import load_patch_set
from trainables.models.registry import backbone_named
from trainables.models.weights import build_stages, find_weights

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of real images")
    parser.add_argument("--sets", nargs="+", choices=tuple(SETS), default=("films", "idc", "mias"))
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--images", type=int, default=160, help="images of a set (default: 160)")
    parser.add_argument("--copies", type=int, default=40, help="images that are copied (default: 40)")
    parser.add_argument("--side", type=int, default=128, help="side of the input in pixels (default: 128)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    weights = find_weights(arguments.backbone, weights_dir=None, may_download=False)
    stages = build_stages(backbone_named(arguments.backbone), channels=3, weights=weights)
    net = torch.nn.Sequential(stages).eval()
    print(f"cosines; shares of pairs with {ALIKE:g} and more, and with {NEARLY_SAME:g} and more")
    print(
        "| set | pairs | median | largest | "
        + f"{ALIKE:g} | {NEARLY_SAME:g} |\n| --- | --- |"
        + " ---: |" * 4
    )
    for name in arguments.sets:
        images, patients = _images(SETS[name], arguments.data, arguments.images)
        plain = _features(net, images, arguments.side)
        centre, spread = plain.mean(axis=0), plain.std(axis=0) + 1e-6
        unit = _unit((plain - centre) / spread)
        differs = np.triu(patients[:, None] != patients[None], 1)
        _say(name, "other pictures", (unit @ unit.T)[differs])
        chosen = np.linspace(0, len(images) - 1, min(arguments.copies, len(images))).astype(int)
        for change, altered in CHANGES.items():
            copies = _features(net, np.stack([altered(images[row]) for row in chosen]), arguments.side)
            _say(name, change, (unit[chosen] * _unit((copies - centre) / spread)).sum(axis=1))


def _say(name: str, pairs: str, cosines: Float32Array) -> None:
    shares = [f"{(cosines >= least).mean():.1%}" for least in (ALIKE, NEARLY_SAME)]
    cells = [name, pairs, f"{np.median(cosines):.2f}", f"{cosines.max():.2f}", *shares]
    print(f"| {' | '.join(cells)} |", flush=True)


def _images(own: RealSet, data: Path, count: int) -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Some images of a set, and their patients; an image of nobody known is a patient of its own."""
    with tempfile.TemporaryDirectory() as store:
        patch_set, _ = load_patch_set(
            str(data / own.path) if own.path != "phantom" else own.path,
            task=task_named(own.task),
            label_codes=own.label_codes,  # type: ignore[arg-type]  # a name from the table of sets
            store=Path(store),
        )
        total = len(patch_set.images)
        rows = np.sort(np.random.default_rng(0).choice(total, min(count, total), replace=False))
        images: NDArray[Any] = np.asarray(patch_set.images[rows])
        if images.dtype != np.uint8:
            images = np.rint(images.astype(np.float32) * 255.0 / patch_set.max_value)
        patients = np.arange(total).astype(np.str_) if patch_set.patients is None else patch_set.patients
        return images.astype(np.uint8), patients[rows]


def _features(net: torch.nn.Module, images: NDArray[np.uint8], side: int) -> Float32Array:
    mean, std = (torch.tensor(values)[:, None, None] for values in (_MEAN, _STD))
    found = []
    with torch.inference_mode():
        for image in images:
            colour = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
            small = cv2.resize(colour, (side, side), interpolation=cv2.INTER_AREA)
            pixels = torch.from_numpy(small).permute(2, 0, 1).float() / 255
            found.append(net(((pixels - mean) / std)[None]).mean(dim=(2, 3))[0].numpy())
    return np.stack(found)


def _unit(vectors: Float32Array) -> Float32Array:
    unit: Float32Array = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


if __name__ == "__main__":
    main()
