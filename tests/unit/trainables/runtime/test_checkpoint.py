"""Checkpoints: plain values and tensors go in and come out; what is damaged, foreign or code stays out."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainables.runtime.checkpoint import read_checkpoint, write_checkpoint


def state() -> dict[str, Any]:
    return {
        "epochs_done": 3,
        "losses": [0.5, np.float64(0.1 + 0.2), float("inf")],
        "kept": [
            None,
            {"probabilities": np.arange(6, dtype=np.float32).reshape(2, 3), "is_collapsed": np.bool_(1)},
        ],
        "optimizer": {"state": {0: {"step": torch.tensor(4.0), "mean": torch.ones(2, 2).T}}, "name": "adam"},
        "rng": torch.get_rng_state(),
        "empty": torch.empty(0),
        "half": torch.tensor([1.5], dtype=torch.bfloat16),
    }


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    path, written = tmp_path / "checkpoint.safetensors", state()
    write_checkpoint(path, written, key="a")
    read = read_checkpoint(path, key="a")
    assert read is not None
    assert (read["epochs_done"], read["losses"]) == (3, [0.5, 0.1 + 0.2, float("inf")])
    assert read["kept"][0] is None
    np.testing.assert_array_equal(read["kept"][1]["probabilities"], written["kept"][1]["probabilities"])
    assert read["kept"][1]["is_collapsed"] is True
    own = read["optimizer"]["state"][0]
    assert (own["step"].item(), own["step"].shape) == (4.0, ())
    for name in ("rng", "empty", "half"):
        assert torch.equal(read[name], written[name])
        assert read[name].dtype == written[name].dtype


def test_a_state_of_another_configuration_is_not_taken_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    write_checkpoint(path, state(), key="a")
    assert read_checkpoint(path, key="b") is None
    assert path.exists()


def test_without_a_file_there_is_no_state(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path / "none", key="a") is None


def test_a_state_holds_plain_values_only(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a checkpoint holds plain values and tensors only, found PosixPath"):
        write_checkpoint(tmp_path / "x", {"path": tmp_path}, key="a")


class Code:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def flipped(place: float) -> Callable[[bytes], bytes]:
    def flip(content: bytes) -> bytes:
        changed = bytearray(content)
        changed[int(place * (len(content) - 1))] ^= 0x10
        return bytes(changed)

    return flip


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "text": lambda content: b"hello, this is no checkpoint",
    "NULs": lambda content: bytes(len(content)),
    "truncated": lambda content: content[: len(content) // 2],
    "longer": lambda content: content + b"x",
    "a pickle": lambda content: pickle.dumps({"epochs_done": 3}),
    **{f"a bit at {place}": flipped(place) for place in (0.0, 0.02, 0.1, 0.5, 0.9, 1.0)},
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_no_state_and_is_set_aside(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "checkpoint.safetensors"
    write_checkpoint(path, state(), key="a")
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    assert read_checkpoint(path, key="a") is None
    assert not path.exists()
    assert (tmp_path / "checkpoint.safetensors.damaged").exists()


def test_reading_runs_no_code(tmp_path: Path) -> None:
    for name, write in (
        ("plain", lambda path, value: path.write_bytes(pickle.dumps(value))),
        ("torch", lambda path, value: torch.save(value, path)),
    ):
        mark = tmp_path / f"ran-{name}"
        write(tmp_path / "checkpoint.safetensors", {"state": Code(mark)})
        assert read_checkpoint(tmp_path / "checkpoint.safetensors", key="a") is None
        assert not mark.exists()
