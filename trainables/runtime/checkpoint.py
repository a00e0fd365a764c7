"""Weights and checkpoints on disk, written whole or not at all."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from trainables.common.errors import ConfigError
from trainables.common.files import write_atomically


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write the state of a running trial to a file."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, buffer.getvalue())


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read the state of a trial; None if there is no file or it cannot be read."""
    try:
        # Our own file, from our own run folder: it holds dataclasses and numpy arrays besides tensors.
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=False)
    except (FileNotFoundError, RuntimeError, EOFError):
        return None
    return state


def write_fold_weights(folder: Path, weights: Sequence[Mapping[str, Tensor]]) -> None:
    """Write the weights of trained models, one file per model, numbered from 0."""
    for number, state in enumerate(weights):
        contiguous = {name: tensor.contiguous() for name, tensor in state.items()}
        write_atomically(folder / f"{number}.safetensors", save(contiguous))


def read_fold_weights(folder: Path) -> list[dict[str, Tensor]]:
    """Read the weights of trained models, in the order of their numbers.

    Raises:
        ConfigError: If the folder holds no weights.
    """
    paths = sorted(folder.glob("*.safetensors"), key=lambda path: int(path.stem))
    if not paths:
        raise ConfigError(f"{folder} holds no weights; they are kept for the best trials of a search only")
    return [load(path.read_bytes()) for path in paths]
