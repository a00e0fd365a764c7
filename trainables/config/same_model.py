"""When two configurations are the same model, though they are written differently."""

import hashlib

from trainables.config.trial_config import InputConfig, TrialConfig, flatten

_TAPS = ("model.backbone", "model.cut", "model.also")


def normal_form(config: TrialConfig, *, usual_px: int | None = None, columns: int = 0) -> TrialConfig:
    """Return the configuration in which settings that change nothing are as they are by default.

    The contrast of the test images is `same` where it is that of training. Without more contrast nothing is
    clipped, and without equalisation it has no grid. A side that the images would have anyway is left open.
    Of more principal components than there are columns there are as many as columns.

    Args:
        config: Configuration.
        usual_px: Side of the input in pixels where the configuration leaves it open; None where that is not
            known, or differs between the nets of the configuration.
        columns: Numbers of each image that a closed-form head reads; 0 where that is not known.

    >>> from trainables.config.trial_config import decode
    >>> head = {"classical.name": "lda", "classical.pca": 64, "model.backbone": "intensity"}
    >>> found = normal_form(decode({**head, "input.contrast_test": 1.0, "input.clip": True}), columns=10)
    >>> found.input == decode(head).input, found.classical.pca
    (True, 10)
    """
    own, unset = config.input, InputConfig()
    changed: dict[str, object] = {}
    if own.contrast_at_test == own.contrast:
        changed["contrast_test"] = None
    if own.contrast == own.contrast_at_test == 1.0:
        changed["clip"] = False
    if own.clahe is None:
        changed["clahe_grid"] = unset.clahe_grid
    if own.size_px == usual_px:
        changed["size_px"] = None
    classical = config.classical
    if columns and classical.pca > columns:
        classical = classical.model_copy(update={"pca": columns})
    return config.model_copy(update={"input": own.model_copy(update=changed), "classical": classical})


def model_of(config: TrialConfig) -> str:
    """Return a short text that two configurations share if they are the same model but for the seed.

    A closed-form head takes the pooled features of its taps side by side, and their order changes nothing.
    Settings that change nothing whatever the images are do not count; `normal_form` knows more of them.

    >>> from trainables.config.trial_config import decode
    >>> head = {"classical.name": "lda", "model.backbone": "vgg16"}
    >>> one = decode({**head, "model.cut": "top", "model.also": "vgg16/top+1,texture/top"})
    >>> other = decode({**head, "model.cut": "top+1", "model.also": "texture/top,vgg16/top"})
    >>> model_of(one) == model_of(other)
    True
    """
    settings = flatten(normal_form(config).model_dump(mode="json"))
    if config.classical.name != "none" and config.model.head.pooling == "gap":
        first = f"{config.model.backbone}/{config.model.cut}"
        for name in _TAPS:
            settings.pop(name)
        settings["taps"] = sorted({first, *config.model.also})
    return hashlib.blake2b(repr(sorted(settings.items())).encode(), digest_size=16).hexdigest()
