"""Configuration of a trial: every setting that a search may vary, checked where it is read.

A configuration is plain text outside (YAML, JSON, an Optuna trial) and one frozen `TrialConfig` inside.
Names with dots, such as `optimizer.lr`, address a setting from the command line.
"""

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from trainables.common.errors import ConfigError, UnknownNameError
from trainables.common.frozen import FrozenModel, setting_check
from trainables.config.augmentation_policies import AugmentationPolicy
from trainables.config.classical_config import ClassicalConfig
from trainables.config.fine_tuning_config import FineTuningConfig
from trainables.config.tasks import TASKS
from trainables.config.unit_config import ATTENTION, UnitConfig


def _layers(value: Any) -> Any:
    if isinstance(value, int):
        return (value,)
    if isinstance(value, str):
        return () if value == "none" else tuple(value.split("-"))
    return value


Layers = Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], BeforeValidator(_layers)]


def _contrast_or_same(value: Any) -> Any:
    return None if value == "same" else value


def _limit_or_none(value: Any) -> Any:
    return None if value == "none" else value


def _taps(value: Any) -> Any:
    if isinstance(value, str):
        return () if value == "none" else tuple(part.strip() for part in value.split(","))
    return value


def _is_a_tap(value: str) -> str:
    backbone, slash, cut = value.rpartition("/")
    if not (backbone and slash and cut):
        raise ValueError(f"{value!r} is not a backbone and a cut, such as vgg16/block4")
    return value


FurtherTaps = Annotated[tuple[Annotated[str, AfterValidator(_is_a_tap)], ...], BeforeValidator(_taps)]


# Settings that earlier versions knew under other names.
RENAMED_SETTINGS: Final = MappingProxyType(
    {
        "training.keep_epoch_by": "training.checkpoint_metric",
        "training.stopping": "training.early_stopping_scope",
        "training.share": "training.train_fraction",
        "classical.scales": "classical.standardize",
        "classical.power": "classical.minkowski_p",
    }
)


class HeadConfig(FrozenModel):
    """The trained classifier on top of the kept stages.

    Attributes:
        pooling: `gap` averages the feature map, `flatten` keeps every position, `conv` is a 3x3 convolution
            to `filters` channels, max-pooling by 2 and ReLU, then every position.
        filters: Channels of the convolution, for `conv`.
        branch: Units of the hidden layers that act on each image of a pair before the pair is merged; for
            pairs only.
        hidden: Units of the hidden layers, in order; empty for a linear head. As text: `512-256` or `none`.
        batch_norm: Batch normalisation after each hidden layer.
        dropout: Drop probability before every linear layer, in [0, 0.9].
        output: Output for two classes: one logit under binary cross-entropy (`sigmoid`) or two under
            categorical cross-entropy (`softmax`); more classes always have one logit each.
        style: Initial weights and numerics. `keras`: Glorot-uniform weights. `tf003`: He-normal hidden
            layers, a last layer of variance 1 / inputs, and 1e-8 instead of 1e-5 in batch normalisation
            (source system 003, in TensorFlow).
    """

    pooling: Literal["gap", "flatten", "conv"] = "gap"
    filters: int = Field(default=256, ge=1, le=2048)
    branch: Layers = ()
    hidden: Layers = (256,)
    batch_norm: bool = False
    dropout: float = Field(default=0.0, ge=0.0, le=0.9)
    output: Literal["sigmoid", "softmax"] = "sigmoid"
    style: Literal["keras", "tf003"] = "keras"


