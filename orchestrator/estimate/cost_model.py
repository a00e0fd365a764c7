"""Cost of a configuration on this machine: features to compute, seconds an epoch, memory of its worker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from orchestrator.preflight.feasibility import FeasibleModels
from trainables.common.types import IntArray
from trainables.config.trial_config import TrialConfig
from trainables.data.patches import PatchSet, TaskRows
from trainables.data.split_checks import trained_and_predicted
from trainables.data.splits import TEST, Split
from trainables.features.keys import PrefixKey, kind_of
from trainables.features.store import PrefixStore
from trainables.models.registry import backbone_named
from trainables.models.taps import Tap, feature_shapes, tap_of, taps_to_share
from trainables.models.weights import Inventory, hash_of
from trainables.preprocessing.transforms import TransformSpec, transform_spec
from trainables.preprocessing.views import View, prediction_views, training_views
from trainables.runtime.devices import Device
from trainables.training.cost_probe import EpochCost, measure_epoch, measure_step, trial_seconds

_BYTES: Final = MappingProxyType({"float16": 2, "float32": 4})
_FLOAT_BYTES: Final = 4
_COPIES_OF_WEIGHTS: Final = 5  # weight, gradient, two moments, and the best epoch's
_LARGEST_BANK: Final = 512 << 20  # features above this stay in their files


@dataclass(frozen=True, slots=True)
class FeatureRequirement:
    """Features that a trial reads: one view of all images, at one tap.

    Attributes:
        key: Digest of the prefix key, which names its folder in the store.
        view: Name of the view.
        tap: Tap at which the features leave the backbone.
    """

    key: str
    view: str
    tap: Tap


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """Readable parts of a prefix key.

    Attributes:
        backbone: Name of the backbone.
        contrast: Contrast factor.
        size_px: Side of the input in pixels.
    """

    backbone: str
    contrast: float
    size_px: int


@dataclass(frozen=True, slots=True)
class TrialCost:
    """Estimated cost of one configuration.

    Attributes:
        backbone: Name of the backbone.
        epochs: Largest number of epochs.
        patience: Epochs without improvement before the trial stops; None never stops early.
        is_recipe: The configuration is a recipe: tried first and never pruned.
        needs: Features that the trial reads.
        fills: Taps that one pass stores -> bytes of the features of all images in one view.
        pass_seconds: Seconds of a pass of all images through the backbone, in one view.
        epoch_seconds: Seconds of an epoch of all folds.
        memory_bytes: Bytes of features and weights that a worker holds beyond those of an idle one.
    """

    backbone: str
    epochs: int
    patience: int | None
    is_recipe: bool
    needs: tuple[FeatureRequirement, ...]
    fills: Mapping[Tap, int]
    pass_seconds: float
    epoch_seconds: float
    memory_bytes: int


@dataclass(slots=True)
class CostModel:
    """Estimates the cost of configurations of one search; a measurement that several share is made once.

    Attributes:
        patch_set: The images.
        rows: Rows of the patch set that take part in the task.
        split: Folds and sealed test part.
        inventory: Backbones with their weights.
        feasible: Feasible backbones with their measured costs.
        store: Folder of stored features.
        device: Device of the trials.
        crowding: Slowdown of a worker while all workers run, as a factor.
        features: Number type of stored features; `off` stores none.
        keys: Digest of each prefix key met so far -> its readable parts.
    """

    patch_set: PatchSet
    rows: TaskRows
    split: Split
    inventory: Inventory
    feasible: FeasibleModels
    store: Path
    device: Device
    crowding: float
    features: Literal["float16", "float32", "off"] = "float16"
    keys: dict[str, KeyFacts] = field(default_factory=dict)
    _heads: dict[object, EpochCost] = field(default_factory=dict)

    @property
    def training_folds(self) -> IntArray:
        """Fold of each image outside the test part, shape (images,)."""
        folds = self.split.folds_of(self.rows)
        return folds[folds != TEST]

    @property
    def training_images(self) -> int:
        """Images outside the test part."""
        return len(self.training_folds)

    def cost_of(self, config: TrialConfig, *, is_recipe: bool) -> TrialCost:
        """Estimate the cost of one configuration."""
        backbone = backbone_named(config.model.backbone)
        spec = self._spec(config, is_test=False)
        shapes = feature_shapes(backbone.name, backbone.channels or spec.channels, spec.size_px)
        tap = tap_of(config, backbone)
        default_px = self.feasible.context.sizes_px.get(backbone.name, spec.size_px)
        area = (spec.size_px / default_px) ** 2
        predicted = prediction_views(config.training.augmentation, average=config.training.average_views)
        head = self._head(config, shapes[backbone.end_of(config.model.cut)])
        step = self._step_seconds(config, shapes) * area
        trained, held_out = trained_and_predicted(self.training_folds)
        stages = trial_seconds(step, trained=trained, predicted=held_out, epochs=1, views=len(predicted))
        repeats, images = config.training.repeats, 1 if config.model.pair == "none" else 2
        pass_seconds = images * self._forward_seconds(backbone.name) * area * len(self.rows.rows)
        return TrialCost(
            backbone=backbone.name,
            epochs=config.training.epochs,
            patience=config.training.patience,
            is_recipe=is_recipe,
            needs=self._needs(config, tap, predicted),
            fills=self._fills(tap, shapes, backbone.name),
            pass_seconds=self.crowding * pass_seconds,
            epoch_seconds=self.crowding * repeats * _with_first_phase(config, head.seconds, images * stages),
            memory_bytes=self._bank(config, tap, shapes)
            + head.parameters * self.split.folds * repeats * _FLOAT_BYTES * _COPIES_OF_WEIGHTS,
        )

    def warm(self, points: Sequence[TrialCost]) -> frozenset[FeatureRequirement]:
        """Features of these configurations that the store holds already."""
        if self.features == "off":
            return frozenset()
        folder = PrefixStore(self.store).folder
        possible = {
            FeatureRequirement(need.key, need.view, tap)
            for point in points
            for need in point.needs
            for tap in point.fills
        }
        return frozenset(
            need for need in possible if (folder / need.key / need.view / f"{need.tap}.npy").is_file()
        )

    def _spec(self, config: TrialConfig, *, is_test: bool) -> TransformSpec:
        shape, max_value = self.patch_set.images.shape[1:], self.patch_set.max_value
        return transform_spec(
            config, backbone_named(config.model.backbone), shape, max_value, is_test=is_test
        )

    def _needs(
        self, config: TrialConfig, tap: Tap | None, predicted: tuple[View, ...]
    ) -> tuple[FeatureRequirement, ...]:
        if tap is None:
            return ()
        drawn = training_views(config.training.augmentation)
        wanted = [(self._key(config, is_test=False), view) for view in drawn]
        wanted += [(self._key(config, is_test=True), view) for view in predicted]
        return tuple(dict.fromkeys(FeatureRequirement(key, str(view), tap) for key, view in wanted))

    def _key(self, config: TrialConfig, *, is_test: bool) -> str:
        spec, name = self._spec(config, is_test=is_test), config.model.backbone
        weights = self.inventory.usable[name]
        key = PrefixKey(
            fingerprint=self.patch_set.fingerprint,
            rows=self.rows.rows,
            backbone=name,
            weights=hash_of(weights),
            transform=spec.as_key(),
            kind=kind_of(backbone_named(name), self.features),
        ).digest()
        self.keys[key] = KeyFacts(name, spec.contrast, spec.size_px)
        return key

    def _fills(
        self, tap: Tap | None, shapes: Mapping[str, tuple[int, int, int]], name: str
    ) -> dict[Tap, int]:
        """Taps that one pass stores, with their bytes: the trial's own, and those that workers share."""
        if tap is None:
            return {}
        depths = (0, 1) if self.feasible.context.fine_tunes[name] else (0,)
        shared = taps_to_share(backbone_named(name), dict(shapes), depths=depths)
        return {
            other: len(self.rows.rows)
            * _numbers(other, shapes)
            * _BYTES[kind_of(backbone_named(name), self.features)]
            for other in dict.fromkeys((tap, *shared))
        }

    def _bank(self, config: TrialConfig, tap: Tap | None, shapes: Mapping[str, tuple[int, int, int]]) -> int:
        """Bytes of the features that a worker holds in memory."""
        if tap is None:
            return 0
        views = len(training_views(config.training.augmentation))
        kind = kind_of(backbone_named(config.model.backbone), self.features)
        held = views * self.training_images * _numbers(tap, shapes) * _BYTES[kind]
        return held if held <= _LARGEST_BANK else 0

    def _head(self, config: TrialConfig, shape: tuple[int, int, int]) -> EpochCost:
        """Cost of an epoch of the head, measured once for each kind of head."""
        is_pooled = config.model.head.pooling == "gap"
        predicted = prediction_views(config.training.augmentation, average=config.training.average_views)
        pooled = shape[:1] if is_pooled else shape
        seen = pooled if config.model.pair == "none" else (2, *pooled)
        kind = (
            config.model.head,
            (config.model.pair, config.model.type_input),
            seen,
            config.training.batch_size,
            config.optimizer.name,
            len(predicted),
        )
        if kind not in self._heads:
            self._heads[kind] = measure_epoch(
                config,
                seen,
                folds=self.training_folds,
                prediction_views=len(predicted),
                device=self.device,
            )
        return self._heads[kind]

    def _forward_seconds(self, backbone: str) -> float:
        """Seconds of a forward pass of one image through the backbone; 0 for nets without a frozen part."""
        cost = self.feasible.costs.get(backbone)
        return cost.forward if cost else 0.0

    def _step_seconds(self, config: TrialConfig, shapes: Mapping[str, tuple[int, int, int]]) -> float:
        """Seconds of a training step of the trained stages, for one image at the backbone's own size."""
        backbone, model = backbone_named(config.model.backbone), config.model
        cost = self.feasible.costs.get(backbone.name)
        plan = backbone.plan(model)
        if cost is not None and cost.from_pixels is not None:
            return cost.from_pixels
        if plan.is_prefix_fixed and not plan.trained:
            return 0.0
        kept = backbone.stage_names[backbone.cut_index(model.cut) - 1]
        if cost and plan.is_prefix_fixed and plan.depth == 1 and kept in cost.last_stage:
            return cost.last_stage[kept]
        spec = self._spec(config, is_test=False)
        pixels = (spec.channels, spec.size_px, spec.size_px)
        shape = shapes[plan.frozen[-1]] if plan.is_prefix_fixed else pixels
        default_px = self.feasible.context.sizes_px.get(backbone.name, spec.size_px)
        return measure_step(config, shape, self.device) * (default_px / spec.size_px) ** 2


def _with_first_phase(config: TrialConfig, head: float, stages: float) -> float:
    """Seconds of an epoch, with its share of the first phase.

    Args:
        config: Configuration of the trial.
        head: Seconds that the head takes in an epoch.
        stages: Seconds that the trained stages take in an epoch.
    """
    training = config.training
    if training.first_phase == "none":
        return head + stages
    first = head if training.first_phase == "head" else head + stages
    return head + stages + first * training.first_phase_epochs / training.epochs


def _numbers(tap: Tap, shapes: Mapping[str, tuple[int, int, int]]) -> int:
    return shapes[tap.stage][0] if tap.is_pooled else prod(shapes[tap.stage])
