"""How many numbers of each image a head reads that stands on frozen stages."""

from collections.abc import Mapping

from trainables.config.same_model import normal_form
from trainables.config.trial_config import TrialConfig
from trainables.models.registry import backbone_named
from trainables.models.taps import feature_shapes, frozen_parts, tap_of


def columns_of(config: TrialConfig, sizes_px: Mapping[str, int], channels: int) -> int:
    """Return how many numbers of each image a head reads that stands on frozen stages; 0 without such.

    Args:
        config: Configuration.
        sizes_px: Backbone -> side of its input where the configuration leaves it open; a backbone that is not
            among them counts nothing.
        channels: Channels of the images.
    """
    return sum(own or 0 for own in _columns(config, sizes_px, channels))


def normal_on(config: TrialConfig, sizes_px: Mapping[str, int], channels: int) -> TrialConfig:
    """Return the normal form of a configuration for the images of a search, see `normal_form`.

    Args:
        config: Configuration.
        sizes_px: Backbone -> side of its input where the configuration leaves it open.
        channels: Channels of the images.
    """
    usual = {sizes_px.get(part.model.backbone) for part in frozen_parts(config)}
    columns = _columns(config, sizes_px, channels) if config.classical.pca else []
    return normal_form(
        config,
        usual_px=usual.pop() if len(usual) == 1 else None,
        columns=sum(own or 0 for own in columns) if all(columns) else 0,
    )


def _columns(config: TrialConfig, sizes_px: Mapping[str, int], channels: int) -> list[int | None]:
    """Numbers of each frozen part; None where they are not known."""
    found = list[int | None]()
    for part in frozen_parts(config):
        name = part.model.backbone
        net = backbone_named(name)
        tap = None if name not in sizes_px or net.trains_from_scratch else tap_of(part, net)
        if tap is None:
            found.append(None)
            continue
        size = part.input.size_px or sizes_px[name]
        depth, height, width = feature_shapes(name, net.channels or channels, size)[tap.stage]
        found.append(depth if tap.is_pooled else depth * height * width)
    return found
