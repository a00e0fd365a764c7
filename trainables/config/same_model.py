"""When two configurations are the same model, though they are written differently."""

import hashlib

from trainables.config.trial_config import TrialConfig, flatten

_TAPS = ("model.backbone", "model.cut", "model.also")


def model_of(config: TrialConfig) -> str:
    """Return a short text that two configurations share if they are the same model but for the seed.

    A closed-form head takes the pooled features of its taps side by side, and their order changes nothing.

    >>> from trainables.config.trial_config import decode
    >>> head = {"classical.name": "lda", "model.backbone": "vgg16"}
    >>> one = decode({**head, "model.cut": "top", "model.also": "vgg16/top+1,texture/top"})
    >>> other = decode({**head, "model.cut": "top+1", "model.also": "texture/top,vgg16/top"})
    >>> model_of(one) == model_of(other)
    True
    """
    settings = flatten(config.model_dump(mode="json"))
    if config.classical.name != "none" and config.model.head.pooling == "gap":
        first = f"{config.model.backbone}/{config.model.cut}"
        for name in _TAPS:
            settings.pop(name)
        settings["taps"] = sorted({first, *config.model.also})
    return hashlib.blake2b(repr(sorted(settings.items())).encode(), digest_size=16).hexdigest()
