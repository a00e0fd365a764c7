"""Versions of the packages that decide what a search computes."""

import importlib.metadata
from typing import Final

PACKAGES: Final = (
    "breast-image-orchestrator",
    "torch",
    "torchvision",
    "timm",
    "ray",
    "optuna",
    "numpy",
    "scikit-learn",
    "albumentations",
    "tensorboard",
    "onnx",
    "onnxscript",
    "onnxruntime",
)


def package_versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Return package -> version, in order; packages that are not installed are left out."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
