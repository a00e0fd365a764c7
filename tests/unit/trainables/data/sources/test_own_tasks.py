"""Data of users' own tasks: folders of any names, numbers and texts as labels, and rows that are left out."""

from pathlib import Path

import numpy as np
import pytest
from source_files import noise, npz, pisa, write

from trainables.common.errors import ConfigError, DataError, OneClassError
from trainables.config.task_file import task_in
from trainables.config.tasks import LEFT_OUT, Task
from trainables.data.patches import PatchSet, select_rows
from trainables.data.sources import default_data, load_patch_set
from trainables.data.splits import make_split
from trainables.data.training_data import training_data_of

EXAMPLES = Path(__file__).parents[5] / "docs" / "tasks"
DENSITY = Task(
    "density",
    ("A", "B", "C", "D"),
    is_ordinal=True,
    codes={1: "A", 2: "B", 3: "C", 4: "D"},
    left_out=(9,),
)


def load(data: Path | str, task: Task, store: Path, **asked: object) -> tuple[PatchSet, list[str]]:
    given = {"label_codes": None} | asked
    return load_patch_set(str(data), task=task, store=store, **given)  # type: ignore[arg-type]  # options vary


def example(name: str) -> Task:
    return next(task_in(file, name) for file in EXAMPLES.glob("*.yaml") if f"\n{name}:" in file.read_text())


def class_folders(root: Path, *names: str, count: int = 2) -> Path:
    for place, name in enumerate(names):
        for number in range(count):
            write(root / name / f"{number}.png", noise(100 * place + number))
    return root


def classes_of(found: PatchSet, task: Task) -> list[str]:
    rows = select_rows(found, task)
    return [task.classes[label] for label in rows.labels.tolist()]


@pytest.mark.parametrize(
    ("name", "folders", "classes"),
    [
        (
            "breakhis_types",
            ["adenosis", "Ductal Carcinoma", "SOB_B_F", "lobular-carcinoma", "SOB_M_MC", "SOB_M_PC"],
            [
                *("ductal_carcinoma", "fibroadenoma", "mucinous_carcinoma"),
                *("papillary_carcinoma", "adenosis", "lobular_carcinoma"),
            ],
        ),
        ("breakhis_pathology", ["adenosis", "benign", "ductal_carcinoma"], ["benign", "benign", "malignant"]),
        ("birads_density", ["DENSITY A", "Density B", "density_d"], ["A", "B", "D"]),
        ("birads_density", ["1", "4"], ["A", "D"]),
        ("bach", ["Benign", "InSitu", "Invasive", "Normal"], ["Benign", "InSitu", "Invasive", "Normal"]),
    ],
)
def test_class_folders_of_the_documented_examples(
    tmp_path: Path, name: str, folders: list[str], classes: list[str]
) -> None:
    task = example(name)
    found, notes = load(class_folders(tmp_path / "images", *folders), task, tmp_path / "store")
    assert classes_of(found, task) == [one for one in classes for _ in range(2)]
    assert f"label codes: those of task {name} (from the folder names)" in notes


def test_patients_above_own_class_folders_are_patients(tmp_path: Path) -> None:
    for number in range(6):
        class_folders(tmp_path / "images" / f"P{number}", "InSitu", "Normal", count=1 + number % 2)
    found, _ = load(tmp_path / "images", example("bach"), tmp_path / "store", upper_folders="patients")
    assert found.patients is not None
    assert len(set(found.patients.tolist())) == 6


def test_a_folder_that_is_left_out_is_not_read_and_said(tmp_path: Path) -> None:
    task = Task("t", ("benign", "malignant"), left_out=("unclear",))
    root = class_folders(tmp_path / "images", "benign", "malignant", "Unclear")
    found, notes = load(root, task, tmp_path / "store")
    assert len(found.images) == 4
    assert "left out, as task t says: class folders Unclear" in notes


def test_a_folder_that_the_task_does_not_know_is_refused_with_the_nearest(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "images", "Benign", "InSito", "Normal")
    with pytest.raises(DataError, match=r"InSito.*did you mean insitu for InSito") as raised:
        load(root, example("bach"), tmp_path / "store")
    assert "as task bach says (folders: and left_out: take in others)" in str(raised.value)


