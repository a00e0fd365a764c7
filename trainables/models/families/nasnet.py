"""NASNet-A Large: Zoph et al. (2018), arXiv 1707.07012; code from timm, weights `tf_in1k`, both Apache-2.0.

A cell of NASNet takes the outputs of the two cells before it. So stages pass both on, the newer first,
concatenated along the channels; a stage ends only where both maps have the same side. The last stage returns
the newer alone, with the usual 4032 channels. A head on an earlier cut gets the input of the next cell.
"""

from collections import OrderedDict
from typing import Any, Final

import torch
from torch import Tensor, nn

from trainables.models.stages import Backbone

# Channels of the newer of the two maps that a stage takes.
_GROUPS: Final = (("reduce0", 1008, range(1, 6)), ("reduce1", 2016, range(7, 12)), ("", 4032, range(13, 18)))


class _Stem(nn.Module):
    """First convolution, both stem cells and cell 0, after which two outputs have the same side at last."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.conv0, self.cell_stem_0, self.cell_stem_1 = net.conv0, net.cell_stem_0, net.cell_stem_1
        self.cell_0 = net.cell_0

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, S, S) to (B, 1008 + 336, H, W)."""
        first = self.conv0(images)
        older = self.cell_stem_0(first)
        newer = self.cell_stem_1(first, older)
        return torch.cat([self.cell_0(newer, older), newer], dim=1)


class _Cell(nn.Module):
    """A normal cell; the last cell of the net returns only its own output, through ReLU."""

    def __init__(self, cell: nn.Module, width: int, *, is_last: bool) -> None:
        super().__init__()
        self.cell, self.width, self.is_last = cell, width, is_last

    def forward(self, pair: Tensor) -> Tensor:
        """Map two concatenated maps to two, or to one if this is the last cell."""
        newer, older = pair[:, : self.width], pair[:, self.width :]
        found: Tensor = self.cell(newer, older)
        return found.relu() if self.is_last else torch.cat([found, newer], dim=1)


class _Reduction(nn.Module):
    """A reduction cell with the cell after it, which still takes the older map at its full side."""

    def __init__(self, reduction: nn.Module, cell: nn.Module, width: int) -> None:
        super().__init__()
        self.reduction, self.cell, self.width = reduction, cell, width

    def forward(self, pair: Tensor) -> Tensor:
        """Map two concatenated maps to two of half the side."""
        newer, older = pair[:, : self.width], pair[:, self.width :]
        reduced = self.reduction(newer, older)
        return torch.cat([self.cell(reduced, older), reduced], dim=1)


def _nasnet(channels: int) -> "OrderedDict[str, nn.Module]":
    from trainables.models.timm_library import timm

    net: Any = timm.create_model("nasnetalarge", pretrained=False, num_classes=0)
    stages: OrderedDict[str, nn.Module] = OrderedDict(stem=_Stem(net))
    for reduction, width, cells in _GROUPS:
        for number in cells:
            cell = getattr(net, f"cell_{number}")
            stages[f"cell{number}"] = _Cell(cell, width, is_last=number == 17)
        if reduction:
            after = getattr(net, f"cell_{cells.stop}")
            stages[reduction] = _Reduction(getattr(net, f"reduction_cell_{reduction[-1]}"), after, width)
    return stages


NASNET = Backbone(
    name="nasnet",
    build=_nasnet,
    stage_names=(
        *("stem", "cell1", "cell2", "cell3", "cell4", "cell5", "reduce0"),
        *("cell7", "cell8", "cell9", "cell10", "cell11", "reduce1"),
        *("cell13", "cell14", "cell15", "cell16", "cell17"),
    ),
    levels=("cell17", "cell11", "cell5"),
    channels=3,
    min_size_px=32,
    size_px=331,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    has_imagenet_weights=True,
    source="Zoph et al. (2018)",
)
