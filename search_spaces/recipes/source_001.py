"""Source system 001 (Coccomini, Gholami, Zara): mass or calcification, benign or malignant; 150x150 patches.

All test accuracies are shares of 336 patches; 219 of them are benign, .6518. Its data name no patients, so
that no split could keep those together. Where it trained once more before the test (`refits`), it did so for
50 or 200 epochs, and not for as many as the points say, which are those of its folds.
"""

from collections.abc import Mapping
from typing import Any, Final

from search_spaces.recipes.parts import Settings, head, image, optimizer, point, pretrained, scratch, training
from search_spaces.recipes.recipe import EvaluationProtocol, Recipe, ReportedScore
from search_spaces.recipes.source_001_shared import (
    BM,
    DIFFERENCE,
    EPOCHS,
    FOLDED,
    FOUR_FOLDS,
    HOLDOUT,
    INPUT,
    KINDS,
    LR,
    MC,
    ONE_CLASS,
    PAIRS,
    POOLING,
    RULES,
    TASKS,
    Figures,
    accuracies,
    accuracy,
    auc,
    confusion,
    folded,
)

# --- nets from scratch ------------------------------------------------------------------------------------

_M1: Final = (
    scratch("m1_valid")
    | head(2048, 2048, batch_norm=True, dropout=0.5, style="tf003")
    | image(150, "unit")
    | optimizer("adam", 1e-3)
)
# Keras's l2 of 1e-4 is a weight decay of twice that.
_M2: Final = _M1 | {"optimizer.l1": 1e-5, "optimizer.weight_decay": 2e-4}
_M1_CHOICE: Final = (
    "Padding valid without the fifth convolution, the head of source system 003; Adam at 1e-3, since no "
    "optimiser is named"
)
_M2_CHOICE: Final = f"L1 1e-5 and L2 1e-4, printed 1e^5 and 1e^4. {_M1_CHOICE}"
_MAJORITY: Final = (0.6517, 0.6518)  # the share of benign patches in the test, as printed


def _scratch(
    name: str,
    about: str,
    body: Settings,
    loops: tuple[Settings, Settings],
    figures: Mapping[str, Figures],
    *,
    protocol: EvaluationProtocol = HOLDOUT,
    choice: str = _M1_CHOICE,
) -> tuple[Recipe, ...]:
    """Recipes of both tasks; `loops` holds the training settings in their order."""
    return tuple(
        Recipe(
            name,
            task,
            about,
            (point(body, loop),),
            protocol,
            figures[task],
            choice=choice,
            doubt=ONE_CLASS if figures[task][0].value in _MAJORITY else "",
        )
        for task, loop in zip(TASKS, loops, strict=True)
    )


def _loops(epochs: int, epochs_bm: int | None = None, **more: Any) -> tuple[Settings, Settings]:
    """Training settings for mass or calcification, and for benign or malignant."""
    both = (epochs, epochs if epochs_bm is None else epochs_bm)
    first, second = (training(count, 16, "e001_scratch", **more) for count in both)
    return first, second


_BALANCED: Final[Settings] = {"class_weight": "other_share"}
# Keras stops by the validation loss without the class weights.
_STOPPED: Final[Settings] = {
    "class_weight": "other_share",
    "patience": 4,
    "checkpoint_metric": "unweighted_loss",
}

