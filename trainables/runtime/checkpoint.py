"""Weights and checkpoints on disk, written whole or not at all.

A checkpoint is a safetensors file: its tensors, and as JSON everything else. Reading it runs no code of its
writer, unlike a pickle, and a checksum tells a file that a disk or a copy has changed.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from trainables.common.errors import ConfigError
from trainables.common.files import set_aside, write_atomically

_TENSOR: Final = "$tensor"
_ARRAY: Final = "$array"
_PAIRS: Final = "$pairs"  # a mapping whose keys are not all texts


def write_checkpoint(path: Path, state: Mapping[str, Any], *, key: str = "") -> None:
    """Write the state of a running trial to a file; see `packed_checkpoint`.

    Raises:
        TypeError: If the state holds what no checkpoint can.
        OSError: If the file cannot be written.
    """
    write_atomically(path, packed_checkpoint(state, key=key))


def packed_checkpoint(state: Mapping[str, Any], *, key: str = "") -> bytes:
    """Return the state of a running trial as the content of a file.

    Args:
        state: Mappings, lists and tuples, nested, of tensors, arrays, numbers, texts, truth values and None.
        key: Key of what the state belongs to, such as a hash of configuration and data.

    Raises:
        TypeError: If the state holds anything else.
    """
    tensors: dict[str, Tensor] = {}
    content = json.dumps(_packed(state, tensors))
    head = {"key": key, "state": content, "sha256": _digest(key, content, tensors)}
    return save(tensors, metadata=head)


def read_checkpoint(path: Path, *, key: str = "") -> dict[str, Any] | None:
    """Read the state of a trial; None if there is no file, or it belongs to something else.

    A file that cannot be read is set aside, so that the trial starts anew.
    """
    try:
        return _read(path, key)
    except FileNotFoundError:
        return None
    except Exception:  # whatever a damaged file may cause, the trial can start anew
        discard_checkpoint(path)
        return None


def discard_checkpoint(path: Path) -> None:
    """Set a checkpoint aside that a trial cannot go on from."""
    with contextlib.suppress(OSError):
        set_aside(path, "damaged")


def _read(path: Path, key: str) -> dict[str, Any] | None:
    with safe_open(path, framework="pt") as file:
        head = file.metadata()
        if head["key"] != key:
            return None
        # A copy: else the file would stay mapped as long as any of its tensors.
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    if head["sha256"] != _digest(key, head["state"], tensors):
        raise ValueError(f"{path} does not have the checksum that it was written with")
    state: dict[str, Any] = _unpacked(json.loads(head["state"]), tensors)
    return state


def _packed(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The value as JSON has it; tensors and arrays move to `tensors`, under the names that stand for them."""
    if isinstance(value, Tensor | np.ndarray):
        name = str(len(tensors))
        tensor = value.detach().cpu() if isinstance(value, Tensor) else torch.from_numpy(value)
        tensors[name] = tensor.clone(memory_format=torch.contiguous_format)
        return {_TENSOR if isinstance(value, Tensor) else _ARRAY: name}
    if isinstance(value, Mapping):
        if all(isinstance(name, str) for name in value):
            return {name: _packed(own, tensors) for name, own in value.items()}
        return {_PAIRS: [[_packed(name, tensors), _packed(own, tensors)] for name, own in value.items()]}
    if isinstance(value, list | tuple):
        return [_packed(own, tensors) for own in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint holds plain values and tensors only, found {type(value).__name__}")


def _unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpacked(own, tensors) for own in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_TENSOR}:
        return tensors[value[_TENSOR]]
    if value.keys() == {_ARRAY}:
        return tensors[value[_ARRAY]].numpy()
    if value.keys() == {_PAIRS}:
        return {_unpacked(name, tensors): _unpacked(own, tensors) for name, own in value[_PAIRS]}
    return {name: _unpacked(own, tensors) for name, own in value.items()}


def _digest(key: str, content: str, tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256(f"{key}\n{content}".encode())
    for name in sorted(tensors):
        found.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def write_fold_weights(folder: Path, weights: Sequence[Mapping[str, Tensor]]) -> None:
    """Write the weights of trained models, one file per model, numbered from 0."""
    for name, content in packed_fold_weights(weights):
        write_atomically(folder / name, content)


def packed_fold_weights(weights: Sequence[Mapping[str, Tensor]]) -> Iterator[tuple[str, bytes]]:
    """Yield the files of the weights of trained models, one at a time: names, and what they hold."""
    for number, state in enumerate(weights):
        contiguous = {name: tensor.contiguous() for name, tensor in state.items()}
        yield f"{number}.safetensors", save(contiguous)


def read_fold_weights(folder: Path) -> list[dict[str, Tensor]]:
    """Read the weights of trained models, in the order of their numbers.

    Raises:
        ConfigError: If the folder holds no weights, one file is missing, or one cannot be read.
    """
    paths = {int(path.stem): path for path in folder.glob("*.safetensors") if path.stem.isdecimal()}
    if not paths:
        raise ConfigError(f"{folder} holds no weights; they are kept for the best trials of a search only")
    missing = [number for number in range(max(paths)) if number not in paths]
    if missing:
        raise ConfigError(
            f"{folder} lacks {missing[0]}.safetensors, the weights of one of its models; restore the file, "
            "or take another trial"
        )
    return [_weights(paths[number]) for number in sorted(paths)]


def _weights(path: Path) -> dict[str, Tensor]:
    try:
        return load(path.read_bytes())
    except (SafetensorError, ValueError, KeyError) as error:
        raise ConfigError(f"{path} is damaged: {error}; restore the file, or take another trial") from error
