"""Checks of a configuration against the data, and the side inputs that the labels allow in a space."""

import functools
from collections.abc import Callable
from typing import Final

from search_spaces.context import SpaceContext
from trainables.common.errors import ConfigError, OrchestrateError, UnknownNameError
from trainables.config.tasks import TASKS, task_named
from trainables.config.trial_config import TrialConfig
from trainables.config.unit_config import ATTENTION, COMBINATIONS_OF_MORE
from trainables.data.patches import PatchSet
from trainables.data.training_data import TrainingData
from trainables.estimators.registry import estimator_named
from trainables.models.custom_cnn import FAMILY as CUSTOM_CNN
from trainables.models.registry import backbone_named
from trainables.models.taps import frozen_parts
from trainables.preprocessing.transforms import transform_spec
from trainables.training.initialisation import check_start

# Choices of a space. Only a person may set `human`: such a model needs the type of every new image as input.
_TYPES: Final = ("none", "probability", "hard")


def check_config(
    config: TrialConfig, training_data: TrainingData, context: SpaceContext, start: TrialConfig | None = None
) -> None:
    """Check that a configuration can be built for these images.

    Args:
        config: Configuration of the trial.
        training_data: Images and labels of the training part.
        context: Facts of the search space.
        start: Configuration of the trial that others start from; None without one.

    Raises:
        ConfigError: If the configuration cannot be built.
        UnknownNameError: If the backbone is not one of this search, or the cut does not exist.
    """
    patch_set = training_data.patch_set
    if config.classical.name != "none":
        estimator_named(config.classical.name)
    _check_unit(config, training_data)
    is_free_form = context.has_free_form and config.model.backbone.startswith(f"{CUSTOM_CNN}:")
    if config.model.backbone not in context.backbones and not is_free_form:
        raise UnknownNameError("backbone of this search", config.model.backbone, context.backbones)
    if patch_set.is_table:
        _check_classical(config, patch_set)
        return
    _check_further_taps(config, patch_set, context)
    _check_plain_only(config, context)
    backbone = backbone_named(config.model.backbone)
    backbone.plan(config.model)
    for is_test in (False, True):
        transform_spec(config, backbone, patch_set.images.shape[1:], patch_set.max_value, is_test=is_test)
    if config.model.pair != "none":
        training_data.baselines()
    training_data.side_input(config.model.type_input)
    if config.training.first_phase not in ("none", "head"):
        training_data.labels_of(task_named(config.training.first_phase))
    if config.model.weights == "start":
        check_start(config, start)


def _check_unit(config: TrialConfig, training_data: TrainingData) -> None:
    combine, classes = config.unit.combine, training_data.classes
    if combine == ATTENTION and training_data.units is None:
        raise ConfigError(
            "unit.combine=attention weighs the images of a unit: search with --unit breast, exam or patient"
        )
    if training_data.units is not None and classes > 2 and combine not in COMBINATIONS_OF_MORE:
        raise ConfigError(
            f"unit.combine={combine} is for two classes, and this task has {classes}; set it to "
            f"{' or '.join(COMBINATIONS_OF_MORE)}"
        )


def _check_further_taps(config: TrialConfig, patch_set: PatchSet, context: SpaceContext) -> None:
    _, *further = frozen_parts(config)
    for part in further:
        if part.model.backbone not in context.backbones:
            raise UnknownNameError("backbone of model.also", part.model.backbone, context.backbones)
        backbone = backbone_named(part.model.backbone)
        backbone.plan(part.model)
        transform_spec(part, backbone, patch_set.images.shape[1:], patch_set.max_value, is_test=True)


def _check_plain_only(config: TrialConfig, context: SpaceContext) -> None:
    """Keep a net that is too slow for more than the plain images to closed-form heads on these."""
    slow = sorted({part.model.backbone for part in frozen_parts(config)} & context.plain_only)
    is_plain = (config.input.contrast, config.input.contrast_at_test) == (1.0, 1.0)
    if slow and (config.classical.name == "none" or not is_plain):
        raise ConfigError(
            f"{slow[0]} is too slow here for more than the plain images, which closed-form heads see: set "
            "classical.name and leave input.contrast at 1, or raise --trial-minutes"
        )


def with_labels(context: SpaceContext, training_data: TrainingData) -> SpaceContext:
    """Return the context with the pairs, type inputs and first tasks that these data allow."""
    found = {
        "has_pairs": _is_possible(training_data.baselines),
        "types": tuple(
            name for name in _TYPES if _is_possible(functools.partial(training_data.side_input, name))
        ),
        "phases": tuple(
            name
            for name, task in TASKS.items()
            if len(task.classes) > training_data.classes
            and _is_possible(functools.partial(training_data.labels_of, task))
        ),
    }
    return context.model_copy(update=found)


def _is_possible(read: Callable[[], object]) -> bool:
    try:
        read()
    except OrchestrateError:
        return False
    return True


def _check_classical(config: TrialConfig, patch_set: PatchSet) -> None:
    if config.classical.name == "none":
        raise ConfigError(
            f"{patch_set.source} is a table, which no net takes: leave classical.name to the space, or set "
            "it to a model such as svm"
        )
