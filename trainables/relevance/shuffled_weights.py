"""A copy of a model whose weights are shuffled: what a relevance map of it still shows is not the model's.

Source:
    Adebayo et al. (2018), Sanity checks for saliency maps, arXiv 1810.03292.
"""

import copy
from typing import TypeVar

import torch
from torch import nn

from trainables.estimators.modules import EstimatorModule

Module = TypeVar("Module", bound=nn.Module)


def shuffled_copy(module: Module, *, seed: int = 0) -> Module:
    """Return a copy in which the numbers of every weight tensor are in random order.

    Size and spread of the weights stay, so that activations neither vanish nor explode. Statistics of batch
    normalisation, the transform of the pixels, and the calibration stay as they are.

    Args:
        module: Any module; it is not changed.
        seed: Seed of the order.
    """
    found = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(seed)
    heads = [one for one in found.modules() if isinstance(one, EstimatorModule)]
    tensors = [*found.parameters(), *(tensor for head in heads for tensor in head.buffers())]
    with torch.no_grad():
        for tensor in tensors:
            if tensor.is_floating_point() and tensor.numel() > 1:
                order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
                tensor.copy_(tensor.flatten()[order].view_as(tensor))
    return found
