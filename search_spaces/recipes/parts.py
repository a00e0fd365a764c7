"""Parts that points are put together from, so that a recipe reads as a row of a table."""

from collections.abc import Mapping
from typing import Any, Final

Settings = dict[str, Any]

# Values of every recipe whose row does not differ. Written out, since a new default must not change a recipe.
_PLAIN: Final[Settings] = {
    "model.channels": "replicate",
    "model.pair": "none",
    "model.type_input": "none",
    "input.size_px": None,
    "input.scaling": "auto",
    "input.clahe": None,
    "input.contrast": 1.0,
    "input.contrast_test": "same",
    "input.clip": False,
    "optimizer.weight_decay": 0.0,
    "optimizer.l1": 0.0,
    "optimizer.stage_lr_factor": 1.0,
    "optimizer.schedule": "constant",
    "training.patience": None,
    "training.average_views": False,
    "training.class_weight": "none",
    "training.sampling": "none",
    "training.label_smoothing": 0.0,
    "training.repeats": 1,
    "training.feature_noise": 0.0,
    "training.feature_dropout": 0.0,
    "training.mixup": 0.0,
    "training.augment_last": None,
    "training.train_fraction": 1.0,
    "training.first_phase": "none",
    "classical.name": "none",
}


def point(*parts: Mapping[str, Any]) -> Settings:
    """Put parts together, later ones over earlier ones and all of them over the plain values.

    >>> point(pretrained("vgg16"), {"input.contrast": 1.5})["input.contrast"]
    1.5
    """
    settings = dict(_PLAIN)
    for part in parts:
        settings.update(part)
    return settings


def pretrained(backbone: str, *, cut: str = "top", trained: int = 0) -> Settings:
    """A backbone with ImageNet weights, of which the last `trained` kept stages train."""
    return {
        "model.backbone": backbone,
        "model.weights": "imagenet",
        "model.cut": cut,
        "model.trained_stages": trained,
    }


def scratch(backbone: str) -> Settings:
    """A whole net from random weights."""
    return {
        "model.backbone": backbone,
        "model.weights": "random",
        "model.cut": "top",
        "model.trained_stages": "all",
    }


def head(
    *hidden: int,
    pooling: str = "flatten",
    batch_norm: bool = False,
    dropout: float = 0.0,
    output: str = "sigmoid",
    style: str = "keras",
) -> Settings:
    """The head: layers on top of the backbone; without hidden units it is linear."""
    return {
        "model.head.pooling": pooling,
        "model.head.hidden": hidden,
        "model.head.batch_norm": batch_norm,
        "model.head.dropout": dropout,
        "model.head.output": output,
        "model.head.style": style,
    }


def optimizer(name: str, lr: float, **more: Any) -> Settings:
    """An optimiser; more of its settings by name."""
    return {"optimizer.name": name, "optimizer.lr": lr} | _under("optimizer", more)


def training(epochs: int, batch_size: int, augmentation: str, **more: Any) -> Settings:
    """The training loop; more of its settings by name."""
    own = {"epochs": epochs, "batch_size": batch_size, "augmentation": augmentation}
    return _under("training", own | more)


def image(size_px: int, scaling: str, **more: Any) -> Settings:
    """The input image of the first stage; more of its settings by name."""
    return _under("input", {"size_px": size_px, "scaling": scaling} | more)


def _under(prefix: str, values: Mapping[str, Any]) -> Settings:
    return {f"{prefix}.{name}": value for name, value in values.items()}
