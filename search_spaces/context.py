"""Facts that a search space may use: the shape of the data and the feasible models. Plain values."""

from collections.abc import Mapping

from pydantic import field_serializer

from trainables.common.frozen import FrozenModel
from trainables.models.custom_cnn import FAMILY


class SpaceContext(FrozenModel):
    """Facts that the conditions of a space depend on, fixed for a whole search.

    Attributes:
        backbones: Usable backbones: their weights are available and their trials short enough.
        from_scratch: Backbones that train from random weights.
        fine_tunes: Other backbone -> cut levels at which training of the last stage fits the time budget.
        flattens: Backbone -> cut levels whose flattened map may be the input of a dense layer.
        levels: Backbone -> its cut levels, such as ("top", "top+1").
        adapts_channels: Backbones whose grey images may enter through a trained 1x1 convolution.
        augmentations: Names of the augmentations to choose from.
        sizes_px: Backbone -> side of its input in pixels when the space leaves it open.
        epochs: Largest number of epochs of a trial.
        images: Number of images in the training part.
        has_gpu: Trials run on a GPU, which allows wider heads and deeper training.
        depths: Choices for the number of last stages of a pretrained backbone that train.
        has_free_form: Nets from scratch of any structure may be searched.
        image_px: Longer side of the images in pixels.
        image_channels: Number of channels: 1 for grey images, 3 for RGB.
        has_pairs: Every image has a healthy baseline.
        types: Choices for the finding type as an input of the head, `none` first; never one that only people
            can give.
        phases: Names of tasks that a net may learn first, since the data have labels for them.
        heads: Closed-form heads that may take the place of a trained one on frozen features; empty for none,
            as in searches of earlier versions.
        rarer_heads: Further closed-form heads, which share one choice: together they are proposed as often as
            one of `heads`. Empty in searches of earlier versions.
        scalings: Choices of `classical.standardize` for closed-form heads on features of nets; `(True,)` in
            searches of earlier versions.
        combines: Choices of `unit.combine`, the rule that combines the images of a unit; empty for single
            images.
        plain_only: Backbones whose passes over the plain images fit the time budget, while those over all
            views do not: they serve closed-form heads alone, on images of unchanged contrast.
        further_sizes: Pretrained backbone -> other sides of its input in pixels whose passes over the plain
            images fit; closed-form heads choose among them.
        readout_cuts: Backbone -> cuts besides its levels that read its frozen stages in another way, such as
            ("top.class",); of transformers only, and empty in searches of earlier versions.
        tap_lists: Backbone -> lists of cuts whose features stand together as further taps.
        ranges: Name of a parameter -> its smallest and largest value, where past results have narrowed what
            the space says; empty in searches of earlier versions.
    """

    backbones: tuple[str, ...]
    from_scratch: frozenset[str]
    fine_tunes: Mapping[str, tuple[str, ...]]
    flattens: Mapping[str, tuple[str, ...]]
    levels: Mapping[str, tuple[str, ...]]
    adapts_channels: frozenset[str]
    augmentations: tuple[str, ...]
    sizes_px: Mapping[str, int]
    epochs: int
    images: int
    has_gpu: bool = False
    depths: tuple[int | str, ...] = (0, 1)
    has_free_form: bool = False
    image_px: int = 0
    image_channels: int = 1
    has_pairs: bool = False
    types: tuple[str, ...] = ("none",)
    phases: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    rarer_heads: tuple[str, ...] = ()
    scalings: tuple[bool, ...] = (True,)
    combines: tuple[str, ...] = ()
    plain_only: frozenset[str] = frozenset()
    further_sizes: Mapping[str, tuple[int, ...]] = {}
    readout_cuts: Mapping[str, tuple[str, ...]] = {}
    tap_lists: Mapping[str, tuple[tuple[str, ...], ...]] = {}
    ranges: Mapping[str, tuple[float, float]] = {}

    @property
    def choices(self) -> tuple[str, ...]:
        """Choices of `model.backbone`, the family of free-form nets under its own name."""
        return (*self.backbones, FAMILY) if self.has_free_form else self.backbones

    @field_serializer("from_scratch", "adapts_channels", "plain_only")
    def _sorted(self, names: frozenset[str]) -> list[str]:
        return sorted(names)