_SCRATCH: Final = (
    *_scratch(
        "E001-1",
        "M1 from scratch, 30 epochs",
        _M1,
        _loops(30),
        {MC: accuracies(0.7588, 0.7397, 0.6726), BM: accuracies(0.5635, 0.4969, 0.4345)},
    ),
    *_scratch(
        "E001-2",
        "M1, class weights",
        _M1,
        _loops(30, **_BALANCED),
        {MC: accuracies(0.7899, 0.7460, 0.7202), BM: accuracies(0.5801, 0.6189, 0.6429)},
    ),
    *_scratch(
        "E001-3",
        "M1, class weights, 80 epochs with early stop",
        _M1,
        _loops(80, **_STOPPED),
        {MC: accuracies(0.7453, 0.8020, 0.7827), BM: accuracies(0.5111, 0.5903, 0.6518)},
    ),
    *_scratch(
        "E001-4",
        "M2: M1 with L1 and L2, class weights, early stop",
        _M2,
        _loops(30, **_STOPPED),
        {MC: accuracies(0.7758, 0.7584, 0.7530), BM: accuracies(0.5277, 0.5890, 0.6518)},
        choice=_M2_CHOICE,
    ),
    *_scratch(
        "E001-5",
        "M1 in ten folds",
        _M1,
        _loops(25, 30, **_BALANCED),
        {MC: folded(0.7543, 0.8035), BM: folded(0.6180, 0.6517)},
        choice=f"Class weights as in E001-2, since those had helped. {_M1_CHOICE}",
        protocol=EvaluationProtocol(folds=10, refits=True),
    ),
)

# --- pretrained nets --------------------------------------------------------------------------------------

# Stages that hold the last convolution; VGG16's is followed by a pool.
_LAST: Final = {"vgg16": 2, "resnet50": 1, "inception_v3": 1}
_TITLES: Final = {"vgg16": "VGG16", "resnet50": "ResNet50", "inception_v3": "Inception"}


def _frozen(name: str, backbone: str, figures: Mapping[str, Figures]) -> tuple[Recipe, ...]:
    loop = training(EPOCHS[backbone], 16, "e001")
    settings = point(pretrained(backbone), KINDS[backbone], INPUT, RULES[backbone], loop)
    choice = POOLING if backbone == "resnet50" else f"{LR}; {POOLING}"
    return tuple(
        Recipe(
            name,
            task,
            f"Frozen {_TITLES[backbone]}, 256 units",
            (settings,),
            FOUR_FOLDS,
            figures[task],
            choice=choice[0].upper() + choice[1:],
            needs=(f"ImageNet weights of {backbone}",),
        )
        for task in TASKS
    )


def _fine_tuning(backbone: str, first_epochs: int) -> Settings:
    """The head alone, then the last convolution with it."""
    slower = {"optimizer.stage_lr_factor": 0.1 if backbone == "resnet50" else 0.5}
    phases = {"first_phase": "head", "first_phase_epochs": first_epochs}
    return (
        pretrained(backbone, trained=_LAST[backbone])
        | KINDS[backbone]
        | INPUT
        | RULES[backbone]
        | slower
        | training(30, 16, "e001", **phases)
    )


_TUNING_CHOICE: Final = (
    "Rate and epochs of the fine-tuning are not given: 1e-5 for stages under RMSprop, 1e-4 under Adam, 30 "
    f"epochs after the head's own; {POOLING}"
)


def _tuned(backbone: str, figures: Mapping[str, Figures], **more: Any) -> tuple[Recipe, ...]:
    return tuple(
        Recipe(
            f"E001-9-{backbone.upper()}",
            task,
            f"{_TITLES[backbone]}, last convolution fine-tuned",
            (point(_fine_tuning(backbone, EPOCHS[backbone])),),
            FOUR_FOLDS,
            figures[task],
            choice=_TUNING_CHOICE,
            needs=(f"ImageNet weights of {backbone}",),
            doubt=more.get("doubt", "") if task == BM else "",
        )
        for task in TASKS
    )


def _tested(task: str, test: float, area: float, validation: float, note: str = "") -> Figures:
    return (
        accuracy(test, note),
        ReportedScore("accuracy", validation, FOLDED, "validation"),
        auc(task, area),
    )


