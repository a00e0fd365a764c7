"""Finished trials as pure functions of raw pixels, for predictions and for export.

Trials that share backbone, weights and transform share one pass through the frozen stages; each takes the
features at its own cut. Views, and the two images of a pair, are a leading axis, so that one pass serves all.
"""

import copy
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import torch
from torch import Tensor, nn

from trainables.common.errors import ConfigError, WeightsError
from trainables.config.tasks import TASKS
from trainables.config.trial_config import TrialConfig
from trainables.estimators.modules import EstimatorModule
from trainables.inference.shared_backbones import FeatureOutput, SharedBackbone
from trainables.models.heads import mean_over_folds, probabilities
from trainables.models.registry import backbone_named
from trainables.models.stages import TrainedPart
from trainables.models.taps import feature_shapes, frozen_parts, tap_of
from trainables.models.weights import WeightsFile, build_stages
from trainables.preprocessing.transforms import TransformSpec, transform_spec
from trainables.preprocessing.views import prediction_views
from trainables.training.assembly import assemble_part

_TYPES: Final = len(TASKS["mass_calcification"].classes)


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """Shape and value range of raw images.

    Attributes:
        shape: Shape (H, W) or (H, W, 3) of the images of the search; an input side that the configuration
            leaves open follows from it. Images of other sizes can be predicted too.
        max_value: Raw value that becomes 1.0, such as 255, 4095 or 65535; 1 for float images.
    """

    shape: tuple[int, ...]
    max_value: float

    @property
    def channels(self) -> int:
        """Number of channels: 1 for grey images, 3 for RGB."""
        return 3 if len(self.shape) == 3 else 1


@dataclass(frozen=True, slots=True)
class FinishedTrial:
    """Configuration and weights of a finished trial.

    Attributes:
        config: Configuration of the trial.
        folds: State of each model's trained part, as `TrainedPart.kept_state` returned it: fold by fold, and
            within a fold repeat by repeat. Of a closed-form head, its arrays, fold by fold.
        weights: Pretrained file of the backbone; None for random weights and for those of another trial.
        also: Pretrained file of each further tap's backbone, in the order of `model.also`.
        type_trial: Finished trial of mass_calcification that predicts the type of the finding for this one,
            where `model.type_input` is `probability` or `hard`.
    """

    config: TrialConfig
    folds: Sequence[Mapping[str, Tensor]]
    weights: WeightsFile | None
    type_trial: "FinishedTrial | None" = None
    also: tuple[WeightsFile | None, ...] = ()

    @property
    def parts(self) -> tuple[tuple[TrialConfig, WeightsFile | None], ...]:
        """Configuration and pretrained file of each frozen input."""
        return tuple(zip(frozen_parts(self.config), (self.weights, *self.also), strict=True))


@dataclass(frozen=True, slots=True)
class RequiredInputs:
    """Inputs that a module needs besides raw pixels.

    Attributes:
        baseline: True if it needs healthy baselines, of the shape and number type of the raw pixels.
        finding_type: True if it needs the type of each finding from a human reader, shape (B,), 0 mass or 1
            calcification.
    """

    baseline: bool
    finding_type: bool


