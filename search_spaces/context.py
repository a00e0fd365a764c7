"""What a search space may know: the data's shape and what this machine can afford. Plain values."""

from collections.abc import Mapping

from pydantic import field_serializer

from trainables.common.frozen import FrozenModel


class SpaceContext(FrozenModel):
    """Facts that conditions of a space depend on, fixed for a whole search.

    Attributes:
        backbones: Usable ones: weights at hand and trials short enough.
        from_scratch: Backbones that train from random weights.
        fine_tunes: For each other backbone, the cut levels at which training the last stage is affordable.
        flattens: For each backbone, the cut levels whose map a dense layer may take in whole.
        levels: For each backbone, its cut levels, such as ("top", "top+1").
        adapts_channels: Backbones whose grey images may enter through a trained 1x1 convolution.
        augmentations: Policies to choose from.
        sizes_px: For each backbone, the side of its input when the space leaves it open.
        epochs: Largest number of epochs of a trial.
        images: Number of images in the training part.
        has_gpu: Trials run on a GPU, which affords wider heads and deeper training.
        depths: Numbers of last stages of a pretrained backbone that may train.
        has_free_form: Nets from scratch of any structure may be searched.
        image_px: Longer side of the images.
        image_channels: 1 for grey images, 3 for RGB.
        has_pairs: Every image has a healthy baseline.
        types: What the head may be told of the finding, `none` first; never what only people know.
        phases: Tasks that a net may learn first, since the labels answer them.
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

    @property
    def choices(self) -> tuple[str, ...]:
        """What `model.backbone` may be, the free-form family under its own name."""
        return (*self.backbones, "scratch") if self.has_free_form else self.backbones

    @field_serializer("from_scratch", "adapts_channels")
    def _sorted(self, names: frozenset[str]) -> list[str]:
        return sorted(names)