class ModelConfig(FrozenModel):
    """The backbone, its cut, its trained stages, and the head.

    Attributes:
        backbone: Name in `trainables.models.registry`.
        weights: `imagenet`; `random` for training from scratch; or `start`: the stages of the finished trial
            that the search starts from (`--start-from`), fold by fold.
        start_head: Copy that trial's head too; it must have the same shape.
        cut: `top` keeps all stages; `top+1` to `top+3` drop so many levels from the end, of as many as the
            net has; or the name of the last kept stage. Of a transformer `.class`, `.patches` or `.both`
            behind it says which features.
        trained_stages: Number of last kept stages that train with the head; 0 freezes all, "all" trains all.
        channels: Input of a grey image to an RGB backbone: copied to all channels (`replicate`), or through a
            trained 1x1 convolution (`conv1x1`). As that trains below all stages, there is no frozen prefix.
        pair: `none` classifies single images. Otherwise the image and its healthy baseline pass the same
            stages (a siamese net), and the head gets |image - baseline| (`absdiff`), image - baseline
            (`diff`) or both side by side (`concat`).
        type_input: Type of the finding as an extra input of the head, 0 mass or 1 calcification: `none`;
            `human`, the label of the data; `probability` or `hard` (0 or 1), the prediction of a finished
            trial (`--type-from`).
        also: Further taps whose pooled features stand beside those of the backbone, for closed-form heads
            (`classical.name`): each a backbone and a cut, or the name of its last kept stage. As text:
            `vgg16/block4,efficientnet_lite0/top`, or `none`.
    """

    backbone: str
    weights: Literal["imagenet", "random", "start"] = "imagenet"
    start_head: bool = False
    cut: str = "top"
    trained_stages: Annotated[int, Field(ge=0)] | Literal["all"] = 0
    channels: Literal["replicate", "conv1x1"] = "replicate"
    pair: Literal["none", "absdiff", "diff", "concat"] = "none"
    type_input: Literal["none", "human", "probability", "hard"] = "none"
    also: FurtherTaps = ()
    head: HeadConfig = HeadConfig()

    @model_validator(mode="after")
    def _random_weights_train(self) -> "ModelConfig":
        if self.weights == "random" and self.trained_stages != "all":
            raise ValueError("model.weights=random needs model.trained_stages=all: random stages must train")
        return self

    @model_validator(mode="after")
    def _branch_is_for_pairs(self) -> "ModelConfig":
        if self.head.branch and self.pair == "none":
            raise ValueError("model.head.branch is for pairs only; set model.pair to absdiff, diff or concat")
        return self


class InputConfig(FrozenModel):
    """Transform from raw pixels to the input of the first stage.

    In this order: [0, 1], CLAHE, contrast, size, channels, scaling. Pixels are divided by the largest value
    that the set's images can hold.

    Attributes:
        size_px: Side of the square input, in pixels; None keeps the image as it is.
        scaling: `auto` (what the backbone's weights expect, [0, 1] for nets from scratch); `unit` ([0, 1]);
            `raw` (0 to 255, not rounded); `centred` (0 to 255 minus `centre`); `centred_scaled` (that divided
            by 255); `imagenet` (mean and deviation of ImageNet); `standardise` (zero mean and unit variance
            for each image).
        centre: Grey level, 0 to 255, that `centred` and `centred_scaled` subtract; the default is the mean
            pixel of source system 003.
        clahe: Clip limit of contrast-limited adaptive histogram equalisation, a multiple of a tile's mean
            count; None, or `none`, is off. RGB channels are equalised one by one.
        clahe_grid: Number of CLAHE tiles along each side.
        contrast: Contrast factor in training, around each image's own mean; 1 is off.
        contrast_test: Contrast factor in validation, test and export; None, or `same`, uses `contrast`.
        clip: Clip to [0, 1] after the contrast change, as TensorFlow does to 8-bit images; its rounding to
            whole grey levels is not reproduced.
    """

    size_px: Annotated[int, Field(ge=16, le=2048)] | None = None
    scaling: Literal["auto", "unit", "raw", "centred", "centred_scaled", "imagenet", "standardise"] = "auto"
    centre: float = Field(default=104.1353, ge=0.0, le=255.0)
    clahe: Annotated[Annotated[float, Field(ge=1.0, le=40.0)] | None, BeforeValidator(_limit_or_none)] = None
    clahe_grid: int = Field(default=8, ge=2, le=32)
    contrast: float = Field(default=1.0, gt=0.0, le=8.0)
    contrast_test: Annotated[
        Annotated[float, Field(gt=0.0, le=8.0)] | None, BeforeValidator(_contrast_or_same)
    ] = None
    clip: bool = False

    @property
    def contrast_at_test(self) -> float:
        """Contrast factor for validation, test and export."""
        return self.contrast if self.contrast_test is None else self.contrast_test


