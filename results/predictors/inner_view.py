"""What lies inside a finished trial's model: layers, weights, kernels, features, and what contrast does.

All of it is bounded: by a number of images and by a time, whichever ends first.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from results.predictors.loading import finished_members
from results.predictors.model_inputs import inputs_of_rows
from results.run.records import OutOfFold
from results.run.run_folder import RunFolder
from trainables.common.types import Float32Array, FloatArray, IntArray
from trainables.inference.finished_trials import FinishedTrial, ImageFormat, SharedBackbones
from trainables.models.heads import mean_over_folds
from trainables.runtime.devices import single_precision

_BATCH: Final = 8
_MOST_KERNELS: Final = 64
_MOST_LAYERS: Final = 400


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of the model, as one image passes it.

    Attributes:
        name: Path of the layer, such as `frozen/block5/conv`.
        kind: Kind of the layer, such as `Conv2d`.
        parameters: Number of its own weights.
        shape: Shape of its output for one image; empty where it is no single array.
    """

    name: str
    kind: str
    parameters: int
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class InnerView:
    """What lies inside the model of a trial.

    Attributes:
        layers: Layers in the order in which an image passes them.
        weights: Name -> trained weights of the first fold's model.
        kernels: Kernels of the first convolution, shape (kernels, height, width, 1 or 3); None without one.
    """

    layers: tuple[Layer, ...]
    weights: Mapping[str, FloatArray]
    kernels: FloatArray | None


def inner_view(run: RunFolder, number: int, row: int) -> InnerView:
    """Look into the model of a trial, with one image.

    Args:
        run: Folder of the search; its data must still be in the store.
        number: Number of the trial, which kept its weights.
        row: Row of the image in the patch set.

    Raises:
        OrchestrateError: If data, weights or pretrained files are missing, or the data are a table.
    """
    trial = _one_view(finished_members(run, [number])[0])
    models = _module(run, trial)
    layers: list[Layer] = []
    with ExitStack() as hooks:
        for name, module in models.named_modules():
            if not list(module.children()) and len(layers) <= _MOST_LAYERS:
                hooks.callback(module.register_forward_hook(_note(layers, _readable(name))).remove)
        with torch.inference_mode(), single_precision():
            models.by_fold(**_inputs(run, models, np.array([row])))
    return InnerView(tuple(_once(layers)[:_MOST_LAYERS]), _weights(trial), _first_kernels(models))


def features_of_images(
    run: RunFolder, number: int, rows: IntArray, *, seconds: float
) -> tuple[Float32Array, IntArray]:
    """Return the features that a trial's head sees, averaged over the image, of the images that time allows.

    Args:
        run: Folder of the search.
        number: Number of the trial.
        rows: Rows of the patch set, shape (n,).
        seconds: Time after which no further batch is begun.

    Returns:
        Features, shape (m, D), and their rows, shape (m,); m is at most n.

    Raises:
        OrchestrateError: If data, weights or pretrained files are missing, or the data are a table.
    """
    models = _module(run, _one_view(finished_members(run, [number])[0]))
    found, until = [], time.monotonic() + seconds
    for features in _features_of(run, models, rows):
        found.append(features)
        if time.monotonic() > until:
            break
    whole = np.concatenate(found)
    return whole, rows[: len(whole)]


def predictions_by_contrast(
    run: RunFolder, number: int, own: OutOfFold, contrasts: Sequence[float], *, seconds: float
) -> tuple[IntArray, Mapping[float, FloatArray]]:
    """Return how a trial predicts held-out images whose contrast is changed, each by a fold that held it out.

    Args:
        run: Folder of the search.
        number: Number of the trial.
        own: Out-of-fold predictions of the trial, for images and their folds.
        contrasts: Contrast factors, relative to that of the trial's configuration.
        seconds: Time that all of it may take, about.

    Returns:
        Places of the images among `own`, shape (m,), and for each factor the positive probabilities, (m,).

    Raises:
        OrchestrateError: If data, weights or pretrained files are missing, or the data are a table.
    """
    trial = _one_view(finished_members(run, [number])[0])
    random = np.random.default_rng(0)
    places = random.permutation(len(own.rows))
    found: dict[float, FloatArray] = {}
    for factor in contrasts:
        changed = trial.config.input.model_copy(
            update={"contrast_test": trial.config.input.contrast_at_test * factor}
        )
        config = trial.config.model_copy(update={"input": changed})
        models = _module(run, dataclasses.replace(trial, config=config))
        until, parts = time.monotonic() + seconds / len(contrasts), list[FloatArray]()
        for start in range(0, len(places), _BATCH):
            batch = places[start : start + _BATCH]
            with torch.inference_mode(), single_precision():
                by_fold = models.by_fold(**_inputs(run, models, own.rows[batch]))[0]
            parts.append(_held_out(by_fold, own.folds[batch]))
            if not found and time.monotonic() > until:
                break
        found[factor] = np.concatenate(parts)
        places = places[: len(found[factor])]  # the other factors see the same images
    return np.asarray(places), found


