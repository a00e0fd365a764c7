"""Opens the features that a configuration trains on: views of its frozen prefix, or pixels online."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from trainables.config import TrialConfig
from trainables.data.transforms import TransformSpec, transform_spec
from trainables.data.views import View, prediction_views, training_views
from trainables.material import Material, Place
from trainables.models.registry import backbone_named
from trainables.models.stages import Backbone
from trainables.models.weights import WeightsFile, build_stages, hash_of
from trainables.prefix.budget import GB
from trainables.prefix.compute import FrozenForward
from trainables.prefix.features import Features, OnlinePixels, StoredFeatures
from trainables.prefix.files import ensure_unchanged
from trainables.prefix.filling import Compute, fill
from trainables.prefix.keys import PrefixKey, Tap
from trainables.prefix.store import PrefixStore, StoredViews
from trainables.prefix.taps import tap_of


@dataclass(frozen=True, slots=True)
class FeatureUse:
    """How a trial was fed, and what that cost.

    Attributes:
        kind: `stored views` (of a frozen prefix, in the store or in memory) or `online pixels`.
        stage: Last frozen stage, or None when there is none.
        views: Number of distinct views of each image that training could draw.
        computed: View files computed by this trial.
        read: View files read.
        rebuilt: View files that were damaged and were computed again; part of `computed`.
        fetched: View files copied from the shared store.
        computed_seconds: What computing took in this trial.
        seconds_per_image: What the frozen stages cost for one image in one view, known of stored features
            too; 0 for pixels.
        note: Why features were not stored; empty where nothing kept them from it.
    """

    kind: str
    stage: str | None
    views: int
    computed: int
    read: int
    rebuilt: int = 0
    fetched: int = 0
    computed_seconds: float = 0.0
    seconds_per_image: float = 0.0
    note: str = ""


def open_features(config: TrialConfig, material: Material, place: Place) -> tuple[Features, FeatureUse]:
    """Open the features that a configuration trains on, computing what the store lacks.

    Raises:
        PrefixError: If the frozen stages give features that are not finite.
    """
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
    wanted: dict[TransformSpec, tuple[View, ...]] = {for_training: drawn}
    wanted[for_prediction] = tuple(dict.fromkeys((*wanted.get(for_prediction, ()), *views)))
    opened = {
        spec: _opened(_Prefix(material, backbone, tap, spec), looks, place) for spec, looks in wanted.items()
    }
    of_view = {spec: dict(zip(wanted[spec], found.arrays, strict=True)) for spec, found in opened.items()}
    training = [of_view[for_training][view] for view in drawn]
    prediction = [of_view[for_prediction][view] for view in views]
    features = StoredFeatures(training, prediction, material.positions, place.device)
    ensure_unchanged([*training, *prediction])  # they may have been read whole just now
    read = len(training) + len(prediction)
    return features, _use(tap, len(drawn), read, list(opened.values()))


@dataclass(frozen=True, slots=True)
class _Prefix:
    """Frozen stages on some data: which, up to where, and what enters them."""

    material: Material
    backbone: Backbone
    tap: Tap
    transform: TransformSpec


def _opened(prefix: _Prefix, views: Sequence[View], place: Place) -> StoredViews:
    """Open some views of a prefix from the store, or compute them where nothing is stored."""
    weights = place.weights[prefix.backbone.name]
    compute = _LazyForward(prefix, weights, place)
    if place.features == "off":
        return _computed(prefix, views, compute)
    store = PrefixStore(
        place.store,
        budget_bytes=None if place.store_gb is None else round(place.store_gb * GB),
        shared=place.shared_store,
    )
    key = PrefixKey(
        fingerprint=prefix.material.patch_set.fingerprint,
        rows=prefix.material.task_rows,
        backbone=prefix.backbone.name,
        weights=hash_of(weights),
        transform=prefix.transform.as_key(),
        kind=place.features,
    )
    also = place.taps.get(prefix.backbone.name, ())
    return store.views(key, views, prefix.tap, also=also, compute=compute)


def _computed(prefix: _Prefix, views: Sequence[View], compute: Compute) -> StoredViews:
    """Compute some views in memory, in single precision, and keep nothing."""
    images = len(prefix.material.task_rows)
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
        note="; ".join(dict.fromkeys(note for found in opened for note in found.notes)),
    )


class _LazyForward:
    """Builds the backbone only when the store lacks something."""

    def __init__(self, prefix: _Prefix, weights: WeightsFile | None, place: Place) -> None:
        self._prefix, self._weights, self._place = prefix, weights, place
        self._forward: FrozenForward | None = None

    def __call__(self, view: View, taps: Sequence[Tap]) -> Iterator[tuple[int, dict[Tap, Tensor]]]:
        if self._forward is None:
            material, spec = self._prefix.material, self._prefix.transform
            cache = None if self._place.features == "off" else self._place.store / "onnx"
            stages = build_stages(self._prefix.backbone, channels=spec.channels, weights=self._weights)
            self._forward = FrozenForward(
                material.patch_set, material.task_rows, stages, spec, device=self._place.device, cache=cache
            )
        return self._forward(view, taps)
