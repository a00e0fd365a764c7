"""A tree that is prepared on the way is read for the task that is asked, whichever asked before."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from source_files import noise, write

from orchestrator import prepare_set
from orchestrator.postprocessing.outside_set import LabelledData, read_outside, request_for
from trainables.common.errors import DataError
from trainables.config.tasks import TASKS, Task
from trainables.data.patches import PatchSet, select_rows
from trainables.data.prepared.on_the_way import load_data
from trainables.data.sources import load_patch_set

pytestmark = pytest.mark.slow

PATHOLOGY = TASKS["finding_pathology"]
WORDS = ["normal", "benign", "malignant"] * 4
NUMBERS = ["0", "1", "2"] * 4


def tree(folder: Path, labels: Sequence[str]) -> Path:
    for number in range(len(labels)):
        write(folder / f"{number:02}.png", noise(number))
    rows = [f"{number:02}.png,{label},p{number}" for number, label in enumerate(labels)]
    (folder / "labels.csv").write_text("\n".join(["file,label,patient", *rows]))
    return folder


def read(data: Path, task: Task) -> tuple[PatchSet, list[str]]:
    return load_data(str(data), task=task, label_codes=None, store=data.parent / "store")


def classes(found: PatchSet, task: Task) -> list[str]:
    return [task.classes[label] for label in select_rows(found, task).labels.tolist()]


@pytest.mark.parametrize("labels", [WORDS, NUMBERS])
def test_the_labels_of_a_tree_are_those_of_the_task(tmp_path: Path, labels: list[str]) -> None:
    found, notes = read(tree(tmp_path / "tree", labels), PATHOLOGY)
    assert classes(found, PATHOLOGY) == WORDS
    assert not [note for note in notes if note.startswith("WARNING: ")]


@pytest.mark.parametrize("labels", [WORDS, NUMBERS])
def test_an_evaluation_reads_the_labels_of_its_task(tmp_path: Path, labels: list[str]) -> None:
    data = str(tree(tmp_path / "tree", labels))
    asked = LabelledData(data, "evaluate", print, {"store": str(tmp_path / "store")})
    found = read_outside(request_for(PATHOLOGY, asked), print)
    assert classes(found, PATHOLOGY) == WORDS


def test_numbers_of_another_task_are_asked_about(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels\.csv: the labels hold 0, 1, 2, and task benign_malignant"):
        read(tree(tmp_path / "tree", NUMBERS), TASKS["benign_malignant"])


def test_each_task_has_a_set_of_its_own_in_the_store(tmp_path: Path) -> None:
    data = tree(tmp_path / "tree", WORDS)
    both = [TASKS["benign_malignant"], PATHOLOGY]
    first = [read(data, task)[0].fingerprint for task in both]
    made = {file: file.stat().st_mtime_ns for file in (tmp_path / "store" / "prepared").glob("*/images.npy")}
    assert len(made) == 2
    assert [read(data, task)[0].fingerprint for task in both] == first
    assert {file: file.stat().st_mtime_ns for file in made} == made
    found, notes = read(data, TASKS["benign_malignant"])
    assert classes(found, TASKS["benign_malignant"]) == [word for word in WORDS if word != "normal"]
    assert any("WARNING: 4 of it cannot be used" in note and "('normal')" in note for note in notes)


def test_a_tree_is_read_by_the_codes_of_an_own_task(tmp_path: Path) -> None:
    own = Task("density", ("A", "B"), codes={1: "A", 2: "B"}, left_out=(9,))
    found, _ = read(tree(tmp_path / "tree", ["1", "2", "9", "A", "b", "1.0"]), own)
    assert classes(found, own) == ["A", "B", "A", "B", "A"]
    turned = Task("density", ("A", "B"), codes={2: "A", 1: "B"}, left_out=(9, "A", "b"))
    found, _ = read(tmp_path / "tree", turned)
    assert classes(found, turned) == ["B", "A", "B"]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("finding_pathology", ["benign", "normal", "malignant"]),
        ("five_class", ["mass_benign", "normal", "calcification_malignant"]),
        ("normal_abnormal", ["abnormal", "normal", "abnormal"]),
    ],
)
def test_findings_stay_findings(tmp_path: Path, name: str, wanted: list[str]) -> None:
    labels = ["mass_benign", "normal", "calcification malignant"] * 2
    found, _ = read(tree(tmp_path / "tree", labels), TASKS[name])
    assert found.label_codes == "pisa"
    assert classes(found, TASKS[name]) == wanted * 2


def test_a_set_that_was_prepared_for_fewer_classes_is_warned_of(tmp_path: Path) -> None:
    data = tree(tmp_path / "tree", WORDS)
    prepare_set("dicom", data, tmp_path / "set")
    own = Task("own", PATHOLOGY.classes, codes={1: "normal", 2: "benign", 3: "malignant"})
    for task in (PATHOLOGY, own):
        found, notes = load_patch_set(
            str(tmp_path / "set"), task=task, label_codes=None, store=tmp_path / "store"
        )
        assert np.unique(select_rows(found, task).labels).tolist() == [1, 2]
        (said,) = [note for note in notes if note.startswith("WARNING")]
        assert "prepared for the classes benign, malignant, so that none of its images is normal:" in said
