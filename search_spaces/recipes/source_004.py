"""Source system 004 (Acquavia, Mazzini): mass or calcification, and benign or malignant, on 150x150 patches.

Its figures for benign or malignant are of the test set, on which its models were chosen. Of those for mass or
calcification it does not say what they are of. Smaller classes are over-sampled, here after the split. Its
90-degree rotation is read as any angle up to 90, as Keras has it.
"""

from typing import Any, Final

from search_spaces.recipes.parts import Settings, head, image, optimizer, point, pretrained, scratch, training
from search_spaces.recipes.recipe import EvaluationProtocol, Recipe, ReportedScore

_MC, _BM = "mass_calcification", "benign_malignant"
_PROTOCOL: Final = EvaluationProtocol(folds=1, holdout=0.2)
_TEST, _MALIGNANT = 336, 117

_ADAM: Final = optimizer("adam", 1e-3)
_RMSPROP: Final = optimizer("rmsprop", 1e-3)
_GREY_TO_RGB: Final = {"model.channels": "conv1x1"}
_PIXELS: Final = image(150, "unit")
_MISSES: Final = "It finds next to no malignant patch"
_OVER: Final = {"sampling": "over"}


def _contrast(factor: float) -> Settings:
    return {"input.contrast": factor}


def _mc(accuracy: float, loss: float, auc: float) -> tuple[ReportedScore, ...]:
    note = "of the validation or the test part"
    values = {"accuracy": accuracy, "auc": auc, "loss": loss}
    return tuple(ReportedScore(metric, value, None, "validation", note) for metric, value in values.items())


def _bm(accuracy: float, loss: float, f2: float, auc: float) -> tuple[ReportedScore, ...]:
    return (
        ReportedScore("accuracy", accuracy, _TEST, "test"),
        ReportedScore("auc", auc, _TEST, "test", positives=_MALIGNANT),
        ReportedScore("f2", f2, _TEST, "test", positives=_MALIGNANT),
        ReportedScore("loss", loss, _TEST, "test"),
    )


def _overfitted(train: float, validation: float) -> tuple[ReportedScore, ...]:
    return ReportedScore("accuracy", validation, None, "validation"), ReportedScore(
        "accuracy", train, None, "train"
    )


def _recipe(
    name: str, task: str, about: str, *parts: Settings, figures: tuple[ReportedScore, ...] = (), **more: Any
) -> Recipe:
    settings = point(_PIXELS, *parts)
    backbone = settings["model.backbone"]
    needs: tuple[str, ...] = ()
    if settings["model.weights"] == "imagenet":
        needs = (f"ImageNet weights of {backbone}",)
    if settings["model.pair"] != "none":
        needs = ("baseline pairs",)
    return Recipe(f"E004-{name}", task, about, (settings,), _PROTOCOL, figures, needs=needs, **more)


# --- nets from scratch ------------------------------------------------------------------------------------

_SCRATCH4: Final = scratch("scratch4") | head(512)
_BATCH: Final = "Batch 32, which is not given"


def _scratch(
    name: str,
    about: str,
    rule: Settings,
    epochs: int,
    figures: tuple[ReportedScore, ...],
    augmentation: str = "e004",
) -> Recipe:
    loop = training(epochs, 32, augmentation, **_OVER)
    return _recipe(name, _MC, about, _SCRATCH4, rule, loop, figures=figures, choice=_BATCH)


def _scratch_bm(
    name: str,
    about: str,
    rule: Settings,
    contrast: float,
    epochs: int,
    figures: tuple[ReportedScore, ...],
    augmentation: str = "e004",
) -> Recipe:
    loop = training(epochs, 32, augmentation, **_OVER)
    parts = (_SCRATCH4, rule, _contrast(contrast), loop)
    return _recipe(name, _BM, about, *parts, figures=figures, choice=_BATCH)