class OptimizerConfig(FrozenModel):
    """Optimiser, learning rate and penalties on the weights.

    Attributes:
        lr: Learning rate of the head.
        momentum: Momentum of `sgd`, in [0, 1); for no other optimiser.
        weight_decay: Coupled L2 penalty on weights, not on biases or normalisation. It is TensorFlow's
            `l2_regularizer` of the same value, and Keras's `l2` of half of it.
        stage_weight_decay: L2 penalty on trained backbone stages; None takes `weight_decay`.
        l1: Factor of the sum of absolute weights in the loss (Keras's `l1`), on the same weights.
        stage_lr_factor: Learning rate of trained backbone stages, as a multiple of `lr`; 1 for training from
            scratch.
        schedule: `constant`, `cosine` to zero over the epochs, `step` (x0.8 every `step_epochs`), or
            `plateau` (halved after every `step_epochs` without a better mean validation loss).
        step_epochs: Number of epochs between two changes of the learning rate, for `step` and `plateau`.
    """

    name: Literal["adam", "rmsprop", "sgd", "adadelta"] = "adam"
    lr: float = Field(default=1e-3, gt=0.0, le=10.0)
    momentum: float | None = Field(default=None, ge=0.0, lt=1.0)
    weight_decay: float = Field(default=0.0, ge=0.0, le=1.0)
    stage_weight_decay: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    l1: float = Field(default=0.0, ge=0.0, le=1.0)
    stage_lr_factor: float = Field(default=1.0, gt=0.0, le=1.0)
    schedule: Literal["constant", "cosine", "step", "plateau"] = "constant"
    step_epochs: int = Field(default=5, ge=1, le=1000)

    @model_validator(mode="after")
    def _momentum_is_for_sgd(self) -> "OptimizerConfig":
        if self.momentum is not None and self.name != "sgd":
            raise ValueError(f"optimizer.momentum is for sgd only, the optimiser is {self.name}")
        return self


