"""Opening of the features that a configuration trains on: views of its frozen prefix, or pixels online."""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.common.errors import ConfigError
from trainables.common.types import IntArray
from trainables.config.trial_config import TrialConfig
from trainables.data.patches import PatchSet
from trainables.data.training_data import TrainingData
from trainables.features.batches import Features, OnlinePixels, PairedFeatures, StoredFeatures
from trainables.features.budget import GB
from trainables.features.extraction import Compute, fill
from trainables.features.feature_use import FeatureUse
from trainables.features.frozen_forward import FrozenForward
from trainables.features.keys import PrefixKey, kind_of
from trainables.features.store import PrefixStore, StoredViews
from trainables.features.stored_files import check_unchanged
from trainables.models.registry import backbone_named
from trainables.models.stages import Backbone
from trainables.models.taps import Tap, feature_shapes, tap_of
from trainables.models.weights import WeightsFile, build_stages, hash_of
from trainables.preprocessing.transforms import TransformSpec, transform_spec
from trainables.preprocessing.views import IDENTITY, View, prediction_views, training_views
from trainables.runtime.trial_runtime import TrialRuntime


def open_features(
    config: TrialConfig, training_data: TrainingData, runtime: TrialRuntime
) -> tuple[Features, FeatureUse]:
    """Open the features that a configuration trains on, and compute those that the store lacks.

    Raises:
        PrefixError: If the frozen stages give features that are not finite.
        ConfigError: If the configuration takes pairs and an image has no baseline.
    """
    began = time.perf_counter()
    features, use = _open(config, training_data, runtime)
    return features, dataclasses.replace(use, opening_seconds=time.perf_counter() - began)


def open_plain_features(
    config: TrialConfig, training_data: TrainingData, runtime: TrialRuntime
) -> NDArray[Any]:
    """Open the features of images as they are at the end of a frozen prefix, and compute them if need be.

    Args:
        config: Configuration with a frozen prefix.
        training_data: Images.
        runtime: Store and pretrained weights.

    Returns:
        Features of each of `training_data.task_rows`, shape (rows, D) or (rows, C, H, W).

    Raises:
        ConfigError: If nothing of the net is frozen.
        PrefixError: If the frozen stages give features that are not finite.
    """
    backbone = backbone_named(config.model.backbone)
    tap, patch_set = tap_of(config, backbone), training_data.patch_set
    if tap is None:
        raise ConfigError("a net whose stages all train has no frozen features")
    shape, max_value = patch_set.images.shape[1:], patch_set.max_value
    spec = transform_spec(config, backbone, shape, max_value, is_test=True)
    prefix = _Prefix(patch_set, training_data.task_rows, backbone, tap)
    return _stored(prefix, spec, (IDENTITY,), runtime).arrays[0]


