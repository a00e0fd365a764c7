"""Cost of a configuration on this machine: features to compute, seconds an epoch, memory of its worker."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from orchestrator.preflight.feasibility import FeasibleModels
from orchestrator.preflight.pricing import MeasuredPrices, measured_step, passes_of
from orchestrator.study.price import Pass, PointPrice
from trainables.common.types import IntArray
from trainables.config.trial_config import TrialConfig
from trainables.data.patches import PatchSet, TaskRows
from trainables.data.split_record import TEST, Split
from trainables.features.keys import PrefixKey, kind_of
from trainables.features.store import PrefixStore
from trainables.models.registry import backbone_named
from trainables.models.stages import Backbone
from trainables.models.taps import Shape, Tap, feature_shapes, frozen_parts, tap_of, taps_to_share
from trainables.models.weights import Inventory, hash_of
from trainables.preprocessing.transforms import TransformSpec, transform_spec
from trainables.preprocessing.views import prediction_views
from trainables.runtime.devices import Device
from trainables.training.cost_probe import EpochCost, measure_epoch, measure_step
from trainables.validation.fit_cost import measure_fits

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
class PassCost:
    """A pass of all images through the frozen stages of a backbone, in one view.

    Attributes:
        backbone: Name of the backbone.
        key: Digest of the prefix key, which names its folder in the store.
        view: Name of the view.
        taps: Taps at which the trial reads its features.
        fills: Taps that the pass stores -> bytes of the features of all images.
        seconds: Seconds that it takes.
    """

    backbone: str
    key: str
    view: str
    taps: tuple[Tap, ...]
    fills: Mapping[Tap, int]
    seconds: float

    @property
    def needs(self) -> frozenset[FeatureRequirement]:
        """Features that the trial reads."""
        return frozenset(FeatureRequirement(self.key, self.view, tap) for tap in self.taps)

    @property
    def stores(self) -> dict[FeatureRequirement, int]:
        """Features that the store holds after it -> their bytes."""
        return {FeatureRequirement(self.key, self.view, tap): size for tap, size in self.fills.items()}


@dataclass(frozen=True, slots=True)
class TrialCost:
    """Estimated cost of one configuration.

    Attributes:
        backbone: Name of the backbone; of a closed-form head on several, that of its first tap.
        epochs: Largest number of epochs.
        patience: Epochs without improvement before the trial stops; None never stops early.
        is_recipe: The configuration is a recipe: tried first and never pruned.
        passes: Passes through frozen stages whose features the trial reads, each once.
        epoch_seconds: Seconds of an epoch of all folds.
        memory_bytes: Bytes of features and weights that a worker holds beyond those of an idle one.
    """

    backbone: str
    epochs: int
    patience: int | None
    is_recipe: bool
    passes: tuple[PassCost, ...]
    epoch_seconds: float
    memory_bytes: int

    @property
    def needs(self) -> frozenset[FeatureRequirement]:
        """Features that the trial reads."""
        return frozenset(need for own in self.passes for need in own.needs)

    @property
    def backbones(self) -> tuple[str, ...]:
        """Names of all backbones that the trial uses, each once, its own first."""
        return tuple(dict.fromkeys((self.backbone, *(own.backbone for own in self.passes))))


@dataclass(slots=True)
class CostModel:
    """Estimates the cost of configurations of one search; a measurement that several share is made once.

    Attributes:
        patch_set: The images.
        rows: Rows of the patch set that take part in the task.
        split: Folds and sealed test part.
        inventory: Backbones with their weights.
        feasible: Feasible backbones with their measured costs.
        prices: Seconds of passes and of trained stages, as the search estimates them.
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
    prices: MeasuredPrices
    store: Path
    device: Device
    crowding: float
    features: Literal["float16", "float32", "off"] = "float16"
    keys: dict[str, KeyFacts] = field(default_factory=dict)
    _heads: dict[object, EpochCost] = field(default_factory=dict)
    _fitted: dict[object, float] = field(default_factory=dict)
    _digests: dict[object, str] = field(default_factory=dict)

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
        price, is_net = self.prices(config), config.classical.name == "none"
        passes = self._passes(config, price)
        epoch_seconds, memory_bytes = self._training(config) if is_net else self._fits(config, price.columns)
        return TrialCost(
            backbone=config.model.backbone,
            epochs=config.training.epochs if is_net else 1,
            patience=config.training.patience,
            is_recipe=is_recipe,
            passes=passes,
            epoch_seconds=self.crowding * epoch_seconds,
            memory_bytes=self._banks(config) + memory_bytes,
        )

    def warm(self, points: Sequence[TrialCost]) -> frozenset[FeatureRequirement]:
        """Features of these configurations that the store holds already."""
        if self.features == "off":
            return frozenset()
        folder = PrefixStore(self.store).folder
        possible = {need for point in points for own in point.passes for need in own.stores}
        return frozenset(
            need for need in possible if (folder / need.key / need.view / f"{need.tap}.npy").is_file()
        )

    def _spec(self, config: TrialConfig, *, is_test: bool) -> TransformSpec:
        shape, max_value = self.patch_set.images.shape[1:], self.patch_set.max_value
        return transform_spec(
            config, backbone_named(config.model.backbone), shape, max_value, is_test=is_test
        )

    def _passes(self, config: TrialConfig, price: PointPrice) -> tuple[PassCost, ...]:
        """Passes of a configuration; taps of one backbone share them."""
        wanted: defaultdict[Pass, list[TrialConfig]] = defaultdict(list)
        for part in frozen_parts(config):
            for own in passes_of(part, self.prices.sizes_px):
                wanted[own].append(part)
        return tuple(
            self._pass(own, parts, self.crowding * price.passes.get(own, 0.0))
            for own, parts in wanted.items()
        )

    def _pass(self, own: Pass, parts: Sequence[TrialConfig], seconds: float) -> PassCost:
        """A pass that some frozen inputs of a trial share."""
        net = backbone_named(own.backbone)
        taps = tuple(dict.fromkeys(tap for part in parts if (tap := tap_of(part, net)) is not None))
        spec = self._spec(parts[0], is_test=own.contrast != parts[0].input.contrast)
        return PassCost(
            own.backbone, self._key(own.backbone, spec), own.view, taps, self._fills(net, taps, spec), seconds
        )

    def _key(self, name: str, spec: TransformSpec) -> str:
        if (name, spec) not in self._digests:
            key = PrefixKey(
                fingerprint=self.patch_set.fingerprint,
                rows=self.rows.rows,
                backbone=name,
                weights=hash_of(self.inventory.usable[name]),
                transform=spec.as_key(),
                kind=kind_of(backbone_named(name), self.features),
            ).digest()
            self.keys[key] = KeyFacts(name, spec.contrast, spec.size_px)
            self._digests[name, spec] = key
        return self._digests[name, spec]

    def _fills(self, net: Backbone, taps: Sequence[Tap], spec: TransformSpec) -> dict[Tap, int]:
        """Taps that one pass stores, with their bytes: the trial's own, and those that workers share."""
        shapes = _shapes(net, spec)
        depths = (0, 1) if self.feasible.context.fine_tunes[net.name] else (0,)
        shared = taps_to_share(net, dict(shapes), depths=depths)
        size = len(self.rows.rows) * _BYTES[kind_of(net, self.features)]
        return {tap: size * _numbers(tap, shapes) for tap in dict.fromkeys((*taps, *shared))}

    def _banks(self, config: TrialConfig) -> int:
        """Bytes of the features that a worker holds in memory: those of each frozen input of the trial."""
        found = [self._bank(part) for part in frozen_parts(config)]
        return sum(held for held in found if held <= _LARGEST_BANK)

    def _bank(self, part: TrialConfig) -> int:
        net = backbone_named(part.model.backbone)
        tap = tap_of(part, net)
        if tap is None:
            return 0
        views = len(passes_of(part, self.prices.sizes_px))
        numbers = _numbers(tap, _shapes(net, self._spec(part, is_test=False)))
        return views * self.training_images * numbers * _BYTES[kind_of(net, self.features)]

    def _fits(self, config: TrialConfig, columns: int) -> tuple[float, int]:
        """Seconds of the closed-form heads of all folds, and bytes of the columns that they read.

        One of each kind is timed: on components or not, and on about as many columns.
        """
        head = config.classical
        kind = head.name, bool(head.pca), columns.bit_length()
        if kind not in self._fitted:
            self._fitted[kind] = measure_fits(config, columns, folds=self.training_folds)
        return self._fitted[kind], self.training_images * columns * _FLOAT_BYTES

    def _training(self, config: TrialConfig) -> tuple[float, int]:
        """Seconds of an epoch of a net, its share of the first phase included, and bytes of its weights."""
        net, training = backbone_named(config.model.backbone), config.training
        shapes = _shapes(net, self._spec(config, is_test=False))
        head = self._head(config, shapes[net.end_of(config.model.cut)])
        stages = self.prices.training_seconds(config, self._step_seconds(config, shapes))
        first = 0 if training.first_phase == "none" else training.first_phase_epochs
        heads = training.repeats * head.seconds * (training.epochs + first)
        weights = head.parameters * self.split.folds * training.repeats
        return (heads + stages) / training.epochs, weights * _FLOAT_BYTES * _COPIES_OF_WEIGHTS

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

    def _step_seconds(self, config: TrialConfig, shapes: Mapping[str, Shape]) -> float:
        """Seconds of a training step of the trained stages, for one image at the backbone's own size."""
        net = backbone_named(config.model.backbone)
        known = measured_step(config, self.prices.costs.get(net.name))
        if known is not None:
            return known
        spec, plan = self._spec(config, is_test=False), net.plan(config.model)
        pixels = (spec.channels, spec.size_px, spec.size_px)
        shape = shapes[plan.frozen[-1]] if plan.is_prefix_fixed else pixels
        usual_px = self.prices.sizes_px.get(net.name, spec.size_px)
        return measure_step(config, shape, self.device) * (usual_px / spec.size_px) ** 2


def _shapes(net: Backbone, spec: TransformSpec) -> dict[str, Shape]:
    return feature_shapes(net.name, net.channels or spec.channels, spec.size_px)


def _numbers(tap: Tap, shapes: Mapping[str, Shape]) -> int:
    return shapes[tap.stage][0] if tap.is_pooled else prod(shapes[tap.stage])
