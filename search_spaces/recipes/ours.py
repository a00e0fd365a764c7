"""Recipes that did best in our own searches, and the baseline that every search of images begins with."""

from typing import Final

from search_spaces.recipes.parts import head, optimizer, point, pretrained, training
from search_spaces.recipes.portfolio import portfolio_nets, portfolio_points
from search_spaces.recipes.recipe import EvaluationProtocol, Recipe
from trainables.config.baseline import BASELINE_BACKBONE
from trainables.config.tasks import TASKS

_LITE0: Final = "ImageNet weights of efficientnet_lite0"


_FROZEN_LITE0: Final = point(
    pretrained("efficientnet_lite0"),
    head(256, pooling="gap", dropout=0.5),
    optimizer("adam", 5e-4, weight_decay=1e-4, schedule="cosine"),
    training(30, 32, "d4", patience=8, class_weight="balanced", average_views=True),
)

BASELINE: Final = point(
    pretrained(BASELINE_BACKBONE, cut="top"),
    head(pooling="gap"),
    optimizer("adam", 1e-3),
    training(1, 32, "none"),
    {"classical.name": "logistic", "classical.standardize": True, "model.also": "none", "classical.c": 0.1},
)

_PORTFOLIO: Final = portfolio_points()
_PORTFOLIO_NEEDS: Final = tuple(f"ImageNet weights of {net}" for net in portfolio_nets())

BEST_OF_OURS: Final = (
    *(
        Recipe(
            "colour-intensity",
            task.name,
            "Logistic regression on colour and intensity only",
            (BASELINE,),
            EvaluationProtocol(),
        )
        for task in TASKS.values()
        if not task.takes_table
    ),
    *(
        Recipe(
            "portfolio",
            task.name,
            "Frozen nets and closed-form heads that were best elsewhere",
            _PORTFOLIO,
            EvaluationProtocol(),
            choice="Chosen on other sets for being good on all; what cannot run is left out",
            needs=_PORTFOLIO_NEEDS,
        )
        for task in TASKS.values()
        if not task.takes_table
    ),
    *(
        Recipe(
            name="frozen-lite0",
            task=task,
            about="Frozen EfficientNet-Lite0, small head, eight views averaged",
            points=(_FROZEN_LITE0,),
            protocol=EvaluationProtocol(),
            needs=(_LITE0,),
        )
        for task in ("benign_malignant", "mass_calcification", "normal_abnormal")
    ),
)