_FROM_SCRATCH: Final = (
    _scratch("SCRATCH_1", "Scratch net, Adam, no augmentation", _ADAM, 50, _overfitted(0.97, 0.81), "none"),
    _scratch("SCRATCH_2", "Scratch net, Adam", _ADAM, 50, _mc(0.82, 0.39, 0.81)),
    _scratch("SCRATCH_3", "Scratch net, Adam, run again", _ADAM, 50, _mc(0.85, 0.32, 0.85)),
    _scratch("SCRATCH_4", "Scratch net, RMSprop", _RMSPROP, 50, _mc(0.87, 0.29, 0.87)),
    _scratch(
        "SCRATCH_5",
        "Scratch net, RMSprop at 3e-3",
        optimizer("rmsprop", 3e-3),
        50,
        _mc(0.85, 0.47, 0.85),
    ),
    _scratch("SCRATCH_6", "Scratch net, RMSprop, 35 epochs: its best", _RMSPROP, 35, _mc(0.87, 0.31, 0.87)),
    _scratch_bm("BM_V1", "Scratch net, no augmentation", _ADAM, 1.0, 45, _overfitted(0.95, 0.59), "none"),
    _scratch_bm("BM_V2", "Scratch net, Adam, contrast 2", _ADAM, 2.0, 30, _bm(0.57, 0.70, 0.68, 0.64)),
    _scratch_bm("BM_V3", "Scratch net, RMSprop, contrast 2", _RMSPROP, 2.0, 30, _bm(0.61, 0.63, 0.65, 0.61)),
    _scratch_bm("BM_V4", "Scratch net, RMSprop", _RMSPROP, 1.0, 30, _bm(0.60, 0.65, 0.63, 0.61)),
    _scratch_bm("BM_V5", "Scratch net, Adam", _ADAM, 1.0, 30, _bm(0.58, 0.68, 0.61, 0.61)),
    _scratch_bm(
        "BM_V6",
        "Scratch net, RMSprop, contrast 2: its best",
        _RMSPROP,
        2.0,
        30,
        _bm(0.65, 0.61, 0.61, 0.65),
    ),
)

# --- VGG16 ------------------------------------------------------------------------------------------------


def _vgg(cut: str = "top") -> Settings:
    return pretrained("vgg16", cut=cut) | _GREY_TO_RGB | head(512)


def _vgg_bm(
    name: str,
    about: str,
    rule: Settings,
    figures: tuple[ReportedScore, ...],
    *,
    cut: str = "top",
    batch: int = 32,
    **more: Any,
) -> Recipe:
    loop = training(20, batch, "e004", **_OVER)
    choice = "20 epochs, which are not given"
    parts = (_vgg(cut), _contrast(1.5), rule, loop)
    return _recipe(name, _BM, about, *parts, figures=figures, choice=choice, **more)


_VGGS: Final = (
    _recipe(
        "VGG_V1",
        _MC,
        "Frozen VGG16, no augmentation",
        *(_vgg(), _ADAM, training(60, 32, "none")),
        choice=_BATCH,
    ),
    _recipe(
        "VGG_V2",
        _MC,
        "Frozen VGG16",
        *(_vgg(), _ADAM, training(15, 32, "e004")),
        figures=_mc(0.81, 0.42, 0.81),
        choice=_BATCH,
    ),
    _recipe(
        "VGG_V3",
        _MC,
        "Frozen VGG16, RMSprop",
        *(_vgg(), _RMSPROP, training(15, 32, "e004")),
        figures=_mc(0.66, 0.65, 0.68),
        choice=f"What set it apart from V2 is not given: RMSprop was taken. {_BATCH}",
    ),
    _recipe(
        "VGG_V5",
        _MC,
        "Frozen VGG16, over-sampled: its best",
        *(_vgg(), _ADAM, training(15, 32, "e004", **_OVER)),
        figures=_mc(0.83, 0.41, 0.82),
        choice=f"Rate and epochs as V2. {_BATCH}",
    ),
    _recipe(
        "VGG_V6",
        _MC,
        "Frozen VGG16 without its last pool",
        *(_vgg("top+1"), _ADAM, training(15, 32, "e004")),
        figures=_mc(0.82, 0.38, 0.82),
        choice=f"Rate and epochs as V2. {_BATCH}",
    ),
    _vgg_bm(
        "VGG_BM_1",
        "Frozen VGG16, batch 50",
        _ADAM,
        _bm(0.67, 0.68, 0.10, 0.53),
        batch=50,
        doubt=_MISSES,
    ),
    _vgg_bm("VGG_BM_2", "Frozen VGG16", _ADAM, _bm(0.658, 0.61, 0.58, 0.63)),
    _vgg_bm(
        "VGG_BM_3",
        "Frozen VGG16 without block 5",
        _ADAM,
        _bm(0.58, 0.66, 0.69, 0.63),
        cut="block4",
    ),
    _vgg_bm("VGG_BM_4", "Frozen VGG16, RMSprop", _RMSPROP, _bm(0.65, 0.61, 0.44, 0.60)),
    _vgg_bm(
        "VGG_BM_BEST",
        "Frozen VGG16, Adam at 3e-3: its best",
        optimizer("adam", 3e-3),
        _bm(0.648, 0.63, 0.68, 0.67),
    ),
)

