"""Labels of tables mean what the same labels mean as arrays and class folders, or are asked about."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from dicom_tree import film, write_dicom
from source_files import noise, npz, write

from orchestrator import prepare_set
from trainables.common.errors import ConfigError, DataError, UnknownNameError
from trainables.config.task_file import read_tasks
from trainables.config.tasks import TASKS, Task
from trainables.data.collections import COLLECTIONS
from trainables.data.collections.collection import Choices, Listing
from trainables.data.patches import PatchSet, select_rows
from trainables.data.prepared_set import open_prepared_set
from trainables.data.sources import load_patch_set

EXAMPLES = sorted((Path(__file__).parents[5] / "docs" / "tasks").glob("*.yaml"))
OWN = [pytest.param(file, name, id=name) for file in EXAMPLES for name in read_tasks(file)]
DENSITY = next(file for file in EXAMPLES if file.stem == "birads_density")
BREAKHIS = next(file for file in EXAMPLES if file.stem == "breakhis")


def listed(folder: Path, labels: Sequence[str], task: Task | str = "benign_malignant") -> Listing:
    """The listing of a tree of one image a label."""
    folder.mkdir(exist_ok=True)
    for number in range(len(labels)):
        write(folder / f"{number}.png", noise(number))
    rows = [f"{number}.png,{label}" for number, label in enumerate(labels)]
    (folder / "labels.csv").write_text("\n".join(["file,label", *rows]))
    choices = Choices(options={"task": task}) if isinstance(task, str) else Choices(task=task)
    return COLLECTIONS["dicom"].list(folder, choices)


def classes(found: PatchSet, task: Task) -> list[str]:
    return [task.classes[label] for label in select_rows(found, task).labels.tolist()]


def of_arrays(folder: Path, labels: Sequence[str], task: str) -> list[str]:
    images = np.stack([noise(number) for number in range(len(labels))])
    file = npz(folder, images=images, labels=np.array(list(map(int, labels))))
    found, _ = load_patch_set(str(file), task=TASKS[task], label_codes=None, store=folder / "store")
    return classes(found, TASKS[task])


def of_class_folders(folder: Path, labels: Sequence[str], task: str) -> list[str]:
    for number, label in enumerate(labels):
        write(folder / "films" / label / f"{number}.png", noise(number))
    data = str(folder / "films")
    found, _ = load_patch_set(data, task=TASKS[task], label_codes=None, store=folder / "store")
    by_number = dict(zip((int(Path(name).stem) for name in found.names or ()), found.labels, strict=True))
    return [TASKS[task].classes[by_number[number]] for number in range(len(labels))]


def of_a_table(folder: Path, labels: Sequence[str], task: str) -> list[str]:
    found = listed(folder / "tree", labels, task)
    assert not found.problems
    return [found.classes[example.label] for example in found.examples]


@pytest.mark.parametrize("read", [of_arrays, of_class_folders, of_a_table])
@pytest.mark.parametrize(
    ("labels", "task"),
    [
        ("012012", "benign_malignant"),
        ("121212", "benign_malignant"),
        ("123123", "finding_pathology"),
        ("0123456", "healthy_sick"),
        ("090101", "normal_abnormal"),
    ],
)
def test_numbers_of_something_else_are_asked_about_by_all(
    tmp_path: Path, read: Callable[[Path, Sequence[str], str], list[str]], labels: str, task: str
) -> None:
    with pytest.raises(DataError, match=r"the labels hold|class folders must be named"):
        read(tmp_path, labels, task)


@pytest.mark.parametrize("read", [of_arrays, of_class_folders, of_a_table])
@pytest.mark.parametrize("task", ["benign_malignant", "healthy_sick"])
def test_the_numbers_of_a_task_are_its_classes_for_all(
    tmp_path: Path, read: Callable[[Path, Sequence[str], str], list[str]], task: str
) -> None:
    assert read(tmp_path, "001101", task) == [TASKS[task].classes[int(label)] for label in "001101"]


def test_the_refusal_of_numbers_says_what_was_found_and_what_to_do(tmp_path: Path) -> None:
    said = (
        r"labels\.csv: the labels hold -1, 0, 1, 2, and task benign_malignant numbers its classes 0 benign, "
        r"1 malignant, so that it is open what the numbers mean; write class names"
    )
    with pytest.raises(DataError, match=said):
        listed(tmp_path, ["0", "1", "2.0", "-1", "benign", "benign"])
    with pytest.raises(DataError, match=r"the labels hold 1, and the other labels are findings, so that"):
        listed(tmp_path, ["mass_benign", "mass_malignant", "1"])
    many = [str(number) for number in range(20)]
    with pytest.raises(DataError, match=r"hold 0, 1, 2, 3, 4, 5, 6, 7, \.\.\., and"):
        listed(tmp_path, many)


def test_whole_numbers_with_a_decimal_point_are_numbers(tmp_path: Path) -> None:
    found = listed(tmp_path, ["0.0", "1.0", "1", "malignant"])
    assert [example.label for example in found.examples] == [0, 1, 1, 1]
    assert not found.problems


def test_words_that_are_not_known_are_problems_of_their_rows(tmp_path: Path) -> None:
    found = listed(tmp_path, ["benign", "malignent", "", "0.5", "1"])
    assert [example.label for example in found.examples] == [0, 1]
    assert [problem.what for problem in found.problems] == [f"labels.csv, line {line}" for line in (3, 4, 5)]


@pytest.mark.parametrize("listed_in", ["codes", "names"])
def test_an_own_task_reads_its_codes_and_its_class_names(tmp_path: Path, listed_in: str) -> None:
    labels = {"codes": ["1", "2.0", "DENSITY C", "4", "9", ""], "names": ["A", "b", "C", "D", "unknown", ""]}
    found = listed(tmp_path, labels[listed_in], str(DENSITY))
    assert found.label_codes == "own"
    assert [found.classes[example.label] for example in found.examples] == list("ABCD")
    (problem,) = found.problems
    assert problem.what == "labels.csv, line 7"
    assert any(note.startswith("left out, as task birads_density says: 1 row with") for note in found.notes)


def test_a_label_that_an_own_task_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels\.csv: labels: 1 row hold 'E', which task birads_density"):
        listed(tmp_path, ["A", "B", "E"], str(DENSITY))


def test_class_names_that_are_codes_of_other_classes_are_no_labels(tmp_path: Path) -> None:
    task = Task("grade", ("1", "2", "3"), codes={0: "1", 1: "2", 2: "3"})
    found = listed(tmp_path, ["0", "1", "2"], task)
    assert [example.label for example in found.examples] == [0, 1, 2]
    with pytest.raises(DataError, match="hold '3', which task grade does not know"):
        listed(tmp_path, ["1", "2", "3"], task)


def test_a_set_of_an_own_task_holds_its_class_names_and_not_codes(tmp_path: Path) -> None:
    task = Task("grade", ("1", "2"), codes={0: "1", 1: "2"})
    (tmp_path / "grade.yaml").write_text('grade: {classes: ["1", "2"], codes: {0: "1", 1: "2"}}\n')
    listed(tmp_path / "tree", ["0", "1", "1", "0"], task)
    options = {"task": str(tmp_path / "grade.yaml")}
    prepare_set("dicom", tmp_path / "tree", tmp_path / "set", options=options)
    assert open_prepared_set(tmp_path / "set").facts["choices"]["options"] == {"task": "grade.yaml"}
    found, _ = load_patch_set(str(tmp_path / "set"), task=task, label_codes=None, store=tmp_path / "store")
    assert classes(found, task) == ["1", "2", "2", "1"]


def test_a_set_of_class_names_is_read_by_a_task_with_codes(tmp_path: Path) -> None:
    words = ["normal", "benign", "malignant"] * 2
    listed(tmp_path / "tree", words, "finding_pathology")
    prepare_set(
        "dicom", tmp_path / "tree", tmp_path / "set", options={"task": "finding_pathology"}, size=(8, 8)
    )
    by_number = Task("p", ("normal", "benign", "malignant"), codes={1: "normal", 2: "benign", 3: "malignant"})
    by_name = Task(
        "q", ("negative", "malignant"), codes={"normal": "negative", "benign": "negative", 5: "malignant"}
    )
    for task, wanted in ((by_number, words), (by_name, ["negative", "negative", "malignant"] * 2)):
        found, _ = load_patch_set(
            str(tmp_path / "set"), task=task, label_codes=None, store=tmp_path / "store"
        )
        assert classes(found, task) == wanted


@pytest.mark.parametrize(("file", "name"), OWN)
def test_the_documented_tasks_are_prepared_from_a_tree_of_dicom_files(
    tmp_path: Path, file: Path, name: str
) -> None:
    task, rows = read_tasks(file)[name], []
    for number, label in enumerate(task.classes * 2):
        pixels = film(number, is_malignant=False, side="L", size=(64, 48))
        write_dicom(
            tmp_path / "tree" / f"{number}.dcm", pixels, patient=str(number), side="L", view="CC", study="1.2"
        )
        rows.append(f"{number}.dcm,{label}")
    (tmp_path / "tree" / "labels.csv").write_text("\n".join(["file,label", *rows]))
    options = {"task": f"{file}:{name}", "mammograms": "no"}
    done = prepare_set("dicom", tmp_path / "tree", tmp_path / "set", options=options)
    assert not done.problems
    found, notes = load_patch_set(
        str(tmp_path / "set"), task=task, label_codes=None, store=tmp_path / "store"
    )
    assert classes(found, task) == list(task.classes * 2)
    assert not [note for note in notes if note.startswith("WARNING")]


@pytest.mark.parametrize("name", ["folder", "npz"])
def test_rows_that_an_own_task_leaves_out_are_not_prepared(tmp_path: Path, name: str) -> None:
    labels = [1, 2, 9, 3, 4, 9]
    if name == "npz":
        data = npz(tmp_path, labels=np.array(labels))
    else:
        data = tmp_path / "films"
        for number, label in enumerate(labels):
            write(data / str(label) / f"{number}.png", noise(number))
    done = prepare_set(name, data, tmp_path / "set", options={"task": str(DENSITY)})
    held = [done.prepared.classes[label] for label in done.prepared.table["label"]]
    assert (held, done.prepared.label_codes) == (list("ABCD"), "own")


def test_a_file_of_several_tasks_is_asked_which(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"say which: --option task=.*breakhis\.yaml:breakhis_types"):
        listed(tmp_path, ["benign"], str(BREAKHIS))
    with pytest.raises(UnknownNameError, match="did you mean 'breakhis_types'"):
        listed(tmp_path, ["benign"], f"{BREAKHIS}:breakhis_type")
    with pytest.raises(ConfigError, match=r"gone\.yaml cannot be read"):
        listed(tmp_path, ["benign"], str(tmp_path / "gone.yaml"))
    with pytest.raises(UnknownNameError, match="did you mean 'idc'"):
        listed(tmp_path, ["benign"], "idcc")
