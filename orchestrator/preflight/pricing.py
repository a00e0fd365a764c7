"""Prices of configurations on this machine, from what was measured before the search."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from orchestrator.preflight.feasibility import FeasibleModels
from orchestrator.reporting.compute_savings import Images, count_images
from orchestrator.study.price import Pass, PointPrice
from results.run.records import SearchRecord
from search_spaces.context import SpaceContext
from trainables.config.trial_config import TrialConfig
from trainables.data.splits import Split
from trainables.features.listing import stored_keys
from trainables.models.registry import backbone_named
from trainables.models.taps import frozen_parts
from trainables.preprocessing.views import IDENTITY, View, prediction_views, training_views
from trainables.training.cost import Cost
from trainables.training.cost_probe import trial_seconds

_STEP_IN_PASSES: Final = 3  # a training step of all stages, in forward passes: one on, two back
_OF_A_PASS: Final = ("size_px", "contrast", "contrast_test")  # settings of the input that `Pass` names


@dataclass(frozen=True, slots=True)
class MeasuredPrices:
    """Estimates the time of configurations from the measured costs of their nets, without measuring more.

    Attributes:
        costs: Backbone -> seconds per image; one that is not among them costs nothing.
        sizes_px: Backbone -> side of its input where the configuration leaves it open.
        images: Numbers of images of the search.
    """

    costs: Mapping[str, Cost]
    sizes_px: Mapping[str, int]
    images: Images

    def __call__(self, config: TrialConfig) -> PointPrice:
        """Return the price of a configuration."""
        passes = {own: seconds for part in frozen_parts(config) for own, seconds in self._passes(part)}
        is_net = config.classical.name == "none"
        return PointPrice(passes, self._training(config) if is_net else 0.0)

    def _passes(self, part: TrialConfig) -> Iterator[tuple[Pass, float]]:
        name, model, own = part.model.backbone, part.model, part.input
        cost = self.costs.get(name)
        if cost is None or not backbone_named(name).plan(model).is_prefix_fixed:
            return
        usual = self.sizes_px[name]
        seconds = cost.forward_at(own.size_px, usual) * self.images.stored * _images_of(part)
        others = _others(part)
        for contrast, views in _views(part):
            for view in views:
                yield Pass(name, own.size_px or usual, contrast, str(view), others), seconds

    def _training(self, config: TrialConfig) -> float:
        cost = self.costs.get(config.model.backbone)
        if cost is None:
            return 0.0
        training, usual = config.training, self.sizes_px[config.model.backbone]
        scale = _images_of(config) * ((config.input.size_px or usual) / usual) ** 2
        epochs = training.epochs
        if training.first_phase not in ("none", "head"):
            epochs += training.first_phase_epochs
        seconds = trial_seconds(
            _step_seconds(config, cost),
            trained=self.images.trained,
            predicted=self.images.predicted,
            epochs=epochs,
            views=len(prediction_views(training.augmentation, average=training.average_views)),
        )
        return scale * training.repeats * seconds


def prices_of(feasible: FeasibleModels, images: Images) -> MeasuredPrices:
    """Return the prices of a search that is about to start.

    Args:
        feasible: Feasible backbones with their costs.
        images: Numbers of images of the search.
    """
    return MeasuredPrices(feasible.costs, feasible.context.sizes_px, images)


def recorded_prices(record: SearchRecord, split: Split) -> MeasuredPrices:
    """Return the prices of a recorded search, as they were when it was started.

    Args:
        record: Request and facts of the search.
        split: Its folds and sealed test part.
    """
    context = SpaceContext.model_validate(record.space_context)
    return MeasuredPrices(record.costs, context.sizes_px, count_images(split, record.classes))


def lasting(cost: Cost) -> Cost:
    """Return a cost without what is infinite, as a record keeps it: stages that never train."""
    kept = {stage: seconds for stage, seconds in cost.last_stage.items() if math.isfinite(seconds)}
    return replace(cost, last_stage=kept)


def stored_passes(store: Path, fingerprint: str) -> frozenset[Pass]:
    """Return the passes over a data set whose features are stored.

    Args:
        store: Folder of the store.
        fingerprint: Fingerprint of the data set.
    """
    return frozenset(
        Pass(key.backbone, key.size_px, key.contrast, view)
        for key in stored_keys(store)
        if key.fingerprint == fingerprint
        for view in key.views
    )


def _images_of(config: TrialConfig) -> int:
    """Images that a trial sends through a net for each image of the task."""
    return 1 if config.model.pair == "none" else 2


def _views(part: TrialConfig) -> tuple[tuple[float, tuple[View, ...]], ...]:
    """Views of a trial with the contrast in which it sees them."""
    training = part.training
    drawn = training_views(training.augmentation)
    plain = () if training.augment_last is None else (IDENTITY,)
    predicted = prediction_views(training.augmentation, average=training.average_views)
    return (part.input.contrast, (*drawn, *plain)), (part.input.contrast_at_test, predicted)


def _others(part: TrialConfig) -> str:
    """Settings that change what passes the net, and are not as they are by default."""
    inputs = part.input.model_dump(exclude_defaults=True, exclude=set(_OF_A_PASS))
    model = {name: getattr(part.model, name) for name in ("weights", "channels", "pair")}
    usual = {"weights": "imagenet", "channels": "replicate", "pair": "none"}
    changed = {name: value for name, value in model.items() if value != usual[name]}
    return ", ".join(f"{name}={value}" for name, value in sorted((inputs | changed).items()))


def _step_seconds(config: TrialConfig, cost: Cost) -> float:
    """Seconds of a training step of all stages that train, for one image at the backbone's own size."""
    backbone = backbone_named(config.model.backbone)
    plan = backbone.plan(config.model)
    if cost.from_pixels is not None:
        return cost.from_pixels
    if plan.is_prefix_fixed and not plan.trained:
        return 0.0
    kept = backbone.stage_names[backbone.cut_index(config.model.cut) - 1]
    if plan.is_prefix_fixed and len(plan.trained) == 1 and kept in cost.last_stage:
        return cost.last_stage[kept]
    return _STEP_IN_PASSES * cost.forward