# --- Inception --------------------------------------------------------------------------------------------


def _net(cut: str, *hidden: int, dropout: float = 0.0, channels: str = "conv1x1") -> Settings:
    net = pretrained("inception_v3", cut=cut) | head(*hidden, dropout=dropout)
    return net | {"model.channels": channels}


def _inception(
    name: str,
    about: str,
    net: Settings,
    rule: Settings,
    epochs: int,
    figures: tuple[ReportedScore, ...],
    augmentation: str = "e004",
) -> Recipe:
    choice = f"Dropout .4 from INCEPTION_3 on: how much, and where besides 3, is not given. {_BATCH}"
    loop = training(epochs, 32, augmentation, **_OVER)
    return _recipe(f"INCEPTION_{name}", _MC, about, net, rule, loop, figures=figures, choice=choice)


def _inception_bm(
    name: str,
    about: str,
    net: Settings,
    rule: Settings,
    epochs: int,
    figures: tuple[ReportedScore, ...],
    doubt: str = "",
) -> Recipe:
    choice = f"Where dropout was on cannot be read: .4, and off in 1, 2 and 4. {_BATCH}"
    parts = (net, _contrast(1.5), rule, training(epochs, 32, "e004", **_OVER))
    title = f"Frozen Inception, {about}"
    return _recipe(f"INCEPTION_BM_{name}", _BM, title, *parts, figures=figures, choice=choice, doubt=doubt)


_TOP: Final = _net("top", 512)
_TOP_DROPOUT: Final = _net("top", 512, dropout=0.4)
_LOWER_DROPOUT: Final = _net("top+1", 512, dropout=0.4)
_DEEP: Final = _net("top", 512, 256)
_LOWER: Final = _net("top+1", 512, 256)
_LOWER_BEST: Final = _net("top+1", 512, 256, dropout=0.4)
_LOWEST: Final = _net("top+2", 512, 256, dropout=0.4)
_COPIED: Final = _net("top+1", 512, 256, dropout=0.4, channels="replicate")

