"""The last feature maps of a model's nets, with their gradients, turned back to the image."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.common.errors import ConfigError
from trainables.common.types import Float64Array
from trainables.inference.finished_trials import FoldModels, SharedBackbones
from trainables.inference.shared_backbones import FeatureOutput, SharedBackbone, union_of_passes
from trainables.models.readouts import Readout
from trainables.models.stages import TrainedPart
from trainables.relevance.gradient_method import Differentiable, check_has_gradient

_SMALLEST_MAP: Final = 4  # rows and columns


@dataclass(frozen=True, slots=True)
class LayerMap:
    """A feature map of one net, or of the part that several nets share.

    Attributes:
        activation: Activations of the image in each view, shape (views, C, h, w).
        gradient: Their gradients of the class's log odds, same shape.
        views: Symmetry of the square of each view, 0 to 7.
    """

    activation: Tensor
    gradient: Tensor
    views: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Layer:
    """A module whose output is a feature map, and which of its images belong to the image, by view."""

    module: nn.Module
    places: tuple[int, ...]
    views: tuple[int, ...]


def layer_maps(model: Differentiable, raw: Tensor, label: int, *, method: str) -> list[LayerMap]:
    """Run the model once, and return the last feature map of each of its nets.

    Args:
        model: The model.
        raw: One image as floats, shape (1, H, W) or (1, H, W, 3).
        label: Class whose log odds are explained.
        method: Name of the method, for messages.

    Raises:
        ConfigError: If the model has no feature map, or no gradient.
    """
    nets = list(stages_of_nets(model.members))
    if not nets:
        raise ConfigError(f"{method} needs a net with feature maps; take --method occlusion or rise")
    with ExitStack() as stack:
        # A stage that the models of several folds share runs once for each of them.
        outputs = {
            id(layer.module): stack.enter_context(_outputs_kept(layer.module))
            for layers in nets
            for layer in layers
        }
        score = model.log_odds(raw.clone().requires_grad_(), label).sum()
    chosen = {id(one.module): one for one in (_deepest_map(layers, outputs, method) for layers in nets)}
    held = [(layer, one) for layer in chosen.values() for one in outputs[id(layer.module)]]
    gradients = torch.autograd.grad(score, [one for _, one in held], allow_unused=True)
    known = [
        torch.zeros_like(one) if own is None else own for (_, one), own in zip(held, gradients, strict=True)
    ]
    check_has_gradient(method, known)
    return [
        LayerMap(one.detach()[list(layer.places)], own[list(layer.places)], layer.views)
        for (layer, one), own in zip(held, known, strict=True)
    ]


def _deepest_map(layers: list[_Layer], outputs: dict[int, list[Tensor]], method: str) -> _Layer:
    """The deepest stage whose map is not so small that it says nothing about places."""
    maps = [layer for layer in layers if all(one.dim() == 4 for one in outputs[id(layer.module)])]
    if not maps:
        raise ConfigError(
            f"{method} needs a net with feature maps, and the stages of this one have none; take --method "
            "occlusion, rise or integrated_gradients"
        )
    sizes = [min(outputs[id(layer.module)][0].shape[2:]) for layer in maps]
    large = [layer for layer, size in zip(maps, sizes, strict=True) if size >= _SMALLEST_MAP]
    return large[0] if large else maps[sizes.index(max(sizes))]


def stages_of_nets(members: SharedBackbones) -> Iterator[list[_Layer]]:
    """Yield the stages of each net, from the last to the first."""
    for model, route in zip(members.models, members.routes, strict=True):
        for backbone, output in route:
            shared = cast(SharedBackbone, members.backbone_modules[backbone])
            yield from _stages_of(cast(FoldModels, model), shared, shared.outputs[output])


def _stages_of(model: FoldModels, shared: SharedBackbone, output: FeatureOutput) -> Iterator[list[_Layer]]:
    before: list[_Layer] = []
    if output.tap is not None:
        names = list(shared.stages)
        end = output.tap.stage
        kept = [
            name
            for name in names[: names.index(end) + 1]
            if name == end or not isinstance(shared.stages[name], Readout)
        ]
        before = [_shared_layer(shared, name) for name in reversed(kept)]
    halves = 2 if output.is_pair else 1
    places = tuple(halves * place + halves - 1 for place in range(len(output.views)))
    parts = [part for part in model.parts if isinstance(part, TrainedPart)]
    stages = [[*part.frozen, *part.trained] for part in parts]
    if any(stages):
        for own in stages:
            yield [*(_Layer(stage, places, output.views) for stage in reversed(own)), *before]
    elif before:
        yield before


def _shared_layer(shared: SharedBackbone, stage: str) -> _Layer:
    """The output of a shared stage; it holds every view that this or a deeper output asks for."""
    names = list(shared.stages)
    is_readout = isinstance(shared.stages[stage], Readout)
    deeper = [
        one
        for one in shared.outputs
        if one.tap
        and (one.tap.stage == stage if is_readout else names.index(one.tap.stage) >= names.index(stage))
    ]
    passes = union_of_passes(deeper)
    places = tuple(place for place, one in enumerate(passes) if not one.is_baseline)
    return _Layer(shared.stages[stage], places, tuple(passes[place].view for place in places))


@contextmanager
def _outputs_kept(module: nn.Module) -> Iterator[list[Tensor]]:
    """Keep what a module puts out, each time that it runs."""
    found: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Tensor) -> None:
        found.append(output)

    handle = module.register_forward_hook(keep)
    try:
        yield found
    finally:
        handle.remove()


def on_image(maps: Tensor, views: tuple[int, ...], shape: tuple[int, ...]) -> Float64Array:
    """Turn maps of views back to the image, and add them up.

    Args:
        maps: One map for each view, shape (views, h, w).
        views: Symmetry of each view.
        shape: Height and width of the image in pixels.

    Returns:
        Their mean over the views, enlarged to the image, shape (H, W).
    """
    turned = torch.stack(
        [undo_symmetry(one[None, None], view)[0, 0] for one, view in zip(maps, views, strict=True)]
    )
    mean = turned.to(torch.float64).mean(dim=0)[None, None]
    large = F.interpolate(mean, size=shape[:2], mode="bilinear", align_corners=False)
    return large[0, 0].cpu().numpy()


def undo_symmetry(images: Tensor, index: int) -> Tensor:
    """Undo `apply_symmetry` on square images (B, C, S, S).

    >>> from trainables.preprocessing.views import apply_symmetry
    >>> image = torch.arange(9.0).view(1, 1, 3, 3)
    >>> all(torch.equal(undo_symmetry(apply_symmetry(image, one), one), image) for one in range(8))
    True
    """
    turned = torch.rot90(images, -(index % 4), dims=(2, 3)) if index % 4 else images
    return turned.flip(3) if index >= 4 else turned


MapOf = Callable[[Tensor, Tensor], Tensor]


def summed_maps(
    model: Differentiable, raw: Tensor, label: int, *, method: str, map_of: MapOf
) -> Float64Array:
    """Add up the maps that a rule makes of the activations and gradients of each net.

    Args:
        model: The model.
        raw: One image as floats, shape (1, H, W) or (1, H, W, 3).
        label: Class whose log odds are explained.
        method: Name of the method, for messages.
        map_of: Activations and gradients, (views, C, h, w) each -> maps, (views, h, w).

    Returns:
        Relevance, shape (H, W).
    """
    found = layer_maps(model, raw, label, method=method)
    maps = [on_image(map_of(one.activation, one.gradient), one.views, raw.shape[1:3]) for one in found]
    total: Float64Array = sum(maps[1:], start=maps[0])
    return total
