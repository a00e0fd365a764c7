"""Masks and second copies under names of their own are asked about, and views are not."""

from pathlib import Path

import numpy as np
import pytest
from source_files import load, noise, two_classes, write

from trainables.common.errors import DataError
from trainables.data.sources.companions import sort_out


def files(*forms: str, count: int = 9) -> list[Path]:
    return [Path(form.format(number) + ".png") for form in forms for number in range(count)]


@pytest.mark.parametrize(
    "word", ["tumor", "lesion", "masked", "segmented", "edge", "border", "pred", "other1", "rot"]
)
def test_a_word_that_many_images_have_after_the_name_of_another_is_doubtful(word: str) -> None:
    found = sort_out(files("case{:03}", "case{:03}_" + word))
    assert found.doubtful == tuple(files("case{:03}_" + word))


@pytest.mark.parametrize("word", ["msk", "anno", "annot", "labelmap", "Maske", "gtruth", "overlayed"])
def test_a_word_for_a_mask_after_the_name_of_an_image_is_a_companions(word: str) -> None:
    assert sort_out(files("case{:03}", "case{:03}_" + word)).companions == tuple(files("case{:03}_" + word))


def test_a_word_for_a_mask_before_the_same_number_is_doubtful() -> None:
    assert sort_out(files("IMG_{:03}", "SEG_{:03}")).doubtful == tuple(files("SEG_{:03}"))


@pytest.mark.parametrize(
    "forms",
    [
        ("P{}_L_CC", "P{}_R_MLO", "P{}"),
        ("mdb{:03}ll", "mdb{:03}rm"),
        ("benign ({})",),
        ("roi_{}",),
        ("P{}", "P{}_2", "P{}_b"),
        ("SOB_B_A-14-22549AB-40-{:03}", "SOB_B_A-14-22549AB-100-{:03}"),
    ],
)
def test_views_numbers_and_names_alone_are_images(forms: tuple[str, ...]) -> None:
    found = sort_out(files(*forms))
    assert found.images == tuple(files(*forms))
    assert found.doubtful == ()


def test_masks_of_most_images_are_asked_about(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films")
    for path in sorted(folder.glob("*/*.png")):
        write(path.with_name(f"{path.stem}_tumor.png"), (noise(int(path.stem)) > 100).astype(np.uint8))
    with pytest.raises(DataError, match=r"6 files may be masks or second copies .*benign/.*_tumor\.png"):
        load(folder)


def test_more_than_half_of_two_values_are_named_too(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films", 4)
    for number in range(6):
        write(folder / "benign" / f"shape{number}.png", (noise(number) > 100).astype(np.uint8))
    assert any(note.startswith("6 images of 10 are of two values only") for note in load(folder)[1])
