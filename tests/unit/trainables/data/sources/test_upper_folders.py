"""Folders above the class folders: what the user says wins, and what cannot be patients is asked."""

from pathlib import Path

import pytest
from source_files import load, noise, write

from orchestrator import prepare_set
from trainables.common.errors import DataError
from trainables.config.tasks import TASKS
from trainables.data.patches import select_rows

VIEWS = ("L_CC", "R_CC", "L_MLO", "R_MLO", "L_ML", "R_ML")


def by_view(folder: Path, women: int = 12) -> Path:
    """Films of women in six views, as screening sets come."""
    for number, view in enumerate(VIEWS):
        for woman in range(women):
            name = ("benign", "malignant")[woman % 2]
            write(folder / view / name / f"P{woman:03d}_{view}.png", noise(100 * number + woman))
    return folder


def by(folder: Path, names: list[str], *, stem: str, classes: int = 2) -> Path:
    """Two images in each class folder of each upper folder; with one class, the folders have them in turn."""
    number = 0
    for place, name in enumerate(names):
        held = ("benign", "malignant") if classes == 2 else (("benign", "malignant")[place % 2],)
        for label in held:
            for image in range(2):
                number += 1
                write(
                    folder / name / label / f"{stem.format(upper=name, n=image, k=number)}.png", noise(number)
                )
    return folder


def test_a_table_wins_over_the_folders(tmp_path: Path) -> None:
    folder = by_view(tmp_path / "films")
    rows = [f"{path.relative_to(folder).as_posix()},{path.name[:4]}" for path in folder.glob("*/*/*.png")]
    (folder / "patients.csv").write_text("\n".join(["file,patient", *rows]))
    patch_set, notes = load(folder)
    assert patch_set.patients is not None
    assert set(patch_set.patients.tolist()) == {f"P{woman:03d}" for woman in range(12)}
    assert "patients: from patients.csv" in notes
    assert len(set(select_rows(patch_set, TASKS["benign_malignant"]).groups.tolist())) == 12


def test_a_table_that_lacks_a_film_is_refused_in_every_layout(tmp_path: Path) -> None:
    folder = by_view(tmp_path / "films")
    (folder / "patients.csv").write_text("file,patient\nP000_L_CC.png,P000")
    with pytest.raises(DataError, match=r"patients\.csv has no row for L_CC/benign/P002_L_CC\.png"):
        load(folder)


@pytest.mark.parametrize(
    "names",
    [
        list(VIEWS),
        ["fold1", "fold2", "fold3", "fold4", "fold5"],
        [f"fold_{number:02d}" for number in range(12)],
        ["40X", "100X", "200X", "400X"],
        ["left", "right"],
        ["Hologic", "vendor2", "vendor3", "vendor4"],
        ["site A", "site B", "site C"],
        ["2019", "2020", "2021"],
        ["CC", "MLO"],
        [f"kfold{number}" for number in range(10)],
        [f"partition_{number}" for number in range(12)],
        [f"chunk{number}" for number in range(12)],
        [f"2023-{month:02d}" for month in range(1, 13)],
        [f"reader{number}" for number in range(12)],
    ],
)
def test_names_of_something_else_are_asked_about(tmp_path: Path, names: list[str]) -> None:
    folder = by(tmp_path / "films", names, stem="{upper}_{k}")
    with pytest.raises(
        DataError, match=r"are they patients\? .* Say --upper-folders patients if they are; else"
    ):
        load(folder)


def test_few_folders_that_hold_every_class_are_asked_about(tmp_path: Path) -> None:
    folder = by(tmp_path / "films", ["amber", "birch", "cedar"], stem="{k}")
    with pytest.raises(DataError, match=r"are they patients\? 3 of them hold every class, and they are few"):
        load(folder)


