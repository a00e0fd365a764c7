"""`orchestrate data`: what it prints, and exit codes that say whether anything was left out."""

from pathlib import Path

import pytest
from dicom_tree import write_tree
from source_files import npz, two_classes

from orchestrator import prepare_set
from orchestrator.cli.main import main
from trainables.common.errors import UnknownNameError
from trainables.data.prepared_set import open_prepared_set

pytestmark = pytest.mark.slow


def test_a_tree_is_prepared_and_the_next_command_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree, out = write_tree(tmp_path / "tree", 4), tmp_path / "set"
    assert main(["data", "prepare", "dicom", str(tree), "--out", str(out), "--size", "48x32"]) == 0
    said = capsys.readouterr()
    assert "8 images of 4 patients, 48x32 uint16, fingerprint" in said.out
    assert f"next: orchestrate search TASK --data {out}" in said.err
    assert "PatientName (8)" in said.err
    assert "--hash-ids KEY" in said.err
    assert main(["data", "prepare", "dicom", str(tree), "--out", str(out), "--size", "48x32"]) == 0
    assert "it was there already" in capsys.readouterr().out


def test_a_set_that_begins_with_a_dash_is_printed_as_a_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = two_classes(tmp_path / "films", 4)
    monkeypatch.chdir(tmp_path)
    assert main(["data", "prepare", "folder", str(tree), "--out", "./-s", "--size", "16"]) == 0
    said = capsys.readouterr().err
    assert "next: orchestrate search TASK --data ./-s\n" in said
    assert "no image has a patient, so folds of a search cannot be grouped by patient" in said
    assert main(["data", "prepare", "npz", str(npz(tmp_path)), "--out", "more", "--size", "16"]) == 0
    assert main(["data", "join", "./-s", "more", "--out", "./-t"]) == 0
    assert "next: orchestrate search TASK --data ./-t\n" in capsys.readouterr().err


def test_what_is_left_out_is_named_and_the_exit_code_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = write_tree(tmp_path / "tree", 4)
    next(tree.glob("*/*MLO.dcm")).write_bytes(b"no image")
    command = ["data", "prepare", "dicom", str(tree), "--out", str(tmp_path / "set")]
    assert main(command) == 1
    said = capsys.readouterr()
    assert "not used: 1 problem, all in" in said.err
    assert "MLO.dcm" in said.err
    assert "7 images" in said.out
    assert main([*command[:-1], str(tmp_path / "other"), "--strict"]) == 2
    assert "leave --strict out" in capsys.readouterr().err


def test_steps_of_a_mammogram_are_options_and_stand_in_the_set(tmp_path: Path) -> None:
    tree, out = write_tree(tmp_path / "tree", 2), tmp_path / "set"
    arguments = ["--step", "margin=0.1", "--step", "chest_wall=right", "--size", "48"]
    assert main(["data", "prepare", "dicom", str(tree), "--out", str(out), *arguments]) == 0
    steps = open_prepared_set(out).facts["settings"]["steps"]
    assert (steps["margin"], steps["chest_wall"], steps["size"]) == (0.1, "right", [48, 48])


def test_sets_are_joined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write_tree(tmp_path / "tree", 2)
    other = two_classes(tmp_path / "folders", 4)
    sets = [str(tmp_path / name) for name in ("dicom", "films", "folder")]
    for out, typed in zip(
        sets, (["dicom", str(one), "--no-steps"], ["dicom", str(one)], ["folder", str(other)]), strict=True
    ):
        assert main(["data", "prepare", *typed, "--out", out, "--size", "16"]) == 0
    joined = ["--out", str(tmp_path / "joined")]
    assert main(["data", "join", sets[0], sets[2], *joined]) == 0
    assert "8 images, 4 of dicom, 4 of folder" in capsys.readouterr().out
    assert main(["data", "join", sets[1], sets[2], "--out", str(tmp_path / "other")]) == 2
    assert "found steps (films) and no steps (folder)" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dicom"], "needs SOURCE, PATH and --out SET"),
        (["dicon", "tree", "--out", "set"], "unknown collection 'dicon'; did you mean 'dicom'"),
        (["dicom", "tree", "--out", "set"], "there is no folder"),
        (["dicom", "tree", "--out", "set", "--size", "big"], "--size takes pixels"),
        (["dicom", "tree", "--out", "set", "--option", "task"], "--option takes NAME=VALUE, found task"),
        (["dicom", "tree", "--out", "set", "--step", "margni=1"], "unknown steps: margni"),
        (["dicom", "tree", "--out", "set", "--step", "size=4"], "size is an option of its own"),
    ],
)
def test_a_request_that_cannot_be_met_is_one_sentence(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "prepare", *words]) == 2
    assert said in capsys.readouterr().err


def test_collections_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "prepare", "list"]) == 0
    assert "dicom" in capsys.readouterr().out


def test_python_says_the_same(tmp_path: Path) -> None:
    done = prepare_set("dicom", write_tree(tmp_path / "tree", 2), tmp_path / "set", size=(48, 32))
    assert done.prepared.images.shape == (4, 48, 32)
    with pytest.raises(UnknownNameError, match="unknown collection"):
        prepare_set("dicon", tmp_path, tmp_path / "other")