def test_findings_are_no_names_of_an_own_task(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "images", "normal", "mass_benign")
    with pytest.raises(DataError, match="class folders must be named Normal, Benign, InSitu, Invasive"):
        load(root, example("bach"), tmp_path / "store")


@pytest.mark.parametrize(
    ("folders", "only"),
    [(("benign", "unclear"), "only one class folder, benign"), (("unclear",), "no class")],
)
def test_one_class_folder_of_an_own_task_is_too_few(
    tmp_path: Path, folders: tuple[str, ...], only: str
) -> None:
    task = Task("t", ("benign", "malignant"), left_out=("unclear",))
    with pytest.raises(OneClassError, match=f"holds {only}.*; task t needs benign and malignant"):
        load(class_folders(tmp_path / "images", *folders), task, tmp_path / "store")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([1, 2, 3, 4, 9, 1], ["A", "B", "C", "D", "A"]),
        ([1.0, 2.0, 9.0, 9.0, 9.0, 4.0], ["A", "B", "D"]),
        (["1", " 4 ", "9", "2", "2", "2"], ["A", "D", "B", "B", "B"]),
        ([b"1", b"4", b"9", b"2", b"2", b"2"], ["A", "D", "B", "B", "B"]),
    ],
)
def test_labels_of_a_file_are_read_by_the_codes(
    tmp_path: Path, labels: list[object], classes: list[str]
) -> None:
    found, notes = load(npz(tmp_path, labels=np.array(labels)), DENSITY, tmp_path / "store")
    assert classes_of(found, DENSITY) == classes
    assert found.label_codes == "own"
    assert any(note.startswith("label codes: those of task density (1=A, 2=B") for note in notes)
    assert any(note.startswith("left out, as task density says: ") for note in notes)


@pytest.mark.parametrize(
    ("task", "labels", "classes"),
    [
        (Task("t", ("benign", "malignant")), ["Malignant", "benign"], ["malignant", "benign"]),
        (Task("t", ("benign", "malignant")), [1, 0], ["malignant", "benign"]),
        (Task("t", ("malignant", "benign"), positive="malignant"), [1, 0], ["benign", "malignant"]),
        (
            Task("t", ("malignant", "benign"), positive="malignant"),
            ["benign", "malignant"],
            ["benign", "malignant"],
        ),
        (Task("t", ("2", "1")), [1, 2], ["1", "2"]),
        (Task("t", ("benign", "malignant")), [True, False], ["malignant", "benign"]),
    ],
)
def test_without_codes_labels_are_class_names_or_numbers_as_listed(
    tmp_path: Path, task: Task, labels: list[object], classes: list[str]
) -> None:
    found, _ = load(npz(tmp_path, labels=np.array(labels * 3)), task, tmp_path / "store")
    assert classes_of(found, task) == classes * 3


def test_a_label_that_is_no_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"set\.npz: labels: 2 rows hold '5', which task density does not know"
    ):
        load(npz(tmp_path, labels=np.array([1, 2, 3, 4, 5, 5])), DENSITY, tmp_path / "store")
    texts = np.array(["A", "B", "DENSITY C", "DENSTY D", "A", "A"])
    task = Task("t", ("A", "B"), codes={"A": "A", "DENSITY C": "B", "B": "B", "DENSITY D": "B"})
    with pytest.raises(DataError, match=r"did you mean 'DENSITY D' for 'DENSTY D'\? .* or to left_out:"):
        load(npz(tmp_path, labels=texts), task, tmp_path / "store")


def test_texts_must_be_one_an_image(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"one label an image: there are 6 images, and labels of shape \(2,\)"
    ):
        load(npz(tmp_path, labels=np.array(["A", "B"])), DENSITY, tmp_path / "store")


def test_data_differ_where_a_definition_reads_the_labels_otherwise(tmp_path: Path) -> None:
    file = npz(tmp_path, labels=np.array([1, 2, 3, 4, 1, 2]))
    turned = Task("density", DENSITY.classes, codes={4: "A", 3: "B", 2: "C", 1: "D"})
    first, again, other = (
        load(file, task, tmp_path / "store")[0].fingerprint for task in (DENSITY, DENSITY, turned)
    )
    assert first == again
    assert first != other