def _open(
    config: TrialConfig, training_data: TrainingData, runtime: TrialRuntime
) -> tuple[Features, FeatureUse]:
    backbone = backbone_named(config.model.backbone)
    wanted = _wanted(config, backbone, training_data.patch_set)
    rows = (
        [training_data.task_rows]
        if config.model.pair == "none"
        else [training_data.baselines(), training_data.task_rows]
    )
    tap = tap_of(config, backbone)
    if tap is None:
        online = OnlinePixels(
            training_data.patch_set,
            [own[training_data.positions] for own in rows],
            training=wanted.training,
            prediction=wanted.prediction,
            policy=config.training.augmentation,
            views=wanted.predicted,
            device=runtime.device,
        )
        return online, FeatureUse("online pixels", None, len(wanted.drawn), 0, 0)
    opened = [_opened(_Prefix(training_data.patch_set, own, backbone, tap), wanted, runtime) for own in rows]
    features = [_features(one, wanted, training_data.positions, runtime.device) for one in opened]
    found = [views for one in opened for views in one.values()]
    check_unchanged([array for views in found for array in views.arrays])  # they may have been read whole
    use = _use(tap, len(wanted.drawn), len(rows) * (len(wanted.drawn) + len(wanted.predicted)), found)
    return (PairedFeatures(*features) if len(features) == 2 else features[0]), use


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Pixel transforms and views that a trial needs.

    Attributes:
        training: Transform from raw pixels to the first stage, in training.
        prediction: Transform from raw pixels to the first stage, in prediction.
        drawn: Views that training draws from.
        predicted: Views that predictions are averaged over.
        plain: The view without augmentation, where training takes that too; else empty.
    """

    training: TransformSpec
    prediction: TransformSpec
    drawn: tuple[View, ...]
    predicted: tuple[View, ...]
    plain: tuple[View, ...]

    @property
    def views(self) -> dict[TransformSpec, tuple[View, ...]]:
        """Views of each transform; training and prediction may share one."""
        found = {self.training: tuple(dict.fromkeys((*self.drawn, *self.plain)))}
        found[self.prediction] = tuple(dict.fromkeys((*found.get(self.prediction, ()), *self.predicted)))
        return found


def _wanted(config: TrialConfig, backbone: Backbone, patch_set: PatchSet) -> _Wanted:
    shape, max_value, training = patch_set.images.shape[1:], patch_set.max_value, config.training
    return _Wanted(
        training=transform_spec(config, backbone, shape, max_value, is_test=False),
        prediction=transform_spec(config, backbone, shape, max_value, is_test=True),
        drawn=training_views(training.augmentation),
        predicted=prediction_views(training.augmentation, average=training.average_views),
        plain=() if training.augment_last is None else (IDENTITY,),
    )


@dataclass(frozen=True, slots=True)
class _Prefix:
    """A frozen prefix on some images: the images, the backbone, and the tap where the prefix ends."""

    patch_set: PatchSet
    rows: IntArray
    backbone: Backbone
    tap: Tap


def _features(
    opened: Mapping[TransformSpec, StoredViews], wanted: _Wanted, positions: IntArray, device: torch.device
) -> StoredFeatures:
    """Batches from the opened views."""
    arrays = {
        (spec, view): array
        for spec, views in wanted.views.items()
        for view, array in zip(views, opened[spec].arrays, strict=True)
    }
    return StoredFeatures(
        [arrays[wanted.training, view] for view in wanted.drawn],
        [arrays[wanted.prediction, view] for view in wanted.predicted],
        positions,
        device,
        plain=next((arrays[wanted.training, view] for view in wanted.plain), None),
    )


def _opened(prefix: _Prefix, wanted: _Wanted, runtime: TrialRuntime) -> dict[TransformSpec, StoredViews]:
    return {spec: _stored(prefix, spec, views, runtime) for spec, views in wanted.views.items()}


def _stored(
    prefix: _Prefix, spec: TransformSpec, views: Sequence[View], runtime: TrialRuntime
) -> StoredViews:
    """Open some views of a prefix from the store, or compute them where nothing is stored."""
    weights = runtime.weights[prefix.backbone.name]
    compute = _LazyForward(prefix, spec, weights, runtime)
    if runtime.features == "off":
        return _computed(prefix, views, compute)
    store = PrefixStore(
        runtime.store,
        budget_bytes=None if runtime.store_gb is None else round(runtime.store_gb * GB),
        shared=runtime.shared_store,
        lender=runtime.lender,
    )
    key = PrefixKey(
        fingerprint=prefix.patch_set.fingerprint,
        rows=prefix.rows,
        backbone=prefix.backbone.name,
        weights=hash_of(weights),
        transform=spec.as_key(),
        kind=kind_of(prefix.backbone, runtime.features),
    )
    also = runtime.taps.get(prefix.backbone.name, ())
    shape = feature_shapes(prefix.backbone.name, spec.channels, spec.size_px)[prefix.tap.stage]
    return store.views(key, views, prefix.tap, also=also, compute=compute, shape=shape)


def _computed(prefix: _Prefix, views: Sequence[View], compute: Compute) -> StoredViews:
    """Compute some views in memory, in single precision, and store nothing."""
    images = len(prefix.rows)
    filled = [fill(compute, view, (prefix.tap,), images=images, kind="float32") for view in views]
    seconds = sum(one.seconds for one in filled)
    return StoredViews(
        arrays=tuple(one.array for one in filled),
        computed=len(filled),
        rebuilt=0,
        fetched=0,
        seconds=seconds,
        seconds_per_image=seconds / (len(filled) * images),
        notes=(),
    )


def _use(tap: Tap, drawn: int, read: int, opened: Sequence[StoredViews]) -> FeatureUse:
    views = sum(len(found.arrays) for found in opened)
    cost = sum(found.seconds_per_image * len(found.arrays) for found in opened)
    return FeatureUse(
        kind="stored views",
        stage=tap.stage,
        views=drawn,
        computed=sum(found.computed for found in opened),
        read=read,
        rebuilt=sum(found.rebuilt for found in opened),
        fetched=sum(found.fetched for found in opened),
        computed_seconds=sum(found.seconds for found in opened),
        seconds_per_image=cost / views,
        waited_seconds=sum(found.waited_seconds for found in opened),
        note="; ".join(dict.fromkeys(note for found in opened for note in found.notes)),
    )


class _LazyForward:
    """Builds the backbone only when the store lacks something."""

    def __init__(
        self, prefix: _Prefix, spec: TransformSpec, weights: WeightsFile | None, runtime: TrialRuntime
    ) -> None:
        self._prefix, self._spec, self._weights, self._place = prefix, spec, weights, runtime
        self._forward: FrozenForward | None = None

    def __call__(self, view: View, taps: Sequence[Tap]) -> Iterator[tuple[int, dict[Tap, Tensor]]]:
        limit, what = self._place.fill_limit, f"view {view} of {self._prefix.backbone.name}"
        if limit is None:
            return self._built()(view, taps)
        limit.check_start(what)
        # A trial can be scored on plain images alone, so no other view is worth more time than there is.
        own = limit if view == IDENTITY else limit.strict()
        return own.batches(self._built()(view, taps), images=len(self._prefix.rows), what=what)

    def _built(self) -> FrozenForward:
        if self._forward is None:
            prefix, spec = self._prefix, self._spec
            cache = None if self._place.features == "off" else self._place.store / "onnx"
            built = build_stages(prefix.backbone, channels=spec.channels, weights=self._weights)
            wanted = {*prefix.backbone.stage_names, *prefix.backbone.searched_readouts, prefix.tap.stage}
            stages = prefix.backbone.with_readouts(built, wanted)
            self._forward = FrozenForward(
                prefix.patch_set, prefix.rows, stages, spec, device=self._place.device, cache=cache
            )
        return self._forward
