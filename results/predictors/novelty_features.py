"""The features that the novelty score of a model takes, of the training images of its run."""

from dataclasses import dataclass
from typing import cast

import numpy as np

from results.novelty.reference import NoveltyReference, fit_reference
from results.predictors.loading import OpenedModel, weights_of
from results.predictors.novelty_module import pooled_rows
from results.predictors.store_runtime import store_runtime
from results.run.run_folder import RunFolder
from trainables.data.split_record import read_split
from trainables.data.training_data import training_data_of
from trainables.features.loading import open_plain_features
from trainables.inference.shared_backbones import SharedBackbone
from trainables.models.registry import backbone_named
from trainables.models.taps import Tap, frozen_parts


@dataclass(frozen=True, slots=True)
class ModelNovelty:
    """The novelty score of a model.

    Attributes:
        reference: Where the features of the training images lie.
        place: Index of the shared backbone, and of its output, whose features it takes.
        trial: Number of the member that they belong to.
        backbone: Name of its backbone.
        tap: Point at which they are taken.
    """

    reference: NoveltyReference
    place: tuple[int, int]
    trial: int
    backbone: str
    tap: Tap


def novelty_of(run: RunFolder, opened: OpenedModel) -> ModelNovelty | None:
    """Fit the novelty score of a model on the training images of its run; the test part is not looked at.

    The features are those of the first member with frozen stages, if possible with weights of other images.

    Args:
        run: Folder of the search, whose store holds the features, unless they are computed anew.
        opened: The opened model.

    Returns:
        The score; None if no member has frozen stages, or the patients are too few.

    Raises:
        OrchestrateError: If data, split or pretrained files are missing or were changed.
    """
    found = _source_of(opened)
    if found is None:
        return None
    number, place, tap = found
    search, config = opened.search, frozen_parts(opened.configs[number])[0]
    data = training_data_of(
        opened.patch_set, search.task_definition, read_split(run.split_file), search.request.unit
    )
    runtime = store_runtime(run, search, {config.model.backbone: weights_of(config, search)})
    stored = open_plain_features(config, data, runtime)
    features = pooled_rows(stored[data.positions])
    if not np.isfinite(features).all():
        return None
    reference = fit_reference(features, data.folds, data.groups)
    if reference is None:
        return None
    return ModelNovelty(reference, place, number, config.model.backbone, tap)


def _source_of(opened: OpenedModel) -> tuple[int, tuple[int, int], Tap] | None:
    """Trial, place and tap of the features: of pretrained stages if there are any, else of statistics."""
    members = opened.module.members
    found = []
    for (number, config), member in zip(opened.configs.items(), members.members, strict=True):
        place = members.routes[member][0]
        output = cast(SharedBackbone, members.backbone_modules[place[0]]).outputs[place[1]]
        if output.tap is not None and 0 in output.views:
            is_fixed = backbone_named(config.model.backbone).is_fixed
            found.append((is_fixed, number, place, output.tap))
    return min(found, key=lambda one: one[0])[1:] if found else None