def _held_out(by_fold: Tensor, folds: IntArray) -> FloatArray:
    """Positive probability of each image by the model that did not train on it, shape (images,)."""
    if by_fold.shape[0] == 1:
        return np.asarray(mean_over_folds(by_fold)[:, 1].numpy())
    return np.asarray(by_fold[torch.from_numpy(folds), torch.arange(len(folds)), 1].numpy())


def _one_view(trial: FinishedTrial) -> FinishedTrial:
    """The trial as it predicts images as they are, without the mean over their symmetries."""
    training = trial.config.training.model_copy(update={"average_views": False})
    return dataclasses.replace(trial, config=trial.config.model_copy(update={"training": training}))


def _module(run: RunFolder, trial: FinishedTrial) -> SharedBackbones:
    patch_set = run.patch_set()
    image = ImageFormat(tuple(patch_set.images.shape[1:]), patch_set.max_value)
    return SharedBackbones([trial], image, classes=len(run.search().classes))


def _inputs(run: RunFolder, models: SharedBackbones, rows: IntArray) -> dict[str, Tensor]:
    search = run.search()
    return inputs_of_rows(run.patch_set(), search.task_definition, rows, models.needs).tensors()


def _features_of(run: RunFolder, models: SharedBackbones, rows: IntArray) -> Iterator[Float32Array]:
    """Features of the first frozen input, in batches, shape (B, D)."""
    backbone, output = models.routes[models.members[0]][0]
    for start in range(0, len(rows), _BATCH):
        inputs = _inputs(run, models, rows[start : start + _BATCH])
        with torch.inference_mode(), single_precision():
            found = models.backbone_modules[backbone](inputs["raw"], inputs.get("baseline"))[output][0]
        if found.ndim > 3:  # a map: its mean over the image
            found = found.flatten(-2).mean(dim=-1)
        yield np.asarray(found.flatten(1).numpy(), dtype=np.float32)


def _note(layers: list[Layer], name: str) -> Callable[[nn.Module, Any, Any], None]:
    def note(module: nn.Module, _: Any, output: Any) -> None:
        shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()
        own = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        layers.append(Layer(name, type(module).__name__, own, shape))

    return note


def _once(layers: Sequence[Layer]) -> list[Layer]:
    """Layers without those of other folds, and each at its first pass."""
    found: dict[str, Layer] = {}
    for layer in layers:
        found.setdefault(layer.name, layer)
    return list(found.values())


def _readable(name: str) -> str:
    """Path of a module: frozen stages, then the model of a fold.

    >>> _readable("backbone_modules.0.stages.block1.conv"), _readable("models.0.parts.1.head.0")
    ('frozen/block1/conv', 'fold/head/0')
    """
    parts = name.split(".")
    if parts[0] == "backbone_modules":
        rest = parts[3:] if parts[2:3] == ["stages"] else parts[2:]
        return "/".join(("frozen", *rest))
    if parts[0] == "models" and parts[2:3] == ["parts"]:
        return "/".join(("fold", *parts[4:]))
    return "/".join(parts)


def _weights(trial: FinishedTrial) -> dict[str, FloatArray]:
    return {
        name.replace(".", "/"): tensor.to(torch.float32).numpy().ravel()
        for name, tensor in trial.folds[0].items()
        if tensor.is_floating_point() and tensor.numel() > 1
    }


def _first_kernels(models: SharedBackbones) -> FloatArray | None:
    first = next((one for one in models.modules() if isinstance(one, nn.Conv2d)), None)
    if first is None or math.prod(first.kernel_size) == 1:
        return None
    kernels = first.weight.detach()[:_MOST_KERNELS].to(torch.float32).permute(0, 2, 3, 1).numpy()
    return np.asarray(kernels if kernels.shape[-1] == 3 else kernels.mean(axis=-1, keepdims=True))
