"""The folder of explanations: what is written to it, and that nothing of others is lost by it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from results.errors import ExportError
from results.relevance.explained_folder import (
    ENDING,
    EXPLANATIONS_FILE,
    MAPS_FILE,
    check_folder,
    picture_names,
    write_explanations,
)
from results.relevance.explanation import ExplainedImage, Explanation, Explanations, facts_of_map


def explained(name: str, *, file: str | None = None) -> ExplainedImage:
    """An image of 16 by 12 pixels whose map is highest at row 3, column 5."""
    values = np.zeros((16, 12))
    values[3, 5] = 1.0
    facts = Explanation(
        name=name,
        file=file,
        explained_class="malignant",
        probability=0.9,
        evaluations=1,
        seconds=0.1,
        **facts_of_map(values),
    )
    return ExplainedImage(facts, np.full((16, 12), 100, np.uint8), values)


def write(folder: Path, *images: ExplainedImage, removes_earlier: bool = False) -> None:
    found = Explanations(
        model="trial 1",
        trials=(1,),
        method="occlusion",
        about="what is lost",
        source="",
        images=tuple(one.facts for one in images),
    )
    write_explanations(folder, found, images, max_value=255, removes_earlier=removes_earlier)


def saved(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), 7, np.uint8)).save(path)
    return path


def test_a_picture_has_an_ending_of_its_own_and_may_be_drawn_again(tmp_path: Path) -> None:
    image = saved(tmp_path / "scan.png")
    before = image.read_bytes()
    for names in (["scan"], ["other"], ["scan"]):
        check_folder(tmp_path, names, [image])
        write(tmp_path, *map(explained, names))
    assert image.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {
        "scan.png", "scan.map.png", "other.map.png", EXPLANATIONS_FILE, MAPS_FILE
    }  # fmt: skip


def test_pictures_of_an_earlier_explanation_go_where_that_is_asked_for_and_no_others(tmp_path: Path) -> None:
    own = saved(tmp_path / f"mine{ENDING}")
    write(tmp_path, explained("row-1"), explained("row-2"))
    write(tmp_path, explained("row-2"), explained("row-3"), removes_earlier=True)
    assert {path.name for path in tmp_path.glob("*.png")} == {own.name, "row-2.map.png", "row-3.map.png"}


@pytest.mark.parametrize("is_link", [False, True])
def test_a_folder_in_which_a_picture_would_replace_an_input_is_refused(tmp_path: Path, is_link: bool) -> None:
    image = saved(tmp_path / f"scan{ENDING}")
    if is_link:
        (tmp_path / "elsewhere").mkdir()
        image = tmp_path / "elsewhere" / "link.png"
        image.symlink_to(tmp_path / f"scan{ENDING}")
    with pytest.raises(
        ExportError, match=r"scan\.map\.png is one of the images, and a picture would replace"
    ):
        check_folder(tmp_path, ["scan"], [tmp_path / "missing.png", image])


@pytest.mark.parametrize("name", [f"scan{ENDING}", MAPS_FILE, EXPLANATIONS_FILE])
def test_files_that_no_explanation_wrote_are_not_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("[1]")
    with pytest.raises(ExportError, match="nothing says that an earlier explanation wrote it"):
        check_folder(tmp_path, ["scan"])
    check_folder(tmp_path / "missing", ["scan"])


@pytest.mark.parametrize(
    "files",
    [
        ("a/film.png", "b/film.png", "a/film-2.png"),
        ("a/film-2.png", "a/film.png", "b/film.png", "c/film.png", "b/film-2.png"),
        ("a/Film.png", "b/film.png", "b/FILM-2.png"),
        ("a-2.png", "x/a-2.png", "a.png", "x/a.png", "a-2-2.png"),
    ],
)
def test_every_file_has_a_name_of_its_own_and_the_first_of_each_keeps_it(files: tuple[str, ...]) -> None:
    paths = [Path(one) for one in files]
    names = picture_names(paths)
    assert len({name.casefold() for name in names}) == len(files)
    seen: set[str] = set()
    for path, name in zip(paths, names, strict=True):
        assert (name == path.stem) == (path.stem.casefold() not in seen)
        seen.add(path.stem.casefold())


def test_many_files_of_one_name_are_numbered_in_their_order() -> None:
    names = picture_names([Path(f"{number}/film.png") for number in range(5000)])
    assert names[0] == "film"
    assert names[1:] == [f"film-{number}" for number in range(2, 5001)]
