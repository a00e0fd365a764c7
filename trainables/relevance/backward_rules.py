"""Layers that compute the same as ever, but whose gradients follow the rule of a relevance method."""

import copy
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from torch import Tensor, nn

# Layer and its input -> the same output as ever, with another gradient.
Rule = Callable[[nn.Module, Tensor], Tensor]

ACTIVATIONS: Final[tuple[type[nn.Module], ...]] = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Hardswish, nn.Mish),
)


@contextmanager
def other_gradients(module: nn.Module, rules: Mapping[tuple[type[nn.Module], ...], Rule]) -> Iterator[int]:
    """Let layers of some types have other gradients for as long as the context lasts.

    Args:
        module: Any module; what it computes stays the same.
        rules: Types of layers -> rule. A layer takes the first that fits.

    Yields:
        Number of layers that follow a rule.
    """
    changed = []
    try:
        for layer in module.modules():
            rule = next((rule for kinds, rule in rules.items() if isinstance(layer, kinds)), None)
            if rule is not None:
                layer.forward = functools.partial(rule, layer)
                changed.append(layer)
        yield len(changed)
    finally:
        for layer in changed:
            del layer.forward


def plain_output(layer: nn.Module, inputs: Tensor, **parameters: Tensor | None) -> Tensor:
    """Return what a layer computes by itself, with some of its parameters replaced.

    Args:
        layer: Layer under a rule; it is not changed, and neither is its input.
        inputs: Its input.
        parameters: Name -> value.
    """
    twin = copy.copy(layer)
    twin._parameters = {**layer._parameters, **parameters}  # type: ignore[dict-item] # plain tensors will do
    found: Tensor = type(layer).forward(twin, inputs.clone() if getattr(layer, "inplace", False) else inputs)
    return found
