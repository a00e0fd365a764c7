"""The last feature maps of a model's nets, with their gradients, turned back to the image."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.common.errors import ConfigError
from trainables.common.types import Float64Array
from trainables.inference.finished_trials import FoldModels, SharedBackbones
from trainables.inference.shared_backbones import SharedBackbone, union_of_passes
from trainables.models.stages import TrainedPart
from trainables.relevance.gradient_method import Differentiable, check_has_gradient


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
    layers = list(last_layers(model.members))
    if not layers:
        raise ConfigError(f"{method} needs a net with feature maps; take --method occlusion or rise")
    found: dict[int, Tensor] = {}
    with ExitStack() as stack:
        for number, layer in enumerate(layers):
            stack.enter_context(_output_kept(layer.module, found, number))
        score = model.log_odds(raw.clone().requires_grad_(), label).sum()
    held = [found[number] for number in range(len(layers))]
    gradients = torch.autograd.grad(score, held, allow_unused=True)
    known = [torch.zeros_like(one) if own is None else own for one, own in zip(held, gradients, strict=True)]
    check_has_gradient(method, known)
    return [
        LayerMap(one.detach()[list(layer.places)], own[list(layer.places)], layer.views)
        for layer, one, own in zip(layers, held, known, strict=True)
    ]


def last_layers(members: SharedBackbones) -> Iterator[_Layer]:
    """Yield the last module with feature maps of each net; what several nets share comes once."""
    seen: set[int] = set()
    for model, route in zip(members.models, members.routes, strict=True):
        for backbone, output in route:
            shared = cast(SharedBackbone, members.backbone_modules[backbone])
            own = shared.outputs[output]
            halves = 2 if own.is_pair else 1
            places = tuple(halves * place + halves - 1 for place in range(len(own.views)))
            parts = [part for part in cast(FoldModels, model).parts if isinstance(part, TrainedPart)]
            stages = [[*part.frozen, *part.trained] for part in parts]
            if any(stages):
                yield from (_Layer(own_stages[-1], places, own.views) for own_stages in stages)
            elif own.tap is not None and id(shared.stages[own.tap.stage]) not in seen:
                seen.add(id(shared.stages[own.tap.stage]))
                yield _shared_layer(shared, own.tap.stage)


def _shared_layer(shared: SharedBackbone, stage: str) -> _Layer:
    """The output of a shared stage; it holds every view that this or a deeper output asks for."""
    names = list(shared.stages)
    deeper = [one for one in shared.outputs if one.tap and names.index(one.tap.stage) >= names.index(stage)]
    passes = union_of_passes(deeper)
    places = tuple(place for place, one in enumerate(passes) if not one.is_baseline)
    return _Layer(shared.stages[stage], places, tuple(passes[place].view for place in places))


@contextmanager
def _output_kept(module: nn.Module, found: dict[int, Tensor], number: int) -> Iterator[None]:
    def keep(_: nn.Module, __: Any, output: Tensor) -> None:
        if output.dim() == 4:
            found[number] = output
        else:
            raise ConfigError(
                f"the last stage of this net has outputs of shape {tuple(output.shape)} and no feature maps; "
                "take --method occlusion, rise or integrated_gradients"
            )

    handle = module.register_forward_hook(keep)
    try:
        yield
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
