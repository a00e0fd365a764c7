"""Recipes: points of a space that are tried first."""

from dataclasses import dataclass
from typing import Any, Final

from search_spaces.context import SpaceContext


@dataclass(frozen=True, slots=True)
class Recipe:
    """A first point. Parameters that it leaves open are sampled.

    Attributes:
        name: Id in the catalogue of the sources, or our own.
        about: One sentence: where it comes from, and what was chosen where the source is silent.
        params: Parameter name -> value, as the space would suggest them.
    """

    name: str
    about: str
    params: dict[str, Any]

    def fits(self, context: SpaceContext) -> bool:
        """True where its backbone can be used, and a dense layer on its whole map is not too large."""
        backbone = self.params.get("model.backbone")
        if backbone is None:
            return True
        if backbone not in context.backbones:
            return False
        flattens = self.params.get(f"model.head.pooling@{backbone}") == "flatten"
        return not flattens or self.params.get(f"model.cut@{backbone}") in context.flattens[backbone]


# The sources augmented pixels only.
PLAIN_FEATURES: Final = {
    "training.feature_noise": 0.0,
    "training.feature_dropout": 0.0,
    "training.mixup": 0.0,
}

BEST_OF_OURS: Final = Recipe(
    "frozen-lite0",
    "A small head on averaged EfficientNet-Lite0 features, the eight symmetries averaged at prediction",
    {
        "model.backbone": "efficientnet_lite0",
        "model.cut@efficientnet_lite0": "top",
        "model.trained_stages@efficientnet_lite0": 0,
        "model.channels@efficientnet_lite0": "replicate",
        "model.head.pooling@efficientnet_lite0": "gap",
        "model.head.hidden": "256",
        "model.head.dropout": 0.5,
        "model.head.batch_norm": False,
        "input.contrast": 1.0,
        "input.contrast_test": "same",
        "optimizer.name": "adam",
        "optimizer.lr@adam": 0.0005,
        "optimizer.weight_decay": 0.0001,
        "optimizer.schedule": "cosine",
        "training.batch_size": 32,
        "training.augmentation": "d4",
        "training.class_weight": "balanced",
        "training.average_views": True,
        **PLAIN_FEATURES,
    },
)

RESNET50_OF_001: Final = Recipe(
    "E001-7",
    "Seed 001's ResNet50: frozen, 256 units with batch norm",
    {
        "model.backbone": "resnet50",
        "model.cut@resnet50": "top",
        "model.trained_stages@resnet50": 0,
        "model.head.hidden": "256",
        "model.head.batch_norm": True,
        "input.contrast": 1.0,
        "optimizer.name": "adam",
        "optimizer.lr@adam": 0.001,
        "training.batch_size": 16,
        **PLAIN_FEATURES,
    },
)