def test_many_folders_of_every_class_with_the_same_names_are_asked_about(tmp_path: Path) -> None:
    folder = by(tmp_path / "films", [f"a{number}" for number in range(12)], stem="woman{n}")
    with pytest.raises(DataError, match="12 of them hold every class, and images of the same names"):
        load(folder)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            list("ABCDEFGHIJKL"),
            "12 of them hold every class, and no name holds a number, as those of patients do",
        ),
        ([str(number) for number in range(1, 11)], "10 of them hold every class, and their names count up"),
        (
            ["apprentissage", "calc_test"],
            "calc_test may be a part of a split; parts are called train, val, test",
        ),
        (["internal", "holdout"], "holdout may be a part of a split"),
    ],
)
def test_names_that_may_be_sites_folds_or_parts_are_asked_about(
    tmp_path: Path, names: list[str], message: str
) -> None:
    folder = by(tmp_path / "films", names, stem="{k}")
    with pytest.raises(DataError, match=rf"are they patients\? {message}"):
        load(folder)


def test_a_table_without_parts_beside_folders_that_may_be_parts_is_refused(tmp_path: Path) -> None:
    folder = by(tmp_path / "films", ["internal", "holdout"], stem="{upper}{k}")
    rows = [f"{path.name},p{number}" for number, path in enumerate(sorted(folder.glob("*/*/*.png")))]
    (folder / "patients.csv").write_text("\n".join(["file,patient", *rows]))
    with pytest.raises(
        DataError, match=r"the folders holdout, internal of .* may be parts of a split; call them"
    ):
        load(folder)
    words = ["file,patient,split", *(f"{row},{'train' if 'int' in row else 'test'}" for row in rows)]
    (folder / "patients.csv").write_text("\n".join(words))
    assert load(folder)[0].is_test is not None


def test_parts_that_are_said_to_be_other_folders_are_named(tmp_path: Path) -> None:
    folder = by(tmp_path / "films", ["internal", "holdout"], stem="{k}")
    _, notes = load(folder, upper_folders="other")
    assert "the folders holdout, internal are not read as parts of a split" in notes


@pytest.mark.parametrize(
    ("names", "stem", "classes"),
    [
        ([f"P{number}" for number in range(12)], "{n}", 1),  # most patients have one class
        ([f"P{number}" for number in range(12)], "{k}", 2),  # tumour and healthy tissue of each
        (["8863", "8864", "8865"], "{upper}_idx5_x{n}", 2),  # images are named after their patients
    ],
)
def test_folders_that_look_like_patients_are_patients(
    tmp_path: Path, names: list[str], stem: str, classes: int
) -> None:
    patch_set, notes = load(by(tmp_path / "films", names, stem=stem, classes=classes))
    assert patch_set.patients is not None
    assert set(patch_set.patients.tolist()) == set(names)
    assert f"patients: the {len(names)} folders of films" in notes


def test_an_answer_is_taken(tmp_path: Path) -> None:
    folder = by(tmp_path / "films", ["amber", "birch", "cedar"], stem="{k}")
    said, _ = load(folder, upper_folders="patients")
    assert said.patients is not None
    assert set(said.patients.tolist()) == {"amber", "birch", "cedar"}
    other, notes = load(folder, upper_folders="other")
    assert other.patients is None
    assert "no patient ids: folds cannot be grouped by patient, so scores may be optimistic" in notes


def test_an_answer_without_a_question_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "films" / "benign" / "a.png", noise(0))
    write(tmp_path / "films" / "malignant" / "b.png", noise(1))
    with pytest.raises(DataError, match="--upper-folders other was said, but no folders lie above the class"):
        load(tmp_path / "films", upper_folders="other")


def test_patients_in_one_part_and_none_in_another_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    for number in range(12):
        label = ("benign", "malignant")[number % 2]
        write(folder / "train" / f"P{number:02d}" / label / f"P{number:02d}_1.png", noise(number))
        write(folder / "test" / label / f"{number}.png", noise(100 + number))
    said = r"12 images of .* lie in no folder of a patient, such as test/benign/0\.png, and the others do"
    for asked in (None, "patients"):
        with pytest.raises(DataError, match=said):
            load(folder, upper_folders=asked)
    with pytest.raises(DataError, match=said):
        prepare_set("folder", folder, tmp_path / "set", workers=1)
    patch_set, _ = load(folder, upper_folders="other")
    assert patch_set.patients is None
    rows = [f"{path.relative_to(folder).as_posix()},{path.stem[:3]}" for path in folder.rglob("*.png")]
    (folder / "patients.csv").write_text("\n".join(["file,patient", *rows]))
    named, _ = load(folder)
    assert named.patients is not None
    assert len(set(named.patients.tolist())) == 24