def test_findings_in_pairs_are_read_by_codes_and_stay_pairs(tmp_path: Path) -> None:
    task = Task(
        "t", ("benign", "malignant"), codes={1: "benign", 2: "malignant", 4: "malignant"}, left_out=(0,)
    )
    data = pisa(tmp_path, public_test_tensor=None, public_test_labels=None)
    found, _ = load(data, task, tmp_path / "store")
    assert found.labels.tolist() == [LEFT_OUT, 0, LEFT_OUT, 1, LEFT_OUT, 1]
    assert found.partners is not None


def test_the_rows_that_are_left_out_have_no_part_in_training(tmp_path: Path) -> None:
    labels = np.array([1, 2, 9, 1, 2, 9])
    found, _ = load(npz(tmp_path, labels=labels), DENSITY, tmp_path / "store")
    two = Task("density", ("A", "B"), codes={1: "A", 2: "B"}, left_out=(9,))
    found, _ = load(npz(tmp_path, labels=labels), two, tmp_path / "store")
    split = make_split(
        select_rows(found, two), fingerprint=found.fingerprint, task=two, folds=2, test_share=0.0, seed=0
    )
    assert training_data_of(found, two, split).rows.tolist() == [0, 1, 3, 4]
    assert split.task == "density"


def test_label_codes_cannot_be_said_against_the_definition(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"task density says itself what labels mean .*--label-codes pisa"):
        load(npz(tmp_path), DENSITY, tmp_path / "store", label_codes="pisa")


def test_the_phantom_is_no_data_of_an_own_task_unless_it_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="task density is your own, so it needs data of yours: give them with --data PATH"
    ):
        default_data(DENSITY)
    findings = ("none", "benign mass", "malignant mass", "benign calc", "malignant calc")
    found, _ = load("phantom:patients=8", Task("findings", findings), tmp_path / "store")
    assert set(found.labels.tolist()) <= set(range(5))
    assert found.is_synthetic


@pytest.mark.parametrize("classes", [("benign", "malignant"), ("malignant", "benign")])
def test_names_as_labels_are_compared_alike_in_whichever_order_classes_are_listed(
    tmp_path: Path, classes: tuple[str, str]
) -> None:
    task = Task("t", classes, positive="malignant", left_out=("Not sure",))
    labels = np.array(["Malignant", "BENIGN", " malignant", "not_sure", "Benign", "benign"])
    found, _ = load(npz(tmp_path, labels=labels), task, tmp_path / "store")
    assert classes_of(found, task) == ["malignant", "benign", "malignant", "benign", "benign"]
    again = Task("t", task.classes, positive=task.positive, codes=task.codes, left_out=task.left_out)
    kept, _ = load(npz(tmp_path, labels=labels), again, tmp_path / "store")  # as a run records it
    assert kept.fingerprint == found.fingerprint
    numbers, _ = load(npz(tmp_path, labels=np.array([0, 1, 1, 0, 1, 0])), task, tmp_path / "store")
    assert classes_of(numbers, task)[:2] == list(classes)


@pytest.mark.parametrize("classes", [("1", "2"), ("2", "1")])
def test_classes_that_are_numbers_are_not_counted_from_0(tmp_path: Path, classes: tuple[str, str]) -> None:
    task = Task("t", classes, positive="2")
    found, _ = load(npz(tmp_path, labels=np.array([1, 2, 2, 1, 2, 1])), task, tmp_path / "store")
    assert classes_of(found, task)[:2] == ["1", "2"]
    with pytest.raises(DataError, match="2 rows hold '0', which task t does not know"):
        load(npz(tmp_path, labels=np.array([1, 2, 2, 0, 2, 0])), task, tmp_path / "store")


def test_codes_of_a_definition_are_compared_as_they_stand(tmp_path: Path) -> None:
    task = Task("t", ("mass", "malignant"), codes={"m": "mass", "M": "malignant"})
    found, _ = load(npz(tmp_path, labels=np.array(list("mMmMmM"))), task, tmp_path / "store")
    assert classes_of(found, task) == ["mass", "malignant"] * 3
