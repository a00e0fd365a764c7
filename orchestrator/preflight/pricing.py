"""Prices of configurations on this machine, from what was measured before the search."""

import itertools
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
from trainables.common.errors import ConfigError, UnknownNameError
from trainables.common.types import IntArray
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.patches import PatchSet, open_patch_set, select_rows
from trainables.data.split_record import Split
from trainables.features.keys import PrefixKey, kind_of
from trainables.features.listing import StoredKey, stored_keys
from trainables.models.columns import columns_of
from trainables.models.registry import backbone_named
from trainables.models.taps import Tap, frozen_parts
from trainables.models.weights import hash_of
from trainables.preprocessing.transforms import transform_spec
from trainables.preprocessing.views import IDENTITY, View, prediction_views, training_views
from trainables.training.cost import Cost
from trainables.training.cost_probe import trial_seconds

_HEAD_STEP: Final = 1e-3  # seconds of a training step of a head, besides what its weights take:
_A_WEIGHT: Final = 2e-10  # seconds on a core, a weight, and an image of the batch,
_OF_THE_OPTIMIZER: Final = 20  # whose update of all weights takes as long as so many images;
_ON_GPU: Final = 1 / 100  # of it
_STEP_IN_PASSES: Final = 3  # a training step of all stages, in forward passes: one on, two back
_OF_A_PASS: Final = ("size_px", "contrast", "contrast_test")  # settings of the input that `Pass` names


@dataclass(frozen=True, slots=True)
class MeasuredPrices:
    """Estimates the time of configurations from the measured costs of their nets, without measuring more.

    Attributes:
        costs: Backbone -> seconds per image; one that is not among them costs nothing.
        sizes_px: Backbone -> side of its input where the configuration leaves it open.
        images: Numbers of images of the search.
        channels: Channels of the images.
        has_gpu: Trials run on a GPU.
    """

    costs: Mapping[str, Cost]
    sizes_px: Mapping[str, int]
    images: Images
    channels: int = 1
    has_gpu: bool = False

    def __call__(self, config: TrialConfig) -> PointPrice:
        """Return the price of a configuration."""
        needed = passes_of(config, self.sizes_px)
        passes = {own: self._pass_seconds(own, config) for own in needed if own.backbone in self.costs}
        is_net = config.classical.name == "none"
        columns = columns_of(config, self.sizes_px, self.channels)
        training = self._training(config) if is_net else 0.0
        trained = 0 if training or not is_net else self.images.trained
        head = head_seconds(config, columns, trained=trained, has_gpu=self.has_gpu)
        return PointPrice(passes, training, columns, head)

    def _pass_seconds(self, own: Pass, config: TrialConfig) -> float:
        forward = self.costs[own.backbone].forward_at(own.size_px, self.sizes_px[own.backbone])
        return forward * self.images.stored * _images_of(config)

    def _training(self, config: TrialConfig) -> float:
        cost = self.costs.get(config.model.backbone)
        if cost is None:
            return 0.0
        step = measured_step(config, cost)
        return self.training_seconds(config, _STEP_IN_PASSES * cost.forward if step is None else step)

    def training_seconds(self, config: TrialConfig, step: float) -> float:
        """Return the seconds of training the stages of a configuration, if all epochs run.

        Args:
            config: Configuration.
            step: Seconds of a training step of all stages that train, for one image at the side that the
                backbone has where the configuration leaves it open.
        """
        training, side = config.training, config.input.size_px
        usual = self.sizes_px.get(config.model.backbone)
        area = 1.0 if side is None or usual is None else (side / usual) ** 2
        epochs = training.epochs
        if training.first_phase not in ("none", "head"):
            epochs += training.first_phase_epochs
        seconds = trial_seconds(
            step,
            trained=self.images.trained,
            predicted=self.images.predicted,
            epochs=epochs,
            views=len(prediction_views(training.augmentation, average=training.average_views)),
        )
        return _images_of(config) * area * training.repeats * seconds


def measured_step(config: TrialConfig, cost: Cost | None) -> float | None:
    """Return the seconds of a training step of all stages that train, for one image at the usual side.

    Args:
        config: Configuration.
        cost: What its backbone costs; None where that was not measured.

    Returns:
        Seconds, 0 if no stage trains; None if such a step was not measured.
    """
    backbone = backbone_named(config.model.backbone)
    plan = backbone.plan(config.model)
    if cost is not None and cost.from_pixels is not None:
        return cost.from_pixels
    if plan.is_prefix_fixed and not plan.trained:
        return 0.0
    if cost is None or not plan.is_prefix_fixed or plan.depth != 1:
        return None
    return cost.last_stage.get(backbone.stage_names[backbone.cut_index(config.model.cut) - 1])


def passes_of(config: TrialConfig, sizes_px: Mapping[str, int]) -> tuple[Pass, ...]:
    """Return the passes through frozen nets that a configuration needs, each once.

    Args:
        config: Configuration.
        sizes_px: Backbone -> side of its input where the configuration leaves it open; a backbone that is not
            among them passes nothing.
    """
    return tuple(dict.fromkeys(own for part in frozen_parts(config) for own in _passes(part, sizes_px)))


