"""Trials that are alike: in what memory they need, or in which stored features they read."""

import json
from dataclasses import dataclass

from trainables.config.trial_config import TrialConfig


@dataclass(frozen=True, slots=True)
class Kind:
    """The settings that decide the memory need of a trial."""

    backbone: str
    cut: str
    trained_stages: int | str
    batch_size: int
    size_px: int | None
    models: int


def kind_of(config: TrialConfig, folds: int) -> Kind:
    """Return the kind of a trial: backbone, first trained stage, batch, input size, models side by side."""
    model, training = config.model, config.training
    return Kind(
        backbone=model.backbone,
        cut=model.cut,
        trained_stages=model.trained_stages,
        batch_size=training.batch_size,
        size_px=config.input.size_px,
        models=folds * training.repeats,
    )


def features_of(config: TrialConfig) -> str | None:
    """Return a name for the stored features that a head is trained on; None for a trial that needs a GPU.

    Trials with the same name read the same files, so that after the first of them nothing is computed in a
    frozen network any more.
    """
    model, training = config.model, config.training
    is_head = (
        model.trained_stages == 0
        and model.channels == "replicate"
        and model.weights == "imagenet"
        and model.type_input == "none"
        and training.first_phase == "none"
    )
    if not is_head:
        return None
    facts = [
        model.backbone,
        model.cut,
        model.pair,
        model.also,
        config.input.model_dump(mode="json"),
        training.augmentation,
        training.average_views,
        training.augment_last is None,
    ]
    return json.dumps(facts, sort_keys=True)