class TrainingConfig(FrozenModel):
    """The training loop: epochs, batches, augmentation, class balance and early stopping.

    Attributes:
        epochs: Largest number of epochs; the one kept is chosen from the mean curve over the folds.
        patience: Epochs without a better mean curve before all folds stop; None never stops early.
        batch_size: Images per step, for each model.
        augmentation: `none`; `flips` (4 views); `d4` (the eight symmetries of the square); `rotate`
            (eight random rotations with flips); `affine` (eight draws of small shift, zoom and shear);
            `idc` and `e003` (both flips), `e001` (any rotation, both flips), `e001_scratch` (the same with
            small shift and zoom), `e002` (both flips, brightness, contrast, noise), `e004` (rotation up to 90
            degrees, horizontal flip), `e004_rot90` (quarter turns, horizontal flip): as in the source
            systems of these numbers. The table is in `trainables.config.augmentation_policies`.
        average_views: Average the prediction over the views (test-time augmentation).
        class_weight: `none`; `balanced` (n / (classes * n_class)); `other_share` (one minus the class's own
            share of the images); `effective` (one over the effective number of images, see
            `effective_beta`); or a number, the weight of every class but the first.
        effective_beta: Share by which each further image of a class counts less, in [0, 1), for
            `class_weight=effective`: 0 gives equal weights, towards 1 they become those of `balanced`.
        sampling: `none`; `over` repeats images drawn from the smaller classes until all are as large as the
            largest, `under` leaves images of the larger ones out. In each fold's training part only.
        label_smoothing: Label smoothing, in [0, 0.5).
        focal_gamma: Exponent of the focal loss, in [0, 5], by which images that are predicted well count
            less, in training and in the validation loss; 0 is cross-entropy.
        checkpoint_metric: Mean curve over folds that chooses the epoch. `loss`, the default, is the
            validation loss with the class weights and the resampling of the fold's training; the learning
            rate of `plateau` follows it. `unweighted_loss` is that of Keras, which weights and resampling
            move. `metric` is the metric itself, which would choose its own luckiest epoch; its scores are
            optimistic.
        early_stopping_scope: `mean` keeps one epoch for all folds, from the mean curve. `fold` stops each
            fold separately and keeps its own best epoch, as is common in publications; its scores are
            optimistic.
        repeats: Number of models per fold, with different seeds; their predictions are averaged.
        feature_noise: Standard deviation of the noise added to the input of the trained part in training, as
            a share of the input's own standard deviation, in [0, 2].
        feature_dropout: Probability of dropping a channel of that input in training, in [0, 0.9].
        mixup: Alpha of mixing images and labels in training, in [0, 4]; 0 is off.
        augment_last: Number of epochs at the end that are augmented; the earlier ones are not. None augments
            all epochs.
        train_fraction: Share of each fold's training patients that is used, in (0, 1]: a point of a learning
            curve.
        first_phase: Training before the trial's own, in the same folds. `none`; `head`: the head alone,
            before the last stages train with it; or a task, such as `five_class`: the stages learn that
            task, and this trial continues from them with a new head.
        first_phase_epochs: Number of epochs of that phase, without early stopping.
        first_phase_freezes: Freeze the stages that learned the first task in the second phase.
    """

    epochs: int = Field(default=30, ge=1, le=2000)
    patience: Annotated[int, Field(ge=1)] | None = 8
    batch_size: int = Field(default=32, ge=1, le=4096)
    augmentation: AugmentationPolicy = "d4"
    average_views: bool = True
    class_weight: (
        Literal["none", "balanced", "other_share", "effective"] | Annotated[float, Field(gt=0.0, le=100.0)]
    ) = "none"
    effective_beta: float = Field(default=0.999, ge=0.0, lt=1.0)
    sampling: Literal["none", "over", "under"] = "none"
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=0.5)
    focal_gamma: float = Field(default=0.0, ge=0.0, le=5.0)
    checkpoint_metric: Literal["loss", "unweighted_loss", "metric"] = "loss"
    early_stopping_scope: Literal["mean", "fold"] = "mean"
    repeats: int = Field(default=1, ge=1, le=16)
    feature_noise: float = Field(default=0.0, ge=0.0, le=2.0)
    feature_dropout: float = Field(default=0.0, ge=0.0, le=0.9)
    mixup: float = Field(default=0.0, ge=0.0, le=4.0)
    augment_last: Annotated[int, Field(ge=1)] | None = None
    train_fraction: float = Field(default=1.0, gt=0.0, le=1.0)
    first_phase: str = "none"
    first_phase_epochs: int = Field(default=15, ge=1, le=1000)
    first_phase_freezes: bool = False

    @field_validator("first_phase")
    @classmethod
    def _is_a_phase(cls, value: str) -> str:
        known = ("none", "head", *TASKS)
        if value not in known:
            raise ValueError(f"must be one of {', '.join(known)}")
        return value


class TrialConfig(FrozenModel):
    """One point of a search space: everything that decides a trial, apart from data, split and seed."""

    model: ModelConfig
    input: InputConfig = InputConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    classical: ClassicalConfig = ClassicalConfig()
    fine_tuning: FineTuningConfig = FineTuningConfig()
    unit: UnitConfig = UnitConfig()

    @model_validator(mode="after")
    def _phases_fit(self) -> "TrialConfig":
        phase, trained = self.training.first_phase, self.model.trained_stages
        if phase != "none" and trained == 0:
            raise ValueError(f"training.first_phase={phase} needs stages that train: model.trained_stages")
        if phase == "head" and self.model.weights == "random":
            raise ValueError("training.first_phase=head needs pretrained stages; model.weights is random")
        return self

    @model_validator(mode="after")
    def _attention_is_a_head(self) -> "TrialConfig":
        is_head = self.classical.name == ATTENTION
        if is_head != (self.unit.combine == ATTENTION):
            raise ValueError(
                "classical.name=attention is the head that weighs the images of a unit, and "
                "unit.combine=attention takes its weights: set both, or neither"
            )
        if is_head and self.training.sampling != "none":
            raise ValueError("classical.name=attention is fitted on whole units; set training.sampling=none")
        return self

    @model_validator(mode="after")
    def _classical_models_take_frozen_features(self) -> "TrialConfig":
        model = self.model
        trains = model.trained_stages != 0 or model.channels != "replicate" or model.weights != "imagenet"
        is_more = trains or model.pair != "none" or model.type_input != "none"
        if self.classical.name == "none" and model.also:
            raise ValueError(
                "model.also stands further features beside those of the backbone, for closed-form heads; set "
                "classical.name, such as logistic, or model.also=none"
            )
        if self.classical.name != "none" and is_more:
            raise ValueError(
                f"classical.name={self.classical.name} takes frozen ImageNet features of single images; "
                "set model.trained_stages=0 and leave pair, type_input, channels and weights as they are"
            )
        return self


