"""Spaces of classical models on rows of features: those of source system 003, and logistic regression.

The values are those that the source tried. It had one perceptron; here its penalty and learning rate vary, or
the sampler would come back to the same point again and again.

A parameter's name is the setting it decides. Where its choices depend on the model, the name ends in
`@model`, since Optuna wants one distribution a name. `frozen_features` is a space of its own, for images:
`--space search_spaces.classical_models:frozen_features --set model.backbone=vgg19`.
"""

from typing import Any, Final

import optuna

from search_spaces.context import SpaceContext

Settings = dict[str, Any]

MODELS: Final = ("svm", "linear_svm", "knn", "tree", "logistic", "mlp")
STRENGTHS: Final = {
    "svm": (0.25, 0.5, 1.0, 1.5, 2.0, 3.0),
    "linear_svm": (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0),
}
NEIGHBOURS: Final = (1, 3, 5, 10, 15, 20, 25, 30)
DEPTHS: Final = (2, 3, 4, 5, 7, 10, 15, 20, 25)
# Settings of any classical trial, for its record: one epoch on unchanged images.
_ONCE: Final = {
    "training.epochs": 1,
    "training.augmentation": "none",
    "training.average_views": False,
}


def classical(trial: optuna.trial.BaseTrial) -> Settings:
    """Suggest a classical model and its own settings."""
    name = trial.suggest_categorical("classical.name", MODELS)
    settings: Settings = {
        "classical.name": name,
        "classical.standardize": trial.suggest_categorical("classical.standardize", (False, True)),
        **_ONCE,
    }
    if name in STRENGTHS:
        settings["classical.c"] = trial.suggest_categorical(f"classical.c@{name}", STRENGTHS[name])
    elif name == "logistic":
        settings["classical.c"] = trial.suggest_float("classical.c@logistic", 1e-3, 1e2, log=True)
    elif name == "mlp":
        settings["classical.l2"] = trial.suggest_float("classical.l2", 1e-4, 1.0, log=True)
        settings["classical.lr"] = trial.suggest_float("classical.lr", 1e-3, 1e-1, log=True)
    elif name == "knn":
        settings["classical.neighbours"] = trial.suggest_categorical("classical.neighbours", NEIGHBOURS)
        settings["classical.minkowski_p"] = trial.suggest_categorical("classical.minkowski_p", (1, 2))
    elif name == "tree":
        settings["classical.depth"] = trial.suggest_categorical("classical.depth", DEPTHS)
    return settings


def table_classifier(trial: optuna.trial.BaseTrial, context: SpaceContext) -> Settings:
    """Suggest a classical model on the columns of a table, such as measurements of cell nuclei."""
    backbone = trial.suggest_categorical("model.backbone", context.backbones)
    return {"model.backbone": backbone, **classical(trial)}


def frozen_features(trial: optuna.trial.BaseTrial, context: SpaceContext) -> Settings:
    """Suggest a classical model on the features of a frozen backbone at one of its cut levels."""
    pretrained = tuple(name for name in context.backbones if name not in context.from_scratch)
    backbone = trial.suggest_categorical("model.backbone", pretrained)
    cuts = (*context.levels[backbone], *context.readout_cuts.get(backbone, ()))
    cut = trial.suggest_categorical(f"model.cut@{backbone}", cuts)
    settings = {"model.backbone": backbone, "model.cut": cut, "model.trained_stages": 0}
    if cut in context.flattens[backbone]:
        settings["model.head.pooling"] = trial.suggest_categorical("model.head.pooling", ("gap", "flatten"))
    return settings | classical(trial)
