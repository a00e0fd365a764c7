"""Finished trials as pure functions of raw pixels: what predictions, and exported files, are made of.

Trials that share backbone, weights and transform share one pass through the frozen stages; each takes the
features at its own cut. Views are a leading axis, so that one pass serves all of them.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from trainables.assembly import assemble_part
from trainables.config import TrialConfig
from trainables.data.transforms import PixelTransform, TransformSpec, transform_spec
from trainables.data.views import apply_symmetry, prediction_views
from trainables.errors import WeightsError
from trainables.models.heads import probabilities
from trainables.models.registry import backbone_named
from trainables.models.stages import TrainedPart
from trainables.models.weights import WeightsFile, build_stages
from trainables.prefix.store import Tap
from trainables.prefix.taps import feature_shapes, tap_of


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """What raw images look like.

    Attributes:
        shape: (H, W) or (H, W, 3) of the images of the search; an input side that the configuration leaves
            open follows from it. Images of other sizes may be predicted all the same.
        max_value: Raw value that becomes 1.0: 255, 65535, or 1 for float images.
    """

    shape: tuple[int, ...]
    max_value: float

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for RGB."""
        return 3 if len(self.shape) == 3 else 1


@dataclass(frozen=True, slots=True)
class FinishedTrial:
    """What is kept of a trial.

    Attributes:
        config: Its configuration.
        folds: State of each model's trained part, as `TrainedPart.kept_state` returned it: fold by fold, and
            in a fold repeat by repeat.
        weights: Pretrained file of the backbone; None for random weights.
    """

    config: TrialConfig
    folds: Sequence[Mapping[str, Tensor]]
    weights: WeightsFile | None


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where a trial takes its features.

    Attributes:
        tap: Frozen stage after which they leave; None for the transformed pixels.
        views: Symmetries of the square, 0 to 7, that predictions are averaged over.
    """

    tap: Tap | None
    views: tuple[int, ...]


class Trunk(nn.Module):
    """Transform, symmetries and frozen stages that several trials share.

    Args:
        transform: From raw pixels to the first stage.
        stages: Frozen stages, in order, as far as the deepest outlet.
        outlets: What to hand out, in this order.
    """

    def __init__(
        self, transform: TransformSpec, stages: "OrderedDict[str, nn.Module]", outlets: Sequence[Outlet]
    ) -> None:
        super().__init__()
        self.transform = PixelTransform(transform)
        self.stages = nn.ModuleDict(stages).requires_grad_(False)
        self.outlets = tuple(outlets)
        self.eval()

    def forward(self, raw: Tensor) -> list[Tensor]:
        """Map raw pixels (B, H, W) or (B, H, W, 3) to the features of each outlet, (views, B, ...)."""
        images = self.transform(raw)
        views = _union(self.outlets)
        features = torch.stack([apply_symmetry(images, view) for view in views])
        found = {
            outlet: _select(features, views, outlet.views) for outlet in self.outlets if outlet.tap is None
        }
        waiting = [outlet for outlet in self.outlets if outlet.tap is not None]
        for name, stage in self.stages.items():
            # A view that no deeper outlet asks for goes no further.
            needed = _union(waiting)
            features, views = _select(features, views, needed), needed
            features = stage(features.flatten(0, 1)).unflatten(0, (len(views), images.shape[0]))
            for outlet in [outlet for outlet in waiting if outlet.tap and outlet.tap.stage == name]:
                waiting.remove(outlet)
                seen = _select(features, views, outlet.views)
                found[outlet] = seen.mean(dim=(3, 4)) if outlet.tap and outlet.tap.is_pooled else seen
        return [found[outlet] for outlet in self.outlets]


class FoldModels(nn.Module):
    """The fold models of one trial, from the features of its outlet to probabilities."""

    def __init__(self, parts: Sequence[TrainedPart], *, repeats: int = 1) -> None:
        super().__init__()
        self.parts, self.repeats = nn.ModuleList(parts), repeats
        self.eval()

    def forward(self, features: Tensor) -> Tensor:
        """Map features (views, B, ...) to each fold's mean over the views, float64 (folds, B, classes)."""
        views, images = features.shape[:2]
        batch = features.flatten(0, 1)
        # In float32 a confident probability has lost its distance from 1, which calibration needs again.
        found = [probabilities(part(batch).to(torch.float64)) for part in self.parts]
        by_model = torch.stack([one.unflatten(0, (views, images)).mean(dim=0) for one in found])
        return by_model.unflatten(0, (-1, self.repeats)).mean(dim=1)


