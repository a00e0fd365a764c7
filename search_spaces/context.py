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
        )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return list(value) if isinstance(value, tuple) else value
