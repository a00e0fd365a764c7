"""A model of patches over a whole film with one pass of its frozen stages, in place of one for each window.

The stages run over the film, in tiles that overlap; the mean over a window of their map is what a window by
itself would have given, but for its edge, behind which the stages see the film and not zeros.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from results.predictors.explained_model import ExplainedModel
from results.relevance.frame import Frame
from results.relevance.method import FoundBox, RelevanceMap
from results.relevance.sliding import HeatMap, boxes_of
from trainables.common.types import Float64Array
from trainables.inference.shared_backbones import FeatureOutput, SharedBackbone
from trainables.preprocessing.transforms import TransformSpec
from trainables.preprocessing.views import apply_symmetry
from trainables.relevance.layer_maps import undo_symmetry
from trainables.runtime.devices import single_precision

_TILE: Final = 1536  # pixels of the film, at the scale of the net, that pass the stages at once
_HALO: Final = 64  # pixels around a tile that its features see
_STEP: Final = 1 / 4  # distance of two windows, as a share of their side, about
_BATCH: Final = 4096  # windows whose probabilities are computed at once
_EMPTY: Final = 0.02  # share of the film's range within which a window is background


def can_pass_once(model: ExplainedModel) -> bool:
    """Tell whether `film_map` can replace the windows of a model.

    All members must take means over positions of frozen stages, of one image, at one scale, and no transform
    may look at a window as a whole.
    """
    backbones = _backbones(model)
    outputs = [output for one in backbones for output in one.outputs]
    return (
        not (model.members.needs.baseline or model.members.needs.finding_type)
        and all(output.tap is not None and output.tap.is_pooled and not output.is_pair for output in outputs)
        and all(_is_by_pixel(one.transform.spec) for one in backbones)
        and len({one.transform.spec.size_px for one in backbones}) == 1
        and not any(isinstance(stage, torch.nn.Linear) for one in backbones for stage in one.stages.modules())
    )


def _backbones(model: ExplainedModel) -> list[SharedBackbone]:
    return [cast(SharedBackbone, one) for one in model.members.backbone_modules]


def _is_by_pixel(spec: TransformSpec) -> bool:
    return spec.clahe is None and spec.contrast == 1.0 and not spec.standardises


def film_map(model: ExplainedModel, image: NDArray[Any], label: int, *, window_px: int) -> RelevanceMap:
    """Compute the heat map of a film, and the places of its peaks.

    Args:
        model: A model for which `can_pass_once` holds.
        image: Film or slide, shape (H, W) or (H, W, 3), each side at least `window_px`.
        label: Class whose probability is shown.
        window_px: Side of a window, in pixels of the image: that of the training images, at their scale.
    """
    with torch.inference_mode(), single_precision():
        heat, scale = _heat(model, image, label, window_px)
    shape = tuple(round(length * scale) for length in image.shape[:2])
    values = np.nan_to_num(heat.values, nan=0.0)
    rows, columns = (
        np.minimum((np.arange(length) * scale).astype(np.int64) // heat.cell_px, cells - 1)
        for length, cells in zip(image.shape[:2], values.shape, strict=True)
    )
    marks = tuple(_scaled(one, 1 / scale, image.shape) for one in boxes_of(heat, shape))
    return RelevanceMap(values[np.ix_(rows, columns)], heat.windows, marks)


@dataclass(frozen=True, slots=True)
class _Grid:
    """Windows over a film at the scale of the net.

    Attributes:
        side: Side of a window, in pixels.
        stride: Distance of two windows, in pixels; a multiple of the stride of every map.
        rows: Number of windows from top to bottom.
        columns: Number of windows from left to right.
    """

    side: int
    stride: int
    rows: int
    columns: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the film, filled up so that the last windows end at its edges."""
        return (
            self.side + (self.rows - 1) * self.stride,
            self.side + (self.columns - 1) * self.stride,
        )