def decode(values: Mapping[str, Any]) -> TrialConfig:
    """Check nested or dotted settings and return the configuration.

    Raises:
        UnknownNameError: If a setting does not exist; the message holds the nearest one.
        ConfigError: If a value is not allowed.

    >>> decode({"model.backbone": "vgg16", "optimizer": {"lr": 0.01}}).optimizer.lr
    0.01
    """
    nested: dict[str, Any] = {}
    for given, value in flatten(values).items():
        name = RENAMED_SETTINGS.get(given, given)
        if name not in setting_names():
            raise UnknownNameError("setting", name, setting_names())
        place = nested
        *path, last = name.split(".")
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    try:
        return TrialConfig.model_validate(nested)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part in _all_parts() or len(first["loc"]) == 1)
        what = first["msg"].removeprefix("Value error, ")
        given = f" (given: {first['input']!r})" if not isinstance(first["input"], dict) else ""
        at = f"{where}: " if where else ""
        raise ConfigError(f"not a valid configuration: {at}{what}{given}") from error


def parse_setting(name: str, value: Any) -> Any:
    """Check one value alone, without the settings that it must agree with.

    Raises:
        UnknownNameError: If there is no such setting.
        ConfigError: If the value is not allowed; the message says what is.

    >>> parse_setting("model.head.hidden", "512-256")
    (512, 256)
    """
    name = RENAMED_SETTINGS.get(name, name)
    if name not in setting_names():
        raise UnknownNameError("setting", name, setting_names())
    try:
        return setting_check(TrialConfig, name).validate_python(value)
    except ValidationError as error:
        reasons = "; or ".join(dict.fromkeys(found["msg"] for found in error.errors()))
        raise ConfigError(f"{name}={value}: {reasons}") from error


def checked_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Check settings, nested or dotted, one by one; returns their values, as given, by their present names.

    Raises:
        UnknownNameError: If there is no such setting.
        ConfigError: If a value is not allowed.

    >>> checked_settings({"training": {"share": 0.5}, "optimizer.lr": 0.1})
    {'training.train_fraction': 0.5, 'optimizer.lr': 0.1}
    """
    found = {RENAMED_SETTINGS.get(name, name): value for name, value in flatten(values).items()}
    for name, value in found.items():
        parse_setting(name, value)
    return found


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested settings into dotted names; dotted names stay as they are.

    >>> flatten({"model": {"head": {"dropout": 0.5}}, "optimizer.lr": 0.1})
    {'model.head.dropout': 0.5, 'optimizer.lr': 0.1}
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        dotted = f"{prefix}{name}"
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{dotted}.")
        else:
            flat[dotted] = value
    return flat


@functools.cache
def setting_names(model: type[BaseModel] = TrialConfig, prefix: str = "") -> tuple[str, ...]:
    """All dotted setting names, in order.

    >>> setting_names()[:3]
    ('model.backbone', 'model.weights', 'model.start_head')
    """
    names: list[str] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names.extend(setting_names(kind, f"{prefix}{name}."))
        else:
            names.append(f"{prefix}{name}")
    return tuple(names)


def _all_parts() -> set[str]:
    return {part for name in setting_names() for part in name.split(".")}
