"""Mass or calcification? The easier task of seeds 001 and 004."""

import optuna

from search_spaces import pieces
from search_spaces.context import SpaceContext
from search_spaces.recipes import BEST_OF_OURS, PLAIN_FEATURES, RESNET50_OF_001, Recipe

RECIPES = (
    BEST_OF_OURS,
    Recipe(
        "E004-VGG_V5",
        "Seed 004's best VGG16; grey copied to three channels, balanced by weight instead of over-sampling",
        {
            "model.backbone": "vgg16",
            "model.cut@vgg16": "top",
            "model.trained_stages@vgg16": 0,
            "model.channels@vgg16": "replicate",
            "model.head.pooling@vgg16": "flatten",
            "model.head.hidden": "512",
            "model.head.dropout": 0.0,
            "model.head.batch_norm": False,
            "input.contrast": 1.0,
            "input.contrast_test": "same",
            "optimizer.name": "adam",
            "optimizer.lr@adam": 0.001,
            "training.batch_size": 32,
            "training.class_weight": "balanced",
            **PLAIN_FEATURES,
        },
    ),
    Recipe(
        "E004-INCEPTION_3",
        "Seed 004's best Inception: full depth, dropout",
        {
            "model.backbone": "inception_v3",
            "model.cut@inception_v3": "top",
            "model.trained_stages@inception_v3": 0,
            "model.channels@inception_v3": "replicate",
            "model.head.pooling@inception_v3": "flatten",
            "model.head.hidden": "512",
            "model.head.dropout": 0.4,
            "input.contrast": 1.0,
            "input.contrast_test": "same",
            "optimizer.name": "adam",
            "optimizer.lr@adam": 0.001,
            "training.batch_size": 32,
            **PLAIN_FEATURES,
        },
    ),
    RESNET50_OF_001,
    Recipe(
        "E004-SCRATCH_6",
        "Seed 004's best net from scratch",
        {
            "model.backbone": "scratch4",
            "model.cut@scratch4": "top",
            "model.head.pooling@scratch4": "flatten",
            "model.head.hidden": "512",
            "model.head.dropout": 0.0,
            "model.head.batch_norm": False,
            "input.contrast": 1.0,
            "input.contrast_test": "same",
            "optimizer.name": "rmsprop",
            "optimizer.lr@rmsprop": 0.001,
            "training.batch_size": 32,
            "training.class_weight": "none",
        },
    ),
)


def space(trial: optuna.trial.BaseTrial, context: SpaceContext) -> pieces.Settings:
    """Settings of one trial."""
    return pieces.classifier(trial, context)