def _heat(model: ExplainedModel, image: NDArray[Any], label: int, window_px: int) -> tuple[HeatMap, float]:
    """The heat map at the scale of the net, and that scale."""
    backbones = _backbones(model)
    side = backbones[0].transform.spec.size_px
    scale = side / window_px
    strides = [_strides(one) for one in backbones]
    coarsest = max(stride for own in strides for stride in own.values())
    stride = max(1, round(_STEP * side / coarsest)) * coarsest
    small = [max(side, round(length * scale)) for length in image.shape[:2]]
    rows, columns = (-(-(length - side) // stride) + 1 for length in small)
    grid = _Grid(side, stride, rows, columns)
    raw = _resized(model.as_floats(image), (small[0], small[1]), grid.shape)
    is_shown = _ranges(raw, grid) > _EMPTY * float(np.ptp(image))
    features = [
        [
            _of_windows(maps, output, grid, own[output.tap.stage])[:, is_shown.flatten()]
            for output in one.outputs
            if output.tap is not None
        ]
        for one, own in zip(backbones, strides, strict=True)
        for maps in [_maps(one, raw, own)]
    ]
    values = torch.full((rows * columns,), float("nan"), dtype=torch.float64)
    values[is_shown.flatten()] = _probabilities(model, features, label)
    return _spread(values.view(rows, columns).numpy(), grid, (small[0], small[1])), scale


def _strides(backbone: SharedBackbone) -> dict[str, int]:
    """Pixels of the input for one place of the map after each stage."""
    side = 256
    device = backbone.transform.mean.device
    maps = torch.zeros(1, backbone.transform.spec.channels, side, side, device=device)
    found = {}
    for name, stage in backbone.stages.items():
        maps = stage(maps)
        found[name] = round(side / maps.shape[-1])
    return found


def _resized(raw: Tensor, small: tuple[int, int], whole: tuple[int, int]) -> Tensor:
    """The film at the scale of the net, (1, C, H, W), its last rows and columns repeated up to `whole`."""
    images = raw.unsqueeze(1) if raw.dim() == 3 else raw.permute(0, 3, 1, 2)
    if tuple(images.shape[2:]) != small:
        images = F.interpolate(images, size=small, mode="bilinear", align_corners=False, antialias=True)
    return F.pad(images, (0, whole[1] - small[1], 0, whole[0] - small[0]), mode="replicate")


def _ranges(raw: Tensor, grid: _Grid) -> Tensor:
    """Range of the grey values of each window, shape (rows, columns)."""
    grey = raw.mean(dim=1, keepdim=True)
    high, low = (
        F.max_pool2d(
            F.max_pool2d(sign * grey, (grid.side, 1), (grid.stride, 1)), (1, grid.side), (1, grid.stride)
        )
        for sign in (1.0, -1.0)
    )
    return (high + low)[0, 0].cpu()


def _maps(backbone: SharedBackbone, raw: Tensor, strides: Mapping[str, int]) -> dict[tuple[str, int], Tensor]:
    """The map of the whole film after each stage that an output taps, by stage and view, (1, C, h, w)."""
    spec, stages = backbone.transform.spec, {one.tap.stage for one in backbone.outputs if one.tap}
    film = raw / spec.max_value
    film = film.repeat(1, 3, 1, 1) if film.shape[1] == 1 and spec.channels == 3 else film
    film = (film - backbone.transform.mean) / backbone.transform.std if spec.mean else film
    found: dict[tuple[str, int], Tensor] = {}
    for view in sorted({view for output in backbone.outputs for view in output.views}):
        maps = _tiled(backbone, apply_symmetry(film, view), stages, strides)
        found |= {(name, view): undo_symmetry(own, view) for name, own in maps.items()}
    return found


def _tiled(
    backbone: SharedBackbone, film: Tensor, stages: set[str], strides: Mapping[str, int]
) -> dict[str, Tensor]:
    """The maps of one view, put together from overlapping tiles; those of even grey stay 0."""
    least = _EMPTY * float(film.amax() - film.amin())
    found: dict[str, Tensor] = {}
    for top, bottom in _tiles(film.shape[2]):
        for left, right in _tiles(film.shape[3]):
            above, before = max(0, top - _HALO), max(0, left - _HALO)
            tile = film[:, :, above : bottom + _HALO, before : right + _HALO]
            is_even = float(tile.amax() - tile.amin()) <= least
            maps = tile
            for name, stage in backbone.stages.items():
                maps = stage(tile[:, :, :64, :64] if is_even and maps is tile else maps)
                if name not in stages:
                    continue
                step = strides[name]
                size = [-(-length // step) for length in film.shape[2:]]
                whole = found.setdefault(name, maps.new_zeros(1, maps.shape[1], *size))
                if is_even:
                    continue
                down, along = top // step, left // step
                rows = min(-(-bottom // step), size[0]) - down
                columns = min(-(-right // step), size[1]) - along
                skip = ((top - above) // step, (left - before) // step)
                own = maps[:, :, skip[0] : skip[0] + rows, skip[1] : skip[1] + columns]
                whole[:, :, down : down + own.shape[2], along : along + own.shape[3]] = own
    return found


def _tiles(length: int) -> Iterator[tuple[int, int]]:
    for start in range(0, length, _TILE):
        yield start, min(start + _TILE, length)


def _of_windows(
    maps: Mapping[tuple[str, int], Tensor], output: FeatureOutput, grid: _Grid, stride: int
) -> Tensor:
    """Features of every window, shape (views, windows, C)."""
    if output.tap is None:
        raise ValueError("a film has no pooled features before the first stage")
    side, step = -(-grid.side // stride), grid.stride // stride
    found = []
    for view in output.views:
        whole = maps[output.tap.stage, view]
        missing = [
            max(0, side + (count - 1) * step - have)
            for count, have in zip((grid.rows, grid.columns), whole.shape[2:], strict=True)
        ]
        padded = F.pad(whole, (0, missing[1], 0, missing[0]), mode="replicate")
        pooled = F.avg_pool2d(padded, side, step)[0, :, : grid.rows, : grid.columns]
        found.append(pooled.flatten(1).T)
    return torch.stack(found)


def _probabilities(model: ExplainedModel, features: list[list[Tensor]], label: int) -> Tensor:
    """Probability of a class for each window, float64, (windows,)."""
    count, found = features[0][0].shape[1], []
    for start in range(0, count, _BATCH):
        own = [[one[:, start : start + _BATCH] for one in outputs] for outputs in features]
        windows = own[0][0].shape[1]
        unit = torch.arange(windows, device=model.device) if model.module.unit_rules else None
        combined = model.module.combined(model.members.by_fold_of(own), unit)
        found.append(combined[:, label].to(torch.float64).cpu())
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.float64)


def _spread(windows: Float64Array, grid: _Grid, small: tuple[int, int]) -> HeatMap:
    """Mean over the windows that cover each cell; NaN where all of them are background."""
    cells = [-(-length // grid.stride) for length in small]
    total, count = np.zeros(cells), np.zeros(cells)
    reach = -(-grid.side // grid.stride)
    for row, column in zip(*np.nonzero(~np.isnan(windows)), strict=True):
        place = (slice(row, row + reach), slice(column, column + reach))
        total[place] += windows[row, column]
        count[place] += 1
    values = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return HeatMap(values, grid.stride, grid.side, int((~np.isnan(windows)).sum()))


def _scaled(found: FoundBox, scale: float, shape: tuple[int, ...]) -> FoundBox:
    left, top = (
        min(round(scale * one), length - 1)
        for one, length in ((found.box.left, shape[1]), (found.box.top, shape[0]))
    )
    width = min(round(scale * found.box.width), shape[1] - left)
    height = min(round(scale * found.box.height), shape[0] - top)
    return FoundBox(Frame(left, top, width, height), found.score)
