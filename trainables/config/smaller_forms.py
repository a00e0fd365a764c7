"""Forms of a configuration that need fewer passes through frozen nets than it does."""

from collections.abc import Iterator
from typing import Any

from trainables.config.trial_config import TrialConfig


def smaller_forms(config: TrialConfig) -> Iterator[TrialConfig]:
    """Yield forms of a configuration that need less of its features, the nearest first.

    A trained head is trained and predicts on plain images, without augmentation. A closed-form head, which
    sees plain images anyway, has the taps of one of its nets alone.

    Args:
        config: The trial.

    >>> from trainables.config.trial_config import decode
    >>> config = decode({"model.backbone": "vgg16", "training.augmentation": "d4"})
    >>> [form.training.augmentation for form in smaller_forms(config)]
    ['none']
    >>> taps = {"model.backbone": "vgg16", "model.also": "vgg16/top+1,resnet50/top", "classical.name": "lda"}
    >>> [(form.model.backbone, form.model.also) for form in smaller_forms(decode(taps))]
    [('vgg16', ('vgg16/top+1',)), ('resnet50', ())]
    """
    if config.classical.name == "none":
        plain = {"augmentation": "none", "average_views": False, "augment_last": None}
        form = config.model_copy(update={"training": config.training.model_copy(update=plain)})
        if form != config:
            yield form
        return
    taps = [(config.model.backbone, config.model.cut)]
    taps += [(backbone, cut) for backbone, _, cut in (tap.rpartition("/") for tap in config.model.also)]
    backbones = dict.fromkeys(backbone for backbone, _ in taps)
    if len(backbones) > 1:
        yield from (_with_one(config, [own for own in taps if own[0] == one]) for one in backbones)


def _with_one(config: TrialConfig, taps: list[tuple[str, str]]) -> TrialConfig:
    (backbone, cut), *others = taps
    changes: dict[str, Any] = {
        "backbone": backbone,
        "cut": cut,
        "also": tuple("/".join(tap) for tap in others),
    }
    if backbone != config.model.backbone:  # only the first tap may be a flattened map
        changes["head"] = config.model.head.model_copy(update={"pooling": "gap"})
    return config.model_copy(update={"model": config.model.model_copy(update=changes)})
