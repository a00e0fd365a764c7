"""Opens the features that a configuration trains on: stored views of its frozen prefix, or pixels online."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from trainables.config import TrialConfig
from trainables.data.transforms import transform_spec
from trainables.data.views import prediction_views, training_views
from trainables.material import Material, Place
from trainables.models.registry import backbone_named
from trainables.models.weights import WeightsFile, build_stages
from trainables.prefix.compute import FrozenForward
from trainables.prefix.features import Features, OnlinePixels, StoredFeatures
from trainables.prefix.store import PrefixKey, PrefixStore, Tap
from trainables.prefix.taps import tap_of


@dataclass(frozen=True, slots=True)
class FeatureUse:
    """How a trial was fed: `stored views` or `online pixels`, from which stage, and what that cost."""

    kind: str
    stage: str | None
    views: int
    computed: int
    read: int


def open_features(config: TrialConfig, material: Material, place: Place) -> tuple[Features, FeatureUse]:
    """Open the features that a configuration trains on, computing what the store lacks."""
    backbone = backbone_named(config.model.backbone)
    shape, max_value = material.patch_set.images.shape[1:], material.patch_set.max_value
    for_training = transform_spec(config, backbone, shape, max_value, is_test=False)
    for_prediction = transform_spec(config, backbone, shape, max_value, is_test=True)
    policy = config.training.augmentation
    views = prediction_views(policy, average=config.training.average_views)
    drawn = training_views(policy)
    tap = tap_of(config, backbone)
    if tap is None:
        online = OnlinePixels(
            material.patch_set,
            material.rows,
            training=for_training,
            prediction=for_prediction,
            policy=policy,
            views=views,
            device=place.device,
        )
        return online, FeatureUse("online pixels", None, len(drawn), 0, 0)
    weights = place.weights[backbone.name]
    store = PrefixStore(place.store)
    opened = []
    for spec, wanted in ((for_training, drawn), (for_prediction, views)):
        key = PrefixKey(
            fingerprint=material.patch_set.fingerprint,
            rows=material.task_rows,
            backbone=backbone.name,
            weights=weights.sha256 if weights else "random",
            transform=spec.as_key(),
        )
        compute = _LazyForward(material, backbone.name, weights, spec, place.device)
        also = place.taps.get(backbone.name, ())
        opened.append(store.views(key, wanted, tap, also=also, compute=compute))
    training, prediction = opened
    features = StoredFeatures(training.arrays, prediction.arrays, material.positions, place.device)
    use = FeatureUse(
        kind="stored views",
        stage=tap.stage,
        views=len(drawn),
        computed=training.computed + prediction.computed,
        read=len(training.arrays) + len(prediction.arrays),
    )
    return features, use


class _LazyForward:
    """Builds the backbone only when the store lacks something."""

    def __init__(
        self, material: Material, backbone: str, weights: WeightsFile | None, spec: Any, device: torch.device
    ) -> None:
        self._arguments = (material, backbone, weights, spec, device)
        self._forward: FrozenForward | None = None

    def __call__(self, view: Any, taps: Sequence[Tap]) -> Any:
        if self._forward is None:
            material, backbone, weights, spec, device = self._arguments
            stages = build_stages(backbone_named(backbone), channels=spec.channels, weights=weights)
            self._forward = FrozenForward(material.patch_set, material.task_rows, stages, spec, device=device)
        return self._forward(view, taps)
