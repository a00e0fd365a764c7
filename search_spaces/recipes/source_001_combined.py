"""Ensembles of source 001, and its nets with the type of the finding as an input."""

from collections.abc import Mapping
from typing import Final

from search_spaces.recipes.parts import optimizer, point, pretrained, training
from search_spaces.recipes.recipe import Recipe
from search_spaces.recipes.source_001_shared import (
    BM,
    DIFFERENCE,
    FOUR_FOLDS,
    INPUT,
    KINDS,
    MC,
    PAIRS,
    TASKS,
    Figures,
    accuracies,
    accuracy,
    confusion,
)

# --- ensembles --------------------------------------------------------------------------------------------

_FROZEN_MEMBERS: Final = ("E001-6", "E001-7", "E001-8")
_TUNED_MEMBERS: Final = ("E001-9-VGG16", "E001-9-RESNET50", "E001-9-INCEPTION_V3")
_ON_TEST: Final = "Its weights were searched on the test set"
_FITTED: Final = "Fitted on out-of-fold predictions here"
_STACKED: Final = f"{_FITTED}; the perceptron of the three kinds that are named"


def _ensemble(
    name: str,
    about: str,
    method: str,
    members: tuple[str, ...],
    figures: Mapping[str, Figures],
    *,
    choice: str = "",
    doubt: str = "",
) -> tuple[Recipe, ...]:
    needs = tuple(f"ImageNet weights of {backbone}" for backbone in KINDS)
    return tuple(
        Recipe(
            name,
            task,
            about,
            (),
            FOUR_FOLDS,
            figures.get(task, ()),
            choice=choice,
            needs=needs,
            members=members,
            method=method,
            doubt=doubt,
        )
        for task in TASKS
    )


_ENSEMBLES: Final = (
    *_ensemble(
        "E001-15",
        "Stack of the frozen three",
        "stack_mlp",
        _FROZEN_MEMBERS,
        {
            MC: accuracies(0.8094, 0.8022, 0.7798, is_held_out=False),
            BM: accuracies(0.6826, 0.6530, 0.6667, is_held_out=False),
        },
        choice=_STACKED,
    ),
    *_ensemble(
        "E001-16",
        "Stack of the fine-tuned three",
        "stack_mlp",
        _TUNED_MEMBERS,
        {
            MC: accuracies(0.8708, 0.8657, 0.8423, is_held_out=False),
            BM: accuracies(0.6253, 0.6194, 0.6429, is_held_out=False),
        },
        choice=_STACKED,
    ),
    *_ensemble("E001-17-FROZEN", "Average of the frozen three", "average", _FROZEN_MEMBERS, {}),
    *_ensemble("E001-17-TUNED", "Average of the fine-tuned three", "average", _TUNED_MEMBERS, {}),
    *_ensemble(
        "E001-18",
        "Weighted average of the frozen three",
        "grid",
        _FROZEN_MEMBERS,
        {
            MC: (accuracy(0.8542, "Inception .2, ResNet .4, VGG .4"),),
            BM: (accuracy(0.6667, "Inception .5, ResNet .5, VGG 0"),),
        },
        choice=_FITTED,
        doubt=_ON_TEST,
    ),
    *_ensemble(
        "E001-19",
        "Weighted average of the fine-tuned three",
        "grid",
        _TUNED_MEMBERS,
        {
            MC: (accuracy(0.8780, "Inception 0, ResNet .5, VGG .5"),),
            BM: (accuracy(0.6845, "Inception .5, ResNet 0, VGG .5"),),
        },
        choice=_FITTED,
        doubt=_ON_TEST,
    ),
)

# --- with the type of the finding as an input -------------------------------------------------------------

_TOLD: Final = (
    pretrained("resnet50")
    | {"model.weights": "start", "model.type_input": "probability"}
    | KINDS["resnet50"]
    | INPUT
    | optimizer("adam", 1e-3)
    | training(50, 16, "e001", class_weight=1.3)
)
_TOLD_CHOICE: Final = (
    "The type as a probability; optimiser and epochs are not given: Adam at 1e-3, 50; the features of the "
    "ResNet50 rest, only the new head trains"
)

_TYPE_INFORMED: Final = (
    Recipe(
        "E001-20",
        BM,
        "Siamese ResNet50 that is told the predicted type",
        (point(_TOLD, DIFFERENCE),),
        FOUR_FOLDS,
        confusion(137, 82, 50, 67),
        choice=_TOLD_CHOICE,
        needs=(PAIRS, "ImageNet weights of resnet50"),
        starts_from="E001-14",
        type_from="E001-12",
    ),
    Recipe(
        "E001-21",
        BM,
        "ResNet50 that is told the predicted type",
        (point(_TOLD),),
        FOUR_FOLDS,
        choice=_TOLD_CHOICE,
        needs=("ImageNet weights of resnet50",),
        starts_from="E001-9-RESNET50",
        type_from="E001-9-VGG16",
        doubt="It collapses to one class",
    ),
)

RECIPES: Final = (*_ENSEMBLES, *_TYPE_INFORMED)