def head_seconds(config: TrialConfig, columns: int, *, trained: int, has_gpu: bool) -> float:
    """Guess the seconds that the training of a head takes, on features that are stored.

    Args:
        config: Configuration of the head.
        columns: Numbers of each image that it reads; without any, there is no such head, and it takes 0.
        trained: Images that all folds of an epoch train on, counted once a fold.
        has_gpu: It trains on a GPU, else on one core.
    """
    training, own = config.training, config.model.head
    pairs = itertools.pairwise((columns, *own.hidden, 2))
    weights = sum(one * other for one, other in pairs) if columns else 0
    steps = training.repeats * training.epochs * math.ceil(trained / training.batch_size)
    seconds = _A_WEIGHT * weights * (_OF_THE_OPTIMIZER + training.batch_size)
    return steps * (_HEAD_STEP + seconds * (_ON_GPU if has_gpu else 1.0)) if weights else 0.0


def prices_of(feasible: FeasibleModels, images: Images) -> MeasuredPrices:
    """Return the prices of a search that is about to start.

    Args:
        feasible: Feasible backbones with their costs.
        images: Numbers of images of the search.
    """
    context = feasible.context
    return MeasuredPrices(
        feasible.costs, context.sizes_px, images, context.image_channels, has_gpu=context.has_gpu
    )


def recorded_prices(record: SearchRecord, split: Split) -> MeasuredPrices:
    """Return the prices of a recorded search, as they were when it was started.

    Args:
        record: Request and facts of the search.
        split: Its folds and sealed test part.
    """
    context = SpaceContext.model_validate(record.space_context)
    images = count_images(split, record.classes)
    return MeasuredPrices(
        record.costs, context.sizes_px, images, context.image_channels, has_gpu=context.has_gpu
    )


def lasting(cost: Cost) -> Cost:
    """Return a cost without what is infinite, as a record keeps it: stages that never train."""
    kept = {stage: seconds for stage, seconds in cost.last_stage.items() if math.isfinite(seconds)}
    return replace(cost, last_stage=kept)


def stored_passes(record: SearchRecord) -> frozenset[Pass]:
    """Return the passes of a search whose features are stored.

    Those are known whose input has the settings that the search holds fixed, with any size and contrast. A
    pass whose input a point changes otherwise counts as one that is not made.

    Args:
        record: Request and facts of the search.

    Raises:
        DataError: If features of its images are stored, and the images are not.
    """
    stored = [
        key
        for key in stored_keys(Path(record.store))
        if key.fingerprint == record.fingerprint and _holds_readouts(key)
    ]
    if not stored:
        return frozenset()
    patch_set = open_patch_set(*record.data_location)
    rows = select_rows(patch_set, record.task_definition).rows
    return frozenset(
        Pass(key.backbone, key.size_px, key.contrast, view, _others(config))
        for key in stored
        if (config := _plain_config(key, record)) is not None
        and _digest(config, record, patch_set, rows) == key.key
        for view in key.views
    )


def _plain_config(key: StoredKey, record: SearchRecord) -> TrialConfig | None:
    """A configuration of the search whose passes are like stored ones; None where there is none."""
    usual = SpaceContext.model_validate(record.space_context).sizes_px.get(key.backbone)
    own = {"input.contrast": key.contrast, "input.size_px": None if key.size_px == usual else key.size_px}
    fixed = record.request.fixed_params
    held = {name: value for name, value in fixed.items() if name.startswith("input.")}
    try:
        return decode({"model.backbone": key.backbone} | held | own)
    except ConfigError:
        return None


def _digest(config: TrialConfig, record: SearchRecord, patch_set: PatchSet, rows: IntArray) -> str:
    """Name of the key of a configuration's passes; empty where its images cannot pass the net."""
    name = config.model.backbone
    net, shape = backbone_named(name), patch_set.images.shape[1:]
    try:
        spec = transform_spec(config, net, shape, patch_set.max_value, is_test=False)
    except ConfigError:
        return ""
    return PrefixKey(
        fingerprint=record.fingerprint,
        rows=rows,
        backbone=name,
        weights=record.weights.get(name, hash_of(None)),
        transform=spec.as_key(),
        kind=kind_of(net, record.request.features),
    ).digest()


def _holds_readouts(key: StoredKey) -> bool:
    """True if a store holds all that a pass leaves; one of an earlier version left no readouts."""
    try:
        readouts = backbone_named(key.backbone).searched_readouts
    except UnknownNameError:  # of a program that registered it
        return False
    return {str(Tap(own, is_pooled=True)) for own in readouts} <= set(key.taps)


def _images_of(config: TrialConfig) -> int:
    """Images that a trial sends through a net for each image of the task."""
    return 1 if config.model.pair == "none" else 2


def _passes(part: TrialConfig, sizes_px: Mapping[str, int]) -> Iterator[Pass]:
    name, own = part.model.backbone, part.input
    if name not in sizes_px or not backbone_named(name).plan(part.model).is_prefix_fixed:
        return
    others = _others(part)
    for contrast, views in _views(part):
        for view in views:
            yield Pass(name, own.size_px or sizes_px[name], contrast, str(view), others)


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
