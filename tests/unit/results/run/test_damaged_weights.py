"""Weights of folds that a disk, a copy or a hand has damaged: seen by header and size, and named."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from simulated_run import make_run, trial_record
from test_damaged_files import predictions

from results.errors import RunError
from results.predictors.selected_model import resolve_model
from results.run.damage import damaged_trials, damaged_weights
from results.run.run_folder import RunFolder
from results.run.weights_file import weights_fault
from trainables.runtime.checkpoint import write_fold_weights

STATE = {"0.weight": torch.arange(12.0).reshape(3, 4), "0.bias": torch.zeros(3, dtype=torch.float16)}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    made = make_run(tmp_path, {number: predictions(number) for number in range(3)})
    for number in range(3):
        write_fold_weights(made.weights_folder(number), [STATE, STATE])
    return made


def test_weights_as_they_were_written_are_whole(run: RunFolder, tmp_path: Path) -> None:
    assert damaged_weights(run) == {}
    for name, state, metadata in (
        ("none", {}, None),
        ("empty", {"0": torch.zeros(0, 3)}, None),
        ("noted", STATE, {"by": "us"}),
    ):
        save_file(state, tmp_path / name, metadata=metadata)
        assert weights_fault(tmp_path / name) is None


def header_edited(content: bytes) -> bytes:
    assert content.count(b'"data_offsets"') == 2
    return content.replace(b'"data_offsets"', b'"data_0ffsets"', 1)


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda content: b"", "it ends too early"),
    "cut in its length": (lambda content: content[:5], "it ends too early"),
    "cut in its header": (lambda content: content[:40], "it does not begin as a file of weights"),
    "cut in its tensors": (lambda content: content[:-1], "it ends too early"),
    "longer": (lambda content: content + b"\0", "it holds 55 bytes of weights, its header says 54"),
    "text": (lambda content: b"hello, world, hello", "it does not begin as a file of weights"),
    "NULs": (lambda content: bytes(len(content)), "its header cannot be read"),
    "NULs in its header": (
        lambda content: content[:20] + bytes(30) + content[50:],
        "its header cannot be read",
    ),
    "another header": (header_edited, "its header cannot be read"),
    "a list": (lambda content: (2).to_bytes(8, "little") + b"[]", "its header cannot be read"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_of_weights_is_named_and_its_scores_stay(run: RunFolder, damage: str) -> None:
    spoil, fault = DAMAGE[damage]
    path = run.weights_folder(1) / "1.safetensors"
    path.write_bytes(spoil(path.read_bytes()))
    (found,) = damaged_weights(run).items()
    assert found[0] == 1
    assert f"trials/0001/folds/1.safetensors is damaged: {fault}; the score of trial 1 stays" in str(found[1])
    assert "orchestrate resume" in str(found[1])
    assert damaged_trials(run) == {}


def test_a_fold_or_a_folder_that_is_not_there_is_named(run: RunFolder) -> None:
    run.write_record(trial_record(0, fold_metrics=({}, {}, {})))
    (run.weights_folder(1) / "0.safetensors").unlink()
    for path in run.weights_folder(2).iterdir():
        path.unlink()
    run.weights_folder(2).rmdir()
    assert {
        number: Path(str(error).partition(" ")[0]).name for number, error in damaged_weights(run).items()
    } == {
        0: "2.safetensors",
        1: "0.safetensors",
        2: "0.safetensors",
    }


def test_a_trial_that_says_that_it_has_no_weights_is_not_looked_at(run: RunFolder) -> None:
    run.discard_weights(1)
    assert damaged_weights(run) == {}


def test_weights_that_a_running_search_lets_go_meanwhile_are_not_damaged(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run.records()
    run.discard_weights(2)
    monkeypatch.setattr(RunFolder, "records", lambda self: before)
    assert damaged_weights(run) == {}


def test_a_file_that_cannot_be_read_now_is_not_called_damaged(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *given: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    assert weights_fault(run.weights_folder(1) / "0.safetensors") is None


def test_once_they_are_let_go_the_trial_is_as_one_that_kept_none(run: RunFolder) -> None:
    (run.weights_folder(1) / "0.safetensors").write_bytes(b"")
    run.discard_weights(1)
    record = run.record(1)
    assert record is not None
    assert (record.has_weights, record.can_predict, record.value is None) == (False, False, False)
    assert not run.weights_folder(1).exists()
    with pytest.raises(RunError, match="trial 1 kept no weights"):
        resolve_model(run, trial=1)
