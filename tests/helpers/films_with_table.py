"""Craniocaudal films without headers whose view and side a table alone states."""

import csv
from pathlib import Path

import numpy as np
from dicom_files import film
from PIL import Image

IMAGES = 40


def films_with_table(folder: Path) -> Path:
    """Write films as PNG with a bright gland at the chest wall, and `labels.csv` with view and side."""
    rows = []
    down, across = np.mgrid[:320, :220]
    is_gland = (down > 40) & (down < 140) & (across < (140 - down) * 0.9)
    for number in range(IMAGES):
        image = film(bits=16, side=(320, 220), seed=number).astype(float)
        image[is_gland] *= 1.5
        if number % 2:
            image[200:230, 40:80] = 65535
        Image.fromarray(np.clip(image, 0, 65535).astype(np.uint16)).save(folder / f"{number}.png")
        patient = f"P{number // 2 % 10}-{number % 2}"
        row = {"file": f"{number}.png", "label": number % 2, "patient": patient}
        rows.append(row | {"view": "CC", "laterality": "L"})
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder
