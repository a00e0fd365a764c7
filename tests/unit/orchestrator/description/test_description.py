"""The description of a set: what is counted, which images are odd, and a page that needs no network."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from audited_sets import Image, examined, textured, textured_set

from orchestrator.audit.digests import digest_images
from orchestrator.description.odd_images import (
    BLANK,
    EDGED,
    GREY,
    INVERTED,
    MARKED,
    SATURATED,
    SIZE,
    odd_images,
)
from orchestrator.description.page import description_page
from orchestrator.description.set_description import SetDescription, describe_set

TASK = "benign_malignant"


def films(count: int = 12) -> Image:
    """Breasts at the left of a dark background."""
    images = np.full((count, 96, 96), 4, dtype=np.uint8)
    y, x = np.mgrid[:96, :96]
    breast = ((y - 48) / 40) ** 2 + (x / 55) ** 2 < 1
    images[:, breast] = textured(count, side=96)[:, breast]
    return images


def odd(images: Image, **how: np.ndarray) -> dict[str, list[int]]:
    digests = digest_images(images, np.arange(len(images)), 255.0)
    return {reason: rows.tolist() for reason, rows in odd_images(digests, how.get("shapes")).items()}


def test_films_without_faults_are_not_odd() -> None:
    assert odd(films()) == {}


def test_each_oddity_is_found_in_the_image_that_has_it() -> None:
    images = films()
    images[1] = 130
    images[2] = 255 - images[2]
    images[3, 5:11, 80:88] = 230
    images[4, -3:] = 250
    images[5, 30:, :50] = 255
    assert odd(images) == {BLANK: [1], INVERTED: [2], MARKED: [3], EDGED: [4], SATURATED: [5]}


def test_grey_images_among_coloured_ones_are_odd() -> None:
    images = textured(8, channels=3)
    images[3] = images[3, ..., :1]
    assert odd(images) == {GREY: [3]}


def test_files_of_another_size_are_odd() -> None:
    shapes = np.tile([64, 64], (5, 1))
    shapes[2] = (64, 50)
    assert odd(textured(5), shapes=shapes) == {SIZE: [2]}


def described(tmp_path: Path) -> SetDescription:
    columns = {
        "view": np.array(["CC", "MLO"] * 20),
        "vendor": np.array(["GE"] * 30 + [""] * 10),
        "age_years": np.array([41.0] * 10 + [67.0] * 20 + [np.nan] * 10),
        "box_width": np.linspace(10, 49, 40),
    }
    return describe_set(examined(textured_set(columns=columns), tmp_path, TASK, is_split=False))


def test_images_and_patients_are_counted_by_class_and_by_what_is_known(tmp_path: Path) -> None:
    found = described(tmp_path)
    assert [(count.value, count.images, count.patients) for count in found.counts["class"]] == [
        ("benign", (20, 0), 10),
        ("malignant", (0, 20), 10),
    ]
    assert {count.value: sum(count.images) for count in found.counts["view"]} == {"CC": 20, "MLO": 20}
    assert {count.value: sum(count.images) for count in found.counts["vendor"]} == {"GE": 30, "unknown": 10}
    ages = {count.value: sum(count.images) for count in found.counts["age"]}
    assert ages == {"40 to 49": 10, "60 to 69": 20, "unknown": 10}
    assert [count.value for count in found.counts["images of a patient"]] == ["2"]
    (width,) = found.sizes
    assert (width.what, width.quantiles[0], width.quantiles[3], width.quantiles[-1]) == (
        "box_width",
        10.0,
        pytest.approx(29.5),
        49.0,
    )
    assert found.lacks == ("site", "source", "machine", "laterality", "density")
    assert sum(found.histograms["benign"]) == pytest.approx(1.0, abs=1e-3)


def test_samples_show_each_patient_once_where_there_are_enough(tmp_path: Path) -> None:
    samples = described(tmp_path).samples
    assert len(samples) == 2
    for sample in samples:
        patients = re.findall(r"patient (p\d+)", " ".join(sample.names))
        assert len(set(patients[:10])) == 10


class _Page(HTMLParser):
    """Collects addresses and open tags."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "rect", "line", "!doctype"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "line"):
            assert self.open.pop() == tag


def test_the_page_is_whole_needs_no_network_and_prints_hostile_names_as_text(tmp_path: Path) -> None:
    looked_at = examined(textured_set(), tmp_path, TASK, is_split=False)
    patch_set = replace(looked_at.patch_set, source="<script>alert(1)</script>")
    page = description_page(describe_set(replace(looked_at, patch_set=patch_set)), patch_set)
    parsed = _Page()
    parsed.feed(page)
    assert parsed.open == []
    assert len(parsed.addresses) == 24
    assert all(address.startswith("data:image/png;base64,") for address in parsed.addresses)
    assert "<script>" not in page
    assert "prefers-color-scheme:dark" in page
    assert "@media print" in page
    assert not re.search(r"url\(|@import|https?:", page)