_INCEPTIONS: Final = (
    _inception("1", "Frozen Inception, no augmentation", _TOP, _ADAM, 20, (), "none"),
    _inception("2", "Frozen Inception", _TOP, _ADAM, 20, _mc(0.85, 0.46, 0.85)),
    _inception("3", "Frozen Inception, dropout: its best", _TOP_DROPOUT, _ADAM, 15, _mc(0.86, 0.36, 0.87)),
    _inception("4", "Frozen Inception, RMSprop", _TOP_DROPOUT, _RMSPROP, 20, _mc(0.84, 0.35, 0.83)),
    _inception("5", "Frozen Inception, 20 epochs", _TOP_DROPOUT, _ADAM, 20, _mc(0.86, 0.32, 0.87)),
    _inception("6", "Frozen Inception, one level down", _LOWER_DROPOUT, _ADAM, 20, _mc(0.85, 0.35, 0.85)),
    _inception_bm("1", "full depth", _DEEP, _ADAM, 20, _bm(0.67, 0.62, 0.55, 0.64)),
    _inception_bm("2", "one level down", _LOWER, _ADAM, 10, _bm(0.70, 0.56, 0.44, 0.64)),
    _inception_bm("3", "dropout", _LOWER_BEST, _ADAM, 10, _bm(0.64, 0.62, 0.72, 0.68)),
    _inception_bm("4", "RMSprop", _LOWER, _RMSPROP, 10, _bm(0.70, 0.55, 0.49, 0.65)),
    _inception_bm("5", "RMSprop, dropout", _LOWER_BEST, _RMSPROP, 10, _bm(0.66, 0.59, 0.69, 0.68)),
    _inception_bm("6", "RMSprop, 20 epochs", _LOWER_BEST, _RMSPROP, 20, _bm(0.71, 0.56, 0.60, 0.68)),
    _inception_bm("7", "two levels down", _LOWEST, _ADAM, 20, _bm(0.68, 0.60, 0.19, 0.56), _MISSES),
    _inception_bm("BEST", "one level down: its best", _LOWER_BEST, _ADAM, 20, _bm(0.69, 0.58, 0.69, 0.70)),
    _inception_bm("REPLICATE", "its best, grey copied", _COPIED, _ADAM, 20, _bm(0.68, 0.57, 0.72, 0.71)),
)

# --- siamese nets and the ensemble ------------------------------------------------------------------------


def _siamese(
    number: int, about: str, epochs: int, figures: tuple[ReportedScore, ...], dropout: float = 0.0
) -> Recipe:
    net = (
        scratch("scratch4")
        | {"model.pair": "concat", "model.head.branch": (512,)}
        | head(512, dropout=dropout)
    )
    return _recipe(
        f"SIAMESE_{number}",
        _MC,
        about,
        *(net, _RMSPROP, training(epochs, 32, "e004", **_OVER)),
        figures=figures,
        choice="RMSprop at 1e-3, as in SCRATCH_6; flips too where it only rotated; dropout before the last "
        f"layer too. {_BATCH}",
    )


_SIAMESE: Final = (
    _siamese(1, "Siamese scratch net, flips and rotation", 50, _mc(0.83, 0.38, 0.83)),
    _siamese(2, "Siamese scratch net, run again", 50, _mc(0.82, 0.40, 0.82)),
    _siamese(3, "Siamese scratch net, run a third time", 50, _mc(0.75, 0.51, 0.73)),
    _siamese(4, "Siamese scratch net, rotation, 30 epochs", 30, _mc(0.82, 0.40, 0.81)),
    _siamese(5, "Siamese scratch net, dropout: its best", 50, _mc(0.84, 0.36, 0.83), 0.4),
)

_ENSEMBLE: Final = Recipe(
    "E004-ENSEMBLE",
    _BM,
    "Average of scratch net, VGG16 and Inception",
    (),
    _PROTOCOL,
    (
        ReportedScore("accuracy", 0.71, _TEST, "test"),
        ReportedScore("auc", 0.71, _TEST, "test", positives=_MALIGNANT),
        ReportedScore("f2", 0.68, _TEST, "test", positives=_MALIGNANT),
        ReportedScore("recall", 0.726, _TEST, "test", "from 32 missed patches", _MALIGNANT),
    ),
    needs=("ImageNet weights of vgg16", "ImageNet weights of inception_v3"),
    members=("E004-BM_V6", "E004-VGG_BM_BEST", "E004-INCEPTION_BM_BEST"),
    method="average",
)

RECIPES: Final = (*_FROM_SCRATCH, *_VGGS, *_INCEPTIONS, *_SIAMESE, _ENSEMBLE)
