"""Features of frozen stages from images on disk: the loop of a tutorial, ours, and the bare forward pass.

    python -m benchmarks.pipeline [--weights-dir FOLDER] [--device cpu|cuda] [--rounds 3] [--json FILE]

`tutorial` is the eager model under `no_grad` behind a DataLoader with torchvision's transforms. `ours` runs
eight symmetries through transform and prefix; `stored` also writes them to the store, in half precision.
`bare` is the forward pass of the executor that ours chose, on ready batches in memory: the limit. On the CPU
all run on one core and CPU seconds are counted; other work on the machine slows the tutorial most, whose
batches fill the caches. Exporting is done before.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from trainables.common.errors import WeightsError
from trainables.data.patches import PatchSet, RawPatches, store_patch_set
from trainables.features.frozen_forward import FrozenForward
from trainables.features.keys import PrefixKey
from trainables.features.store import PrefixStore
from trainables.models.registry import backbone_named
from trainables.models.stages import Backbone
from trainables.models.taps import Tap
from trainables.models.weights import WeightsFile, build_stages, find_weights
from trainables.preprocessing.transforms import TransformSpec
from trainables.preprocessing.views import View

IMAGE_PX, TUTORIAL_BATCH = 150, 32
SEARCH_IMAGES = 10_000  # announced as in a search, so that stages are exported; this benchmark runs few
VIEWS = tuple(View("d4", index) for index in range(8))
CASES = (("efficientnet_lite0", 150, 48), ("efficientnet_lite0", 224, 32), ("vgg16", 150, 8))


@dataclass(frozen=True, slots=True)
class Row:
    """Images per second of one backbone and size, and differences as shares of the largest feature."""

    backbone: str
    size_px: int
    executor: str
    tutorial: float
    ours: float
    stored: float
    bare: float
    difference: float
    stored_difference: float


class Tutorial(Dataset[Tensor]):
    """Data set with torchvision's transforms, as tutorials write it."""

    def __init__(self, images: np.ndarray, backbone: Backbone, size_px: int) -> None:
        self.images = images
        self.transform = transforms.Compose(
            [
                transforms.ToTensor(),
                transforms.Resize((size_px, size_px)),
                transforms.Normalize(backbone.mean, backbone.std),
            ]
        )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        """Return one image, shape (3, S, S)."""
        image: Tensor = self.transform(Image.fromarray(self.images[index]).convert("RGB"))
        return image


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights-dir", type=Path, help="with vgg16*.pt; VGG16 is left out without it")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=3, help="the fastest of each counts (default: 3)")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    columns = "tutorial    ours  stored    bare  ours/tutorial  ours/bare  stored/bare  difference  executor"
    print(f"{'':24}{columns}")
    rows = []
    for name, size_px, images in CASES:
        try:
            weights = find_weights(name, weights_dir=arguments.weights_dir, may_download=False)
        except WeightsError as error:
            print(f"{name} is left out: {error}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            more = 16 if arguments.device == "cuda" else 1
            case = Case(backbone_named(name), weights, size_px, images * more, Path(folder), arguments.device)
            rows.append(case.measure(arguments.rounds))
        print(_line(rows[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


class Case:
    """One backbone at one size, on some images."""

    def __init__(
        self, backbone: Backbone, weights: WeightsFile, size_px: int, images: int, folder: Path, device: str
    ) -> None:
        self.backbone, self.weights, self.size_px, self.folder = backbone, weights, size_px, folder
        self.device = torch.device(device)
        self.patches = _patches(images, folder)
        self.spec = TransformSpec(255.0, 1.0, False, size_px, 3, backbone.mean, backbone.std)
        self.tap = Tap(backbone.stage_names[-1], is_pooled=True)
        self.body = nn.Sequential(self._stages()).eval().to(self.device)
        self.forward = FrozenForward(
            self.patches, np.arange(images), self._stages(), self.spec, device=self.device
        )
        self.forward.executor.expect(SEARCH_IMAGES)
        self.batches = self._ready_batches()
        self.stored = 0

    def measure(self, rounds: int) -> Row:
        """Time the four ways in turn, keep the fastest round of each, and compare their features."""
        ways: dict[str, Callable[[], np.ndarray]] = {
            "tutorial": self.as_tutorial,
            "ours": self.as_ours,
            "stored": self.as_stored,
            "bare": self.as_bare,
        }
        found = {name: way() for name, way in ways.items()}
        seconds = {name: float("inf") for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                seconds[name] = min(seconds[name], self._seconds(way))
        count = {name: len(self.patches.images) * (8 if name in ("ours", "stored") else 1) for name in ways}
        largest = np.abs(found["tutorial"]).max()
        apart = {name: float(np.abs(found[name] - found["tutorial"]).max() / largest) for name in ways}
        return Row(
            backbone=self.backbone.name,
            size_px=self.size_px,
            executor=self.forward.executor.name,
            **{name: count[name] / seconds[name] for name in ways},
            difference=apart["ours"],
            stored_difference=apart["stored"],
        )

    def as_tutorial(self) -> np.ndarray:
        """Return pooled features of the unchanged images, shape (images, D)."""
        loader = DataLoader(Tutorial(self.patches.images, self.backbone, self.size_px), TUTORIAL_BATCH)
        with torch.no_grad():
            found = [self.body(images.to(self.device)).mean(dim=(2, 3)).cpu() for images in loader]
        return torch.cat(found).numpy()

    def as_ours(self) -> np.ndarray:
        """Compute them through transform and prefix, in eight symmetries; return those of the first."""
        self.forward._kept.clear()
        first, *_ = [_joined(self.forward(view, [self.tap])) for view in VIEWS]
        return first

    def as_stored(self) -> np.ndarray:
        """Compute them through the store; return those of the first symmetry."""
        self.forward._kept.clear()
        self.stored += 1  # a new key, so that no features are stored yet
        key = PrefixKey(
            self.patches.fingerprint,
            np.arange(len(self.patches.images)),
            self.backbone.name,
            f"{self.weights.sha256}-{self.stored}",
            self.spec.as_key(),
        )
        views = PrefixStore(self.folder).views(key, VIEWS, self.tap, also=(), compute=self.forward)
        return np.asarray(views.arrays[0], dtype=np.float32)

    def as_bare(self) -> np.ndarray:
        """Run the executor alone, on batches in memory."""
        found = [self.forward.executor(batch, [self.tap.stage])[self.tap.stage] for batch in self.batches]
        return torch.cat([features.mean(dim=(2, 3)) for features in found]).cpu().numpy()

    def _stages(self) -> Any:
        return build_stages(self.backbone, channels=3, weights=self.weights)

    @torch.inference_mode()
    def _ready_batches(self) -> list[Tensor]:
        raw = torch.from_numpy(np.array(self.patches.images)).to(self.device)
        size = self.forward.executor.batch_size
        return [self.forward.transform(part).contiguous() for part in raw.split(size)]

    def _seconds(self, way: Callable[[], np.ndarray]) -> float:
        # On CUDA each way ends with its features on the CPU, so nothing is left to wait for.
        clock = time.perf_counter if self.device.type == "cuda" else time.process_time
        start = clock()
        way()
        return clock() - start


def _patches(images: int, folder: Path) -> PatchSet:
    random = np.random.default_rng(0)
    raw = RawPatches(
        images=random.integers(0, 256, (images, IMAGE_PX, IMAGE_PX)).astype(np.uint8),
        labels=np.arange(images, dtype=np.int64) % 2,
        label_codes="task",
    )
    return store_patch_set(raw, folder / "data")


def _joined(batches: Iterator[tuple[int, dict[Tap, Tensor]]]) -> np.ndarray:
    return torch.cat([features for _, found in batches for features in found.values()]).numpy()


def _line(row: Row) -> str:
    return (
        f"{row.backbone:19}{row.size_px:3} px{row.tutorial:9.1f}{row.ours:8.1f}{row.stored:8.1f}"
        f"{row.bare:8.1f}"
        f"{row.ours / row.tutorial:14.2f}x{row.ours / row.bare:10.0%}{row.stored / row.bare:12.0%}"
        f"{row.difference:12.0e}  {row.executor}"
    )


if __name__ == "__main__":
    main()
