"""Recipes that did best in our own searches."""

from typing import Final

from search_spaces.recipes.parts import head, optimizer, point, pretrained, training
from search_spaces.recipes.recipe import EvaluationProtocol, Recipe

_FROZEN_LITE0: Final = point(
    pretrained("efficientnet_lite0"),
    head(256, pooling="gap", dropout=0.5),
    optimizer("adam", 5e-4, weight_decay=1e-4, schedule="cosine"),
    training(30, 32, "d4", patience=8, class_weight="balanced", average_views=True),
)

BEST_OF_OURS: Final = tuple(
    Recipe(
        name="frozen-lite0",
        task=task,
        about="Frozen EfficientNet-Lite0, small head, eight views averaged",
        points=(_FROZEN_LITE0,),
        protocol=EvaluationProtocol(),
        needs=("ImageNet weights of efficientnet_lite0",),
    )
    for task in ("benign_malignant", "mass_calcification", "normal_abnormal")
)
