"""Cross-validation of one configuration: the folds train side by side, epoch by epoch.

Every epoch reports the mean over folds, so that pruning compares like with like; the epoch that is kept is
chosen once, from the mean curve, not per fold.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.config import TrialConfig
from trainables.data.patches import PatchSet, select_rows
from trainables.data.splits import TEST, Split
from trainables.data.transforms import transform_spec
from trainables.data.views import prediction_views, training_views
from trainables.models.heads import build_head
from trainables.models.registry import backbone_named
from trainables.models.stages import ChannelAdapter, TrainedPart
from trainables.models.weights import WeightsFile, build_stages
from trainables.prefix.compute import FrozenForward
from trainables.prefix.features import Features, OnlinePixels, StoredFeatures
from trainables.prefix.store import PrefixKey, PrefixStore, Tap
from trainables.prefix.taps import tap_of
from trainables.tasks import Task
from trainables.training.fold import Fold, FoldData
from trainables.training.losses import log_loss

IntArray = NDArray[np.int64]
Score = Callable[[IntArray, NDArray[np.float32]], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Material:
    """The training part of a data set, as a trial sees it: the sealed test part is not in it.

    Attributes:
        patch_set: Images.
        task_rows: Every row with a part in the task, which is what features are stored of.
        positions: Places of the training part in `task_rows`, shape (images,).
        labels: Class indices of the training part, shape (images,).
        groups: Patients of the training part, shape (images,).
        folds: 0-based fold of each image of the training part, shape (images,).
        classes: Number of classes.
    """

    patch_set: PatchSet
    task_rows: IntArray
    positions: IntArray
    labels: IntArray
    groups: NDArray[np.str_]
    folds: IntArray
    classes: int

    @property
    def rows(self) -> IntArray:
        """Rows of the training part in the patch set, shape (images,)."""
        return self.task_rows[self.positions]


def prepare(patch_set: PatchSet, task: Task, split: Split) -> Material:
    """Take the training part of a patch set.

    Raises:
        SplitError: If the split was made for other data.
    """
    split.verify(patch_set.fingerprint)
    rows = select_rows(patch_set, task)
    folds = split.fold_of(rows.groups)
    positions = np.flatnonzero(folds != TEST)
    return Material(
        patch_set=patch_set,
        task_rows=rows.rows,
        positions=positions,
        labels=rows.labels[positions],
        groups=rows.groups[positions],
        folds=folds[positions],
        classes=len(task.classes),
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a trial runs.

    Attributes:
        store: Folder of the prefix store.
        device: Where it computes.
        weights: Pretrained file of each usable backbone; None for nets trained from scratch.
        taps: For each backbone, the features to fill whenever it runs.
    """

    store: Path
    device: torch.device
    weights: dict[str, WeightsFile | None]
    taps: dict[str, tuple[Tap, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EpochReport:
    """One finished epoch of all folds.

    Attributes:
        epoch: 1-based.
        value: The metric at the best epoch so far, mean over folds.
        scalars: Name -> value: means over folds, and `fold_1/...` for each fold.
        collapsed: 0-based folds whose predictions are a single class.
        is_last: No epoch follows.
    """

    epoch: int
    value: float
    scalars: dict[str, float]
    collapsed: tuple[int, ...]
    is_last: bool


@dataclass(slots=True)
class Best:
    """The epoch that is kept."""

    epoch: int
    loss: float
    value: float
    probabilities: NDArray[np.float32]
    fold_metrics: tuple[dict[str, float], ...]
    collapsed: tuple[int, ...]
    weights: list[dict[str, Tensor]]


class CrossValidation:
    """Trains and evaluates the folds of one configuration in lockstep.

    Args:
        config: The trial.
        material: The training part.
        place: Store, device and weights.
        seed: Decides initial weights, order and views.
        score: Maps labels (n,) and probabilities (n, classes) to metrics.
        metric: The metric to report, a key of what `score` returns.
    """

    def __init__(
        self,
        config: TrialConfig,
        material: Material,
        place: Place,
        *,
        seed: int,
        score: Score,
        metric: str = "auc",
    ) -> None:
        self.config, self.material, self.score, self.metric = config, material, score, metric
        self.features, self.use = open_features(config, material, place)
        torch.manual_seed(seed)  # only now: filling a cold store draws random numbers, a warm one does not
        self.folds = [self._fold(number, place, seed) for number in range(int(material.folds.max()) + 1)]
        self.epochs_done = 0
        self.best: Best | None = None

    @property
    def is_over(self) -> bool:
        """True when no epoch follows."""
        training = self.config.training
        if self.epochs_done >= training.epochs:
            return True
        waited = self.epochs_done - (self.best.epoch if self.best else 0)
        return training.patience is not None and waited >= training.patience

    @property
    def trained_parameters(self) -> int:
        """Number of weights that train, in one fold."""
        return sum(p.numel() for p in self.folds[0].part.parameters() if p.requires_grad)

    def epoch(self) -> EpochReport:
        """Train and evaluate all folds for one epoch.

        Raises:
            NanLossError: If a loss or prediction is not finite.
        """
        training_losses = [fold.train_epoch(self.epochs_done) for fold in self.folds]
        self.epochs_done += 1
        probabilities = np.zeros((len(self.material.labels), self.material.classes), dtype=np.float32)
        for fold in self.folds:
            probabilities[fold.held_out] = fold.predict()
        losses = [self._log_loss(fold, probabilities) for fold in self.folds]
        scores = tuple(
            self.score(self.material.labels[fold.held_out], probabilities[fold.held_out])
            for fold in self.folds
        )
        collapsed = tuple(
            number
            for number, fold in enumerate(self.folds)
            if len(np.unique(probabilities[fold.held_out].argmax(axis=1))) == 1
        )
        value = float(np.mean([score[self.metric] for score in scores]))
        loss = float(np.mean(losses))
        best = self.best
        if best is None or self._is_better(best, loss, value):
            weights = [fold.part.kept_state() for fold in self.folds]
            best = Best(self.epochs_done, loss, value, probabilities, scores, collapsed, weights)
            self.best = best
        return EpochReport(
            epoch=self.epochs_done,
            value=best.value,
            scalars=_scalars(training_losses, losses, scores),
            collapsed=collapsed,
            is_last=self.is_over,
        )

    def state(self) -> dict[str, Any]:
        """Checkpoint: all that is needed to go on after the last epoch."""
        return {
            "epochs_done": self.epochs_done,
            "best": self.best,
            "folds": [fold.state() for fold in self.folds],
            "rng": torch.get_rng_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.epochs_done, self.best = state["epochs_done"], state["best"]
        for fold, kept in zip(self.folds, state["folds"], strict=True):
            fold.load_state(kept)
        torch.set_rng_state(state["rng"])

    def _is_better(self, best: Best, loss: float, value: float) -> bool:
        if self.config.training.keep_epoch_by == "loss":
            return loss < best.loss
        return value > best.value

    def _fold(self, number: int, place: Place, seed: int) -> Fold:
        held_out = self.material.folds == number
        data = FoldData(
            features=self.features,
            train=np.flatnonzero(~held_out),
            held_out=np.flatnonzero(held_out),
            labels=self.material.labels,
            classes=self.material.classes,
        )
        part = build_part(self.config, self.features.shape, place, self.material)
        return Fold(self.config, part, data, seed=seed * 1009 + number, device=place.device)

    def _log_loss(self, fold: Fold, probabilities: NDArray[np.float32]) -> float:
        return log_loss(self.material.labels[fold.held_out], probabilities[fold.held_out])


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


def build_part(config: TrialConfig, shape: tuple[int, ...], place: Place, material: Material) -> TrainedPart:
    """Build what trains, for features of one image of the given shape."""
    backbone = backbone_named(config.model.backbone)
    image_channels = 3 if material.patch_set.images.ndim == 4 else 1
    return assemble_part(
        config,
        shape,
        weights=place.weights[backbone.name],
        image_channels=image_channels,
        classes=material.classes,
    )


def assemble_part(
    config: TrialConfig,
    shape: tuple[int, ...],
    *,
    weights: WeightsFile | None,
    image_channels: int,
    classes: int,
) -> TrainedPart:
    """Build adapter, stages and head of a configuration.

    Args:
        config: The trial.
        shape: Of one image's features as they come in, (D,) or (C, H, W).
        weights: Pretrained file, or None for random weights.
        image_channels: 1 or 3.
        classes: Number of classes.
    """
    backbone = backbone_named(config.model.backbone)
    plan = backbone.plan(config.model)
    if config.model.weights == "random":
        weights = None
    needs_stages = bool(plan.trained) or not plan.is_prefix_fixed
    channels = backbone.channels or image_channels
    stages: OrderedDict[str, nn.Module] = (
        build_stages(backbone, channels=channels, weights=weights) if needs_stages else OrderedDict()
    )
    frozen = nn.Sequential()
    if not plan.is_prefix_fixed:
        frozen = nn.Sequential(OrderedDict((name, stages[name]) for name in plan.frozen))
    trained = nn.Sequential(OrderedDict((name, stages[name]) for name in plan.trained))
    adapter = ChannelAdapter(backbone.mean, backbone.std) if config.model.channels == "conv1x1" else None
    body = nn.Sequential(*([adapter] if adapter else []), frozen, trained)
    with torch.inference_mode():
        seen = tuple(copy.deepcopy(body).eval()(torch.zeros(1, *shape)).shape[1:])
    part = TrainedPart(adapter, frozen, trained, build_head(config.model.head, seen, classes=classes))
    part.keeps_batch_statistics = config.model.weights == "imagenet"
    return part


def _scalars(
    training: Sequence[float], validation: Sequence[float], scores: Sequence[dict[str, float]]
) -> dict[str, float]:
    scalars = {"loss/train": float(np.mean(training)), "loss/validation": float(np.mean(validation))}
    for name in scores[0]:
        scalars[f"{name}/validation"] = float(np.mean([score[name] for score in scores]))
    for number, (train, held_out, score) in enumerate(
        zip(training, validation, scores, strict=True), start=1
    ):
        scalars[f"fold_{number}/loss_train"] = train
        scalars[f"fold_{number}/loss_validation"] = held_out
        scalars[f"fold_{number}/auc"] = score["auc"]
    return scalars
