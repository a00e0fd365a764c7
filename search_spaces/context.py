"""What a search space may know: the data's shape and what this machine can afford. Plain values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SpaceContext:
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

    def as_plain(self) -> dict[str, Any]:
        """Values for YAML."""
        plain = asdict(self)
        plain["adapts_channels"] = sorted(self.adapts_channels)
        plain["from_scratch"] = sorted(self.from_scratch)
        return {name: _plain(value) for name, value in plain.items()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "SpaceContext":
        """Read what `as_plain` wrote."""

        def tuples(value: Mapping[str, list[Any]]) -> dict[str, tuple[Any, ...]]:
            return {name: tuple(items) for name, items in value.items()}

        return cls(
            backbones=tuple(plain["backbones"]),
            from_scratch=frozenset(plain["from_scratch"]),
            fine_tunes=tuples(plain["fine_tunes"]),
            flattens=tuples(plain["flattens"]),
            levels=tuples(plain["levels"]),
            adapts_channels=frozenset(plain["adapts_channels"]),
            augmentations=tuple(plain["augmentations"]),
            sizes_px=dict(plain["sizes_px"]),
            epochs=plain["epochs"],
            images=plain["images"],
            has_gpu=plain.get("has_gpu", False),
            depths=tuple(plain.get("depths", (0, 1))),
            has_free_form=plain.get("has_free_form", False),
            image_px=plain.get("image_px", 0),
            image_channels=plain.get("image_channels", 1),
            has_pairs=plain.get("has_pairs", False),
            types=tuple(plain.get("types", ("none",))),
            phases=tuple(plain.get("phases", ())),
        )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return list(value) if isinstance(value, tuple) else value
