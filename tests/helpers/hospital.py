"""Small made-up sets of images, each of one hospital."""

import numpy as np

from trainables.data.patches import RawPatches


def hospital_patches(seed: int, images: int = 128, *, brighter: float = 0.0) -> RawPatches:
    """Patches of one hospital, two of each patient; those of class 1 have a square brighter by chance."""
    random = np.random.default_rng(seed)
    labels = np.arange(images) % 2
    grey = 0.3 + brighter + 0.1 * random.normal(size=(images, 32, 32))
    grey[1::2, 8:16, 8:16] += 0.2 * random.random((images // 2, 1, 1))
    patients = np.array([f"S{seed}-{row // 4}-{row % 2}" for row in range(images)])
    columns = {
        "vendor": np.array(["GE", "Hologic"])[np.arange(images) // 4 % 2],
        "age_years": random.integers(35, 80, images).astype(float),
    }
    pixels = (np.clip(grey, 0, 1) * 255).astype(np.uint8)
    return RawPatches(
        pixels,
        labels,
        "task",
        patients=patients,
        source=f"hospital {seed}",
        is_synthetic=True,
        columns=columns,
    )
