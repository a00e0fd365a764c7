"""Choices of a search that depend on its unit: closed-form heads, and rules that combine a unit's images."""

import numpy as np

from results.run.search_request import SearchRequest
from search_spaces.closed_form import CALIBRATED, HEADS, RARER_HEADS
from trainables.config.tasks import Task
from trainables.config.unit_config import ATTENTION, COMBINATIONS_OF_MORE, COMBINATIONS_OF_TWO, PLURALS
from trainables.data.training_data import TrainingData


def heads_for(request: SearchRequest, task: Task, *, is_table: bool) -> tuple[str, ...]:
    """Return the closed-form heads that agree with the fixed settings; none where a net is asked for."""
    fixed = request.fixed_params
    if is_table or fixed.get("classical.name") == "none":
        return ()
    plain = {"model.trained_stages": 0, "model.weights": "imagenet", "model.channels": "replicate"}
    plain |= {"model.pair": "none", "model.type_input": "none"}
    asks_for_a_net = any(fixed.get(name, value) != value for name, value in plain.items())
    asks_for_a_net |= any(name.startswith("optimizer.") for name in fixed)
    if asks_for_a_net or fixed.get("model.head.pooling") == "conv":
        return ()
    combine = fixed.get("unit.combine", ATTENTION)
    weighs = request.unit != "image" and len(task.classes) == 2 and combine == ATTENTION
    return (*HEADS, ATTENTION) if weighs else HEADS


def rarer_heads_for(heads: tuple[str, ...], training_data: TrainingData) -> tuple[str, ...]:
    """Return the rarer heads beside those of a search; none where it has none.

    Those that are calibrated on held-out patients need two of each class in the training part of every fold.
    """
    if not heads:
        return ()
    return tuple(name for name in RARER_HEADS if name not in CALIBRATED or _has_patients(training_data))


def _has_patients(training_data: TrainingData) -> bool:
    """Tell whether each class in the training part of each fold has two patients there."""
    for fold in range(int(training_data.folds.max()) + 1):
        is_inside = training_data.folds != fold
        labels, groups = training_data.labels[is_inside], training_data.groups[is_inside]
        if any(len(np.unique(groups[labels == label])) < 2 for label in np.unique(labels)):
            return False
    return True


def sees_plain_images(request: SearchRequest) -> bool:
    """Tell whether the closed-form heads of a search may see the images as they are, in our own space."""
    changed = ("input.contrast", "input.contrast_test", "training.augmentation", "training.average_views")
    return request.space is None and not any(name in request.fixed_params for name in changed)


def combinations_for(request: SearchRequest, task: Task) -> tuple[str, ...]:
    """Return the rules by which trials may combine the images of a unit; none for single images."""
    if request.unit == "image":
        return ()
    return COMBINATIONS_OF_TWO if len(task.classes) == 2 else COMBINATIONS_OF_MORE


def describe_units(training_data: TrainingData) -> list[str]:
    """Say what the scores of a search are of; nothing for single images."""
    if training_data.units is None:
        return []
    units, labels = training_data.scored.rows, training_data.scored.labels
    images = int((training_data.folds >= 0).sum())
    positive = int((labels == training_data.classes - 1).sum())
    return [
        f"unit: {images} held-out images make up {len(units)} {PLURALS[training_data.unit]}, {positive} of "
        "the last class, and all scores are of these"
    ]
