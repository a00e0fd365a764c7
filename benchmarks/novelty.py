"""What the novelty score finds, and how often it cries wolf: a reference of DDSM films against other images.

    python -m benchmarks.novelty DATA [--images 160] [--backbone efficientnet_lite0] [--json FILE]

DATA is the folder of real images. The reference is fitted as an export does, on frozen features of the
training part of the DDSM films; false alarms are counted on its sealed part, by patient. Others are whole
films of mini-MIAS, mass patches of INFN, histology of the IDC set, phantoms and ultrasound of BUSI, as 8-bit
grey images. Intervals of an AUC resample patients of both sides; those of a rate are Wilson's.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from results.novelty.reference import NoveltyReference, fit_reference
from results.scores.decision_intervals import effective_number, wilson_interval
from results.scores.interval import Interval
from trainables.common.types import Float64Array
from trainables.config.tasks import task_named
from trainables.config.trial_config import decode
from trainables.data.patches import select_rows
from trainables.data.phantom import make_phantom
from trainables.data.sources import load_patch_set
from trainables.data.split_record import TEST
from trainables.data.splits import make_split
from trainables.models.registry import backbone_named
from trainables.models.taps import feature_shapes
from trainables.models.weights import build_stages, find_weights
from trainables.preprocessing.transforms import PixelTransform, transform_spec

_FILMS: Final = "ddsm_mass_films_227.npz"
_BATCH: Final = 8


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of real images")
    parser.add_argument("--images", type=int, default=160, help="of each other set, at most (default: 160)")
    parser.add_argument("--films", type=int, default=1644, help="of DDSM, at most (default: all)")
    parser.add_argument("--backbone", default="efficientnet_lite0", help="default: efficientnet_lite0")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    extract = _Extractor(arguments.backbone)
    reference, sealed, patients = _fitted(arguments.data, extract, arguments.films)
    print(
        f"reference of {reference.images} films of {reference.patients} patients, level {reference.level:g}"
    )
    rows = []
    for level in (0.01, 0.05):
        is_named = reference.p_values(sealed) <= level
        own = float(is_named.mean())
        interval = wilson_interval(own, effective_number(is_named, patients))
        rows.append({"set": "DDSM, sealed", "level": level, "share": own, "patients": len(set(patients))})
        print(f"| DDSM, sealed | {len(sealed)} | - | at {level:g}: {interval.text(3)} |", flush=True)
    for name, images, groups in _others(arguments.data, arguments.images):
        rows.append(_row(name, reference, extract(images), np.array(groups), sealed, patients))
        print(_as_line(rows[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


class _Extractor:
    """Pooled features of the deepest level, as a trial with the default settings takes them."""

    def __init__(self, name: str) -> None:
        backbone = backbone_named(name)
        weights = find_weights(name, weights_dir=None, may_download=False)
        config = decode({"model.backbone": name, "model.head.hidden": []})
        spec = transform_spec(config, backbone, (227, 227), 255.0, is_test=True)
        names = list(feature_shapes(name, spec.channels, spec.size_px))
        stages = build_stages(backbone, channels=spec.channels, weights=weights)
        self.net = torch.nn.Sequential(
            PixelTransform(spec), *(stages[own] for own in names[: names.index(backbone.levels[0]) + 1])
        ).eval()

    @torch.inference_mode()
    def __call__(self, images: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Features of grey 8-bit images of one shape, (n, D)."""
        found = []
        for start in range(0, len(images), _BATCH):
            raw = torch.from_numpy(np.stack(images[start : start + _BATCH]).astype(np.float32))
            found.append(self.net(raw).mean(dim=(2, 3)).numpy())
        return np.concatenate(found)


def _fitted(
    data: Path, extract: _Extractor, films: int
) -> tuple[NoveltyReference, NDArray[np.float32], NDArray[np.str_]]:
    task = task_named("benign_malignant")
    with tempfile.TemporaryDirectory() as folder:
        patch_set, _ = load_patch_set(str(data / _FILMS), task=task, label_codes=None, store=Path(folder))
        rows = select_rows(patch_set, task)
        split = make_split(
            rows, fingerprint=patch_set.fingerprint, task=task.name, folds=4, test_share=0.2, seed=0
        )
        chosen = np.arange(len(rows.rows))[:: max(1, round(len(rows.rows) / films))]
        features = extract(list(patch_set.images[rows.rows[chosen]]))
    folds, groups = split.folds_of(rows)[chosen], rows.groups[chosen]
    training = folds != TEST
    reference = fit_reference(features[training], folds[training], groups[training])
    if reference is None:
        raise SystemExit("the films are too few for a reference; take more with --films")
    return reference, features[~training], groups[~training]