class FoldModels(nn.Module):
    """The fold models of one trial, from the features of its cut to probabilities."""

    def __init__(self, parts: Sequence[TrainedPart | EstimatorModule], *, repeats: int = 1) -> None:
        super().__init__()
        self.parts, self.repeats = nn.ModuleList(parts), repeats
        self.eval()

    @property
    def has_steps(self) -> bool:
        """True if the probabilities move in steps."""
        return any(getattr(part, "has_steps", False) for part in self.parts)

    @property
    def folds(self) -> int:
        """Number of folds."""
        return len(self.parts) // self.repeats

    def only(self, fold: int) -> "FoldModels":
        """Return the models of one fold, 0-based, which share their weights with these."""
        own = slice(fold * self.repeats, (fold + 1) * self.repeats)
        return FoldModels(list(self.parts[own]), repeats=self.repeats)  # type: ignore[arg-type] # as they were given

    def forward(self, features: Tensor, types: Tensor | None = None) -> Tensor:
        """Map features to the probabilities of each fold, averaged over the views.

        Args:
            features: Features, shape (views, B, ...), or (views, B, 2, ...) for pairs.
            types: Type of the finding as input of each fold, in [0, 1], shape (folds, B); None for none.

        Returns:
            Probabilities, float64, shape (folds, B, classes); of a head that weighs the images of a unit
            with their attention as a last column, (folds, B, classes + 1).
        """
        views, images = features.shape[:2]
        batch = features.flatten(0, 1)
        found = []
        for number, part in enumerate(self.parts):
            side_input = None
            if types is not None:
                side_input = types[number // self.repeats].expand(views, images).flatten().unsqueeze(1)
            # In float32 a confident probability is rounded to 1, and calibration needs its distance from 1.
            own = probabilities(part(batch, side_input).to(torch.float64))
            weighs = isinstance(part, EstimatorModule) and part.weighs_units
            found.append(torch.cat([own, part.attention(batch)], dim=1) if weighs else own)  # type: ignore[operator] # a method of EstimatorModule
        by_model = torch.stack([one.unflatten(0, (views, images)).mean(dim=0) for one in found])
        return by_model.unflatten(0, (-1, self.repeats)).mean(dim=1)


class SharedBackbones(nn.Module):
    """Several finished trials as one function of raw pixels, and of baselines and types where they need them.

    Trials that predict the type of the finding for others run first, through the same shared backbones.

    Args:
        trials: Finished trials, at least one, each with at least one fold.
        image: Format of the raw images.
        classes: Number of classes.

    Attributes:
        needs: Inputs that are needed besides raw pixels.
        members: Index of each trial in `models` and `routes`, which hold type trials too.
        has_steps: True for each member whose probabilities move in steps, such as a count of neighbours.
        counts_pixels: A member reads statistics of the pixels, which count those above a threshold.

    Raises:
        WeightsError: If a state does not fit its configuration.
        ConfigError: If a trial takes a predicted type as input, and no trial is given that predicts it.
    """

    def __init__(self, trials: Sequence[FinishedTrial], image: ImageFormat, *, classes: int) -> None:
        super().__init__()
        everyone = _in_dependency_order(trials)
        self.members = tuple(_place_of(trial, everyone) for trial in trials)
        self.needs = RequiredInputs(
            baseline=any(trial.config.model.pair != "none" for trial in everyone),
            finding_type=any(trial.config.model.type_input == "human" for trial in everyone),
        )
        plan: dict[_BackboneKey, list[FeatureOutput]] = {}
        files: dict[_BackboneKey, WeightsFile | None] = {}
        # trial -> for each of its frozen inputs, index of its trunk and index of its outlet there
        self.routes: list[tuple[tuple[int, int], ...]] = []
        for trial in everyone:
            route: list[tuple[int, int]] = []
            for config, weights in trial.parts:
                key, output = _backbone_key(config, weights, image), _output(config)
                outputs = plan.setdefault(key, [])
                files.setdefault(key, weights)
                if output not in outputs:
                    outputs.append(output)
                route.append((list(plan).index(key), outputs.index(output)))
            self.routes.append(tuple(route))
        self.backbone_modules = nn.ModuleList(
            _backbone_module(key, outputs, files[key]) for key, outputs in plan.items()
        )
        self.models = nn.ModuleList(
            fold_models(trial, image, classes if place in self.members else _TYPES)
            for place, trial in enumerate(everyone)
        )
        type_models = [_type_trial(trial) for trial in everyone]
        self.has_steps = tuple(cast(FoldModels, self.models[place]).has_steps for place in self.members)
        self.counts_pixels = any(
            backbone_named(config.model.backbone).is_fixed for trial in everyone for config, _ in trial.parts
        )
        self._type_inputs = [trial.config.model.type_input for trial in everyone]
        self._type_models = [
            None if type_model is None else _place_of(type_model, everyone) for type_model in type_models
        ]
        self.eval()

    @property
    def folds(self) -> tuple[int, ...]:
        """Number of folds of each trial."""
        return tuple(cast(FoldModels, self.models[place]).folds for place in self.members)

    def only(self, fold: int) -> "SharedBackbones":
        """Return the models of one fold of each trial, which share their weights with these.

        A trial that predicts the type of the finding keeps all its models if it has another number of folds.

        Args:
            fold: 0-based fold, the same patients in every trial.
        """
        found = copy.copy(self)
        number = max(self.folds)
        models = [cast(FoldModels, model) for model in self.models]
        own = nn.ModuleList(model.only(fold) if model.folds == number else model for model in models)
        found._modules = {**self._modules, "models": own}
        return found

    def by_fold(
        self, raw: Tensor, baseline: Tensor | None = None, finding_type: Tensor | None = None
    ) -> list[Tensor]:
        """Map raw pixels to one float64 (folds, B, classes) for each trial.

        Args:
            raw: Raw pixels, shape (B, H, W) or (B, H, W, 3).
            baseline: Healthy baselines of the same shape; required if `needs.baseline`.
            finding_type: Type of each finding, shape (B,), 0 mass or 1 calcification; required if
                `needs.finding_type`.

        Raises:
            ConfigError: If a required input is missing.
        """
        return self.by_fold_of(self.features(raw, baseline), finding_type)

    def features(self, raw: Tensor, baseline: Tensor | None = None) -> list[list[Tensor]]:
        """Map pixels to what each shared backbone puts out; see `SharedBackbone.forward`."""
        return [backbone_module(raw, baseline) for backbone_module in self.backbone_modules]

    def by_fold_of(
        self, features: Sequence[Sequence[Tensor]], finding_type: Tensor | None = None
    ) -> list[Tensor]:
        """Map what `features` returned to what `by_fold` returns."""
        found: list[Tensor] = []
        for place, (model, route) in enumerate(zip(self.models, self.routes, strict=True)):
            types = self._types(place, found, finding_type)
            own = [features[backbone_module][output] for backbone_module, output in route]
            found.append(model(own[0] if len(own) == 1 else _side_by_side(own), types))
        return [found[place] for place in self.members]

    def forward(
        self, raw: Tensor, baseline: Tensor | None = None, finding_type: Tensor | None = None
    ) -> Tensor:
        """Map the inputs of `by_fold` to the mean over views, and of logits over folds, float64
        (trials, B, classes)."""
        return torch.stack([mean_over_folds(folds) for folds in self.by_fold(raw, baseline, finding_type)])

    def _types(self, place: int, found: Sequence[Tensor], finding_type: Tensor | None) -> Tensor | None:
        """Type input of each fold of a trial, (folds, B); None for none.

        A predicted type comes from the same fold of the type trial, which trained on the same images; where
        the numbers of folds differ, it is the mean over all its folds.
        """
        kind, type_model = self._type_inputs[place], self._type_models[place]
        if kind == "none":
            return None
        folds = cast(FoldModels, self.models[place]).folds
        if type_model is None:
            if finding_type is None:
                raise ConfigError(
                    "a trial takes in the type of the finding; give `finding_type` besides `raw`"
                )
            return finding_type.expand(folds, -1)
        predicted_type = found[type_model][:, :, 1]
        if predicted_type.shape[0] != folds:
            predicted_type = mean_over_folds(found[type_model])[:, 1].expand(folds, -1)
        return predicted_type.round() if kind == "hard" else predicted_type


def _side_by_side(features: Sequence[Tensor]) -> Tensor:
    """Features of several taps (views, B, ...) as one row for each image, (views, B, D)."""
    return torch.cat([one.flatten(2) for one in features], dim=2)


def _in_dependency_order(trials: Sequence[FinishedTrial]) -> list[FinishedTrial]:
    """All trials and the trials that predict their types, each once and after the one that it depends on."""
    ordered: list[FinishedTrial] = []
    for trial in trials:
        type_model = _type_trial(trial)
        before = _in_dependency_order([type_model]) if type_model else []
        ordered += [one for one in (*before, trial) if not any(one is other for other in ordered)]
    return ordered


def _type_trial(trial: FinishedTrial) -> FinishedTrial | None:
    """Trial that predicts the type of the finding for another one; None where it takes no predicted type."""
    kind = trial.config.model.type_input
    if kind not in ("probability", "hard"):
        return None
    if trial.type_trial is None:
        raise ConfigError(
            f"model.type_input={kind} needs the finished trial of mass_calcification that predicts the type; "
            "give it as `type_trial`"
        )
    return trial.type_trial


def _place_of(trial: FinishedTrial, everyone: Sequence[FinishedTrial]) -> int:
    return next(place for place, other in enumerate(everyone) if other is trial)


@dataclass(frozen=True, slots=True)
class _BackboneKey:
    backbone: str
    weights: str | None
    transform: TransformSpec


def _backbone_key(config: TrialConfig, weights: WeightsFile | None, image: ImageFormat) -> _BackboneKey:
    sha256 = weights.sha256 if weights else None
    return _BackboneKey(config.model.backbone, sha256, _transform(config, image))


def _transform(config: TrialConfig, image: ImageFormat) -> TransformSpec:
    backbone = backbone_named(config.model.backbone)
    return transform_spec(config, backbone, image.shape, image.max_value, is_test=True)


def _output(config: TrialConfig) -> FeatureOutput:
    training = config.training
    views = prediction_views(training.augmentation, average=training.average_views)
    tap = tap_of(config, backbone_named(config.model.backbone))
    return FeatureOutput(tap, tuple(view.index for view in views), is_pair=config.model.pair != "none")


def _backbone_module(
    key: _BackboneKey, outputs: Sequence[FeatureOutput], weights: WeightsFile | None
) -> SharedBackbone:
    backbone = backbone_named(key.backbone)
    taps = {output.tap.stage for output in outputs if output.tap}
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    if taps:
        built = build_stages(backbone, channels=key.transform.channels, weights=weights)
        names = list(backbone.with_readouts(built))
        deepest = names[: max(names.index(name) for name in taps) + 1]
        wanted = {name for name in deepest if name in built or name in taps}
        stages = backbone.with_readouts(built, wanted)
    return SharedBackbone(key.transform, stages, outputs)


def fold_models(trial: FinishedTrial, image: ImageFormat, classes: int) -> FoldModels:
    """Build the fold models of a finished trial, which take the features of its cut.

    Args:
        trial: Finished trial.
        image: Format of the raw images of its search.
        classes: Number of classes.

    Raises:
        WeightsError: If a state does not fit the configuration.
    """
    if trial.config.classical.name != "none":
        return FoldModels([EstimatorModule(state, classes=classes) for state in trial.folds])
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
        if parts and not part.keeps_frozen:
            part.frozen = parts[0].frozen  # the same pretrained file in every fold; one copy is enough
        parts.append(part)
    return FoldModels(parts, repeats=trial.config.training.repeats)


def _feature_shape(config: TrialConfig, image: ImageFormat) -> tuple[int, ...]:
    spec, tap = _transform(config, image), tap_of(config, backbone_named(config.model.backbone))
    shape: tuple[int, ...] = (spec.channels, spec.size_px, spec.size_px)
    if tap is not None:
        map_shape = feature_shapes(config.model.backbone, spec.channels, spec.size_px)[tap.stage]
        shape = map_shape[:1] if tap.is_pooled else map_shape
    return shape if config.model.pair == "none" else (2, *shape)
