"""A file of several frames is read where the table names the frame, from 0, and refused where it does not."""

from pathlib import Path

import numpy as np
import pytest
from dicom_files import dicom, film

from orchestrator.api.prepared_sets import PreparedCollection, prepare_set
from trainables.data.collections.collection import Choices
from trainables.data.collections.dicom import DICOM
from trainables.data.prepared.known_files import KnownFiles

STACK = np.stack([film(seed=seed) // (1 + seed) for seed in range(3)])
ADVICE = (
    "holds 3 frames; one image a file is needed: name the frame in a column frame of the table, 0 for the "
    "first, or save it by itself"
)


def prepared(folder: Path, header: str, *rows: str) -> PreparedCollection:
    dicom(folder / "stack.dcm", STACK, bits=12)
    dicom(folder / "flat.dcm", film(seed=9), bits=12)
    (folder / "labels.csv").write_text("\n".join([header, *rows]) + "\n")
    return prepare_set("dicom", folder, folder.parent / "set", is_prepared=False, workers=1)


@pytest.mark.parametrize(
    ("header", "row"), [("file,label", ""), ("file,label,frame", ","), ("file,label,frame", ",nan")]
)
def test_a_stack_of_which_no_frame_is_named_is_a_problem(tmp_path: Path, header: str, row: str) -> None:
    done = prepared(tmp_path / "films", header, f"flat.dcm,benign{row}", f"stack.dcm,malignant{row}")
    assert [(one.what, one.reason) for one in done.problems] == [("stack.dcm", ADVICE)]
    assert list(done.prepared.table["name"]) == ["flat.dcm"]
    assert list(done.prepared.table["frame"]) == [0]


@pytest.mark.parametrize("last", ["2", "2.0"])
def test_the_frame_that_is_named_is_read_and_counts_from_0(tmp_path: Path, last: str) -> None:
    rows = ["flat.dcm,benign,", "stack.dcm,malignant,0", f"stack.dcm,malignant,{last}"]
    done = prepared(tmp_path / "films", "file,label,frame", *rows)
    assert not done.problems
    assert list(done.prepared.table["name"]) == ["flat.dcm", "stack.dcm", "stack.dcm-2"]
    assert list(done.prepared.table["frame"]) == [0, 0, 2]
    assert done.prepared.images[1].max() > 2 * done.prepared.images[2].max() > 0


def test_a_frame_that_counts_from_1_ends_in_one_that_is_not_there(tmp_path: Path) -> None:
    done = prepared(tmp_path / "films", "file,label,frame", "flat.dcm,benign,", "stack.dcm,malignant,3")
    (problem,) = done.problems
    assert "has 3 frame(s), numbered from 0; frame 3 is not there" in problem.reason


def test_class_folders_refuse_a_stack_when_they_are_prepared_too(tmp_path: Path) -> None:
    dicom(tmp_path / "films" / "benign" / "flat.dcm", film(seed=9), bits=12)
    dicom(tmp_path / "films" / "malignant" / "other.dcm", film(seed=8), bits=12)
    dicom(tmp_path / "films" / "malignant" / "stack.dcm", STACK, bits=12)
    done = prepare_set("folder", tmp_path / "films", tmp_path / "set", workers=1)
    assert [one.what for one in done.problems] == ["malignant/stack.dcm"]


def test_sets_of_the_only_frame_of_a_file_keep_their_digests(tmp_path: Path) -> None:
    dicom(tmp_path / "flat.dcm", film(seed=9), bits=12)
    seen = []
    for cell in ("", "0"):
        (tmp_path / "labels.csv").write_text(f"file,label,frame\nflat.dcm,benign,{cell}\n")
        (example,) = DICOM.list(tmp_path, Choices()).examples
        seen.append((example.frame, KnownFiles([example]).described(example)))
    assert [frame for frame, _ in seen] == [None, 0]
    assert seen[0][1] == seen[1][1]
    assert "frame=0" in seen[0][1]