def _others(data: Path, limit: int) -> list[tuple[str, list[NDArray[Any]], list[str]]]:
    """Name, grey images of 227 px, and patients of each other set."""
    mias = _spread(sorted((data / "mini_mias").rglob("mdb*.png")), limit)
    idc = _spread(sorted((data / "idc").glob("*/*/*.png")), limit)
    busi = [path for path in sorted((data / "formats").rglob("*.png")) if "BUSI" in str(path)]
    scans = [path for path in busi if "mask" not in path.name]
    with np.load(data / "infn_mass_patches_150.npz") as infn:
        masses, owners = infn["images"][1::2][:limit], infn["patient"][1::2][:limit]
    phantom = make_phantom(patients=min(limit, 60), lesions_per_patient=1, size_px=227).images[1::2]
    deep = [(one >> 8).astype(np.uint8) for one in masses]
    return [
        ("mini-MIAS, films", _grey(mias), [str((int(path.stem[3:6]) + 1) // 2) for path in mias]),
        ("INFN, masses", [_sized(one) for one in deep], [str(one) for one in owners]),
        ("IDC, histology", _grey(idc), [path.parts[-3] for path in idc]),
        ("phantom", [(one >> 8).astype(np.uint8) for one in phantom], list(map(str, range(len(phantom))))),
        ("BUSI, ultrasound", _grey(scans), [path.stem for path in scans]),
    ]


def _spread(paths: list[Path], limit: int) -> list[Path]:
    places = np.unique(np.linspace(0, len(paths) - 1, min(limit, len(paths))).round().astype(int))
    return [paths[place] for place in places]


def _grey(paths: Sequence[Path]) -> list[NDArray[Any]]:
    return [_sized(_read(path)) for path in paths]


def _read(path: Path) -> NDArray[Any]:
    found = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if found is None:
        raise SystemExit(f"{path} cannot be read as an image")
    return found


def _sized(image: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(cv2.resize(image, (227, 227), interpolation=cv2.INTER_AREA))


def _row(
    name: str,
    reference: NoveltyReference,
    features: NDArray[np.float32],
    groups: NDArray[Any],
    sealed: NDArray[np.float32],
    patients: NDArray[Any],
) -> dict[str, Any]:
    one, other = (reference.cloud.distances(values) for values in (sealed, features))
    auc = _auc(one, patients, other, groups)
    return {
        "set": name,
        "images": len(features),
        "patients": len(set(groups.tolist())),
        "auc": auc.estimate,
        "interval": (auc.low, auc.high),
        "level": reference.level,
        "share": float((reference.p_values(features) <= reference.level).mean()),
    }


def _auc(one: Float64Array, patients: NDArray[Any], other: Float64Array, groups: NDArray[Any]) -> Interval:
    """Share of pairs in which the foreign image is farther, with a bootstrap of patients of both sides."""
    wins = (other[None, :] > one[:, None]) + 0.5 * (other[None, :] == one[:, None])
    random, drawn = np.random.default_rng(0), []
    left, right = (np.unique(names, return_inverse=True) for names in (patients, groups))
    for _ in range(1000):
        weights = [
            np.bincount(random.integers(0, len(names), len(names)), minlength=len(names))[place]
            for names, place in (left, right)
        ]
        drawn.append(weights[0] @ wins @ weights[1] / (weights[0].sum() * weights[1].sum()))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(float(wins.mean()), float(low), float(high))


def _as_line(row: dict[str, Any]) -> str:
    low, high = row["interval"]
    auc = f"{row['auc']:.3f} [{low:.3f}, {high:.3f}]"
    return f"| {row['set']} | {row['images']} | {auc} | at {row['level']:g}: {row['share']:.3f} |"


if __name__ == "__main__":
    main()