class SharedTrunks(nn.Module):
    """Several finished trials as one function of raw pixels.

    Args:
        trials: At least one; each with at least one fold.
        image: Format of the raw images.
        classes: Number of classes.

    Raises:
        WeightsError: If a state does not fit its configuration.
    """

    def __init__(self, trials: Sequence[FinishedTrial], image: ImageFormat, *, classes: int) -> None:
        super().__init__()
        plan: dict[_TrunkKey, list[Outlet]] = {}
        files: dict[_TrunkKey, WeightsFile | None] = {}
        self.routes: list[tuple[int, int]] = []  # trial -> place of its trunk, place of its outlet there
        for trial in trials:
            key, outlet = _trunk_key(trial, image), _outlet(trial.config)
            outlets = plan.setdefault(key, [])
            files.setdefault(key, trial.weights)
            if outlet not in outlets:
                outlets.append(outlet)
            self.routes.append((list(plan).index(key), outlets.index(outlet)))
        self.trunks = nn.ModuleList(_trunk(key, outlets, files[key]) for key, outlets in plan.items())
        self.models = nn.ModuleList(_fold_models(trial, image, classes) for trial in trials)
        self.eval()

    def by_fold(self, raw: Tensor) -> list[Tensor]:
        """Map raw pixels (B, H, W) or (B, H, W, 3) to one float64 (folds, B, classes) for each trial."""
        features = [trunk(raw) for trunk in self.trunks]
        return [
            model(features[trunk][outlet])
            for model, (trunk, outlet) in zip(self.models, self.routes, strict=True)
        ]

    def forward(self, raw: Tensor) -> Tensor:
        """Map raw pixels to the mean over views and folds, float64 (trials, B, classes)."""
        return torch.stack([folds.mean(dim=0) for folds in self.by_fold(raw)])


class TrialModule(nn.Module):
    """One finished trial as a function of raw pixels; arguments are those of `SharedTrunks`."""

    def __init__(self, trial: FinishedTrial, image: ImageFormat, *, classes: int) -> None:
        super().__init__()
        self.shared = SharedTrunks([trial], image, classes=classes)
        self.eval()

    def by_fold(self, raw: Tensor) -> Tensor:
        """Map raw pixels (B, H, W) or (B, H, W, 3) to each fold's probabilities, (folds, B, classes)."""
        return self.shared.by_fold(raw)[0]

    def forward(self, raw: Tensor) -> Tensor:
        """Map raw pixels to the mean over views and folds, float64 (B, classes)."""
        return self.by_fold(raw).mean(dim=0)


@dataclass(frozen=True, slots=True)
class _TrunkKey:
    backbone: str
    weights: str | None
    transform: TransformSpec


def _trunk_key(trial: FinishedTrial, image: ImageFormat) -> _TrunkKey:
    weights = trial.weights.sha256 if trial.weights else None
    return _TrunkKey(trial.config.model.backbone, weights, _transform(trial.config, image))


def _transform(config: TrialConfig, image: ImageFormat) -> TransformSpec:
    backbone = backbone_named(config.model.backbone)
    return transform_spec(config, backbone, image.shape, image.max_value, is_test=True)


def _outlet(config: TrialConfig) -> Outlet:
    training = config.training
    views = prediction_views(training.augmentation, average=training.average_views)
    tap = tap_of(config, backbone_named(config.model.backbone))
    return Outlet(tap, tuple(view.index for view in views))


def _trunk(key: _TrunkKey, outlets: Sequence[Outlet], weights: WeightsFile | None) -> Trunk:
    backbone = backbone_named(key.backbone)
    names = backbone.stage_names
    depth = max((names.index(outlet.tap.stage) + 1 for outlet in outlets if outlet.tap), default=0)
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    if depth:
        built = build_stages(backbone, channels=key.transform.channels, weights=weights)
        stages = OrderedDict(islice(built.items(), depth))
    return Trunk(key.transform, stages, outlets)


def _fold_models(trial: FinishedTrial, image: ImageFormat, classes: int) -> FoldModels:
    shape = _feature_shape(trial.config, image)
    parts: list[TrainedPart] = []
    for number, state in enumerate(trial.folds):
        part = assemble_part(
            trial.config, shape, weights=trial.weights, image_channels=image.channels, classes=classes
        )
        try:
            part.load_kept_state(dict(state))
        except RuntimeError as error:
            raise WeightsError(
                f"weights of fold {number} do not fit the trial's configuration for images of "
                f"{'x'.join(map(str, image.shape))}: {str(error).splitlines()[-1].strip()}"
            ) from error
        if parts:
            part.frozen = parts[0].frozen  # the same in every fold; one copy is enough
        parts.append(part)
    return FoldModels(parts, repeats=trial.config.training.repeats)


def _feature_shape(config: TrialConfig, image: ImageFormat) -> tuple[int, ...]:
    spec, tap = _transform(config, image), tap_of(config, backbone_named(config.model.backbone))
    if tap is None:
        return (spec.channels, spec.size_px, spec.size_px)
    shape = feature_shapes(config.model.backbone, spec.channels, spec.size_px)[tap.stage]
    return shape[:1] if tap.is_pooled else shape


def _union(outlets: Sequence[Outlet]) -> tuple[int, ...]:
    return tuple(sorted({view for outlet in outlets for view in outlet.views}))


def _select(features: Tensor, views: tuple[int, ...], wanted: tuple[int, ...]) -> Tensor:
    if views == wanted:
        return features
    return torch.stack([features[views.index(view)] for view in wanted])
