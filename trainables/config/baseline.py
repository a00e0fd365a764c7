"""The baseline of every search of images: a closed-form head on colour and intensity alone."""

from collections.abc import Mapping
from typing import Any, Final

BASELINE_BACKBONE: Final = "intensity"
BASELINE_TEXT: Final = "colour and intensity only"
REFERENCE_TEXT: Final = "reference, no trial of this search"  # what the baseline is where no trial is one


def is_baseline(config: Mapping[str, Any]) -> bool:
    """Tell whether a trial sees colour and intensity alone, through a closed-form head.

    Args:
        config: Dotted setting -> value.

    >>> is_baseline({"model.backbone": "intensity", "classical.name": "logistic"})
    True
    """
    has_head = config.get("classical.name", "none") not in ("none", "majority", "stratified")
    is_alone = config.get("model.also") in (None, "none", (), [])
    return has_head and is_alone and config.get("model.backbone") == BASELINE_BACKBONE