_PRETRAINED: Final = (
    *_frozen(
        "E001-6",
        "vgg16",
        {
            MC: _tested(MC, 0.79, 0.870, 0.78, "the table says .78"),
            BM: _tested(BM, 0.64, 0.666, 0.64),
        },
    ),
    *_frozen(
        "E001-7",
        "resnet50",
        {
            MC: _tested(MC, 0.83, 0.912, 0.81, "the text says .81"),
            BM: (
                *confusion(119, 100, 42, 75),
                ReportedScore("accuracy", 0.65, FOLDED, "validation"),
                auc(BM, 0.640),
            ),
        },
    ),
    *_frozen(
        "E001-8",
        "inception_v3",
        {
            MC: _tested(MC, 0.79, 0.848, 0.81, "the table says .77"),
            BM: _tested(BM, 0.61, 0.583, 0.61, "the table says .62"),
        },
    ),
    *_tuned("vgg16", {MC: (accuracy(0.85),), BM: confusion(187, 32, 100, 17)}),
    *_tuned("resnet50", {MC: (accuracy(0.83),), BM: confusion(179, 40, 77, 40)}),
    *_tuned(
        "inception_v3",
        {MC: (accuracy(0.75),), BM: confusion(187, 32, 110, 7)},
        doubt="It finds 6 % of the malignant patches",
    ),
)

# --- siamese nets -----------------------------------------------------------------------------------------

_SIAMESE_CHOICE: Final = "Epochs are not given: 50; the signed difference of encoded features (V2)"


def _siamese(
    name: str,
    about: str,
    settings: Settings,
    figures: Mapping[str, Figures],
    *,
    choice: str,
    backbone: str = "",
) -> tuple[Recipe, ...]:
    needs = (PAIRS, f"ImageNet weights of {backbone}") if backbone else (PAIRS,)
    return tuple(
        Recipe(
            name,
            task,
            about,
            (point(settings, DIFFERENCE),),
            FOUR_FOLDS,
            figures[task],
            choice=choice,
            needs=needs,
        )
        for task in TASKS
    )


def _frozen_branch(backbone: str) -> Settings:
    """The settings of the frozen net, but with Adam, as in all siamese nets of the source."""
    rule = optimizer("adam", 1e-3)
    return pretrained(backbone) | KINDS[backbone] | INPUT | rule | training(50, 16, "e001")


def _tuned_branch(backbone: str) -> Settings:
    slower = {"optimizer.stage_lr_factor": 0.1}
    return _fine_tuning(backbone, 50) | optimizer("adam", 1e-3) | slower


_SIAMESE: Final = (
    *_siamese(
        "E001-10",
        "Siamese net from scratch",
        scratch("sia6conv")
        | head(256)
        | image(150, "unit")
        | optimizer("adam", 1e-3)
        | training(50, 16, "e001"),
        {
            MC: (*confusion(119, 60, 51, 106), auc(MC, 0.733)),
            BM: (*confusion(185, 34, 87, 30), auc(BM, 0.582)),
        },
        choice=f"{_SIAMESE_CHOICE}; filters 32 and 64, no dropout",
    ),
    *_siamese(
        "E001-11",
        "Siamese frozen VGG16",
        _frozen_branch("vgg16"),
        {MC: (accuracy(0.81), auc(MC, 0.891)), BM: (accuracy(0.67), auc(BM, 0.710))},
        choice=f"{_SIAMESE_CHOICE}; {POOLING}",
        backbone="vgg16",
    ),
    *_siamese(
        "E001-12",
        "Siamese VGG16, last convolution fine-tuned",
        _tuned_branch("vgg16"),
        {MC: (accuracy(0.86),), BM: (accuracy(0.64),)},
        choice=f"{_SIAMESE_CHOICE}, then 30 with stages at 1e-4; {POOLING}",
        backbone="vgg16",
    ),
    *_siamese(
        "E001-13",
        "Siamese frozen ResNet50",
        _frozen_branch("resnet50"),
        {
            MC: (accuracy(0.84), auc(MC, 0.900)),
            BM: (*confusion(172, 47, 64, 53), auc(BM, 0.676)),
        },
        choice=f"{_SIAMESE_CHOICE}; {POOLING}",
        backbone="resnet50",
    ),
    *_siamese(
        "E001-14",
        "Siamese ResNet50, last block fine-tuned",
        _tuned_branch("resnet50"),
        {MC: (accuracy(0.83),), BM: (accuracy(0.68),)},
        choice=f"{_SIAMESE_CHOICE}, then 30 with stages at 1e-4; {POOLING}",
        backbone="resnet50",
    ),
)

RECIPES: Final = (*_SCRATCH, *_PRETRAINED, *_SIAMESE)
