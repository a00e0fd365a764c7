"""Source system 003 (Scuccimarra, "ConvNets for classifying DDSM"): own nets on 299x299 tiles.

Abnormal tiles came from CBIS-DDSM and normal ones from DDSM, other scanners and other files, and normal tiles
that overlap were split tile by tile: the author later found that the nets relied on intensity and contrast.
TensorFlow's `l2_regularizer` is a weight decay of the same value; it left out the last layer, ours does not.
"""

from typing import Any, Final

from search_spaces.recipes.parts import Settings, head, image, optimizer, point, scratch, training
from search_spaces.recipes.recipe import EvaluationProtocol, Recipe, ReportedScore

_NA, _FIVE = "normal_abnormal", "five_class"
# Test tiles of each data set, and the abnormal ones among them by the printed shares.
_TILES: Final = {6: (15_822, 2_570), 8: (5_636, 940), 9: (6_011, 1_002)}
_MIAS_TILES, _MIAS_ABNORMAL = 3_075, 357
_PROTOCOLS: Final = {
    6: EvaluationProtocol(folds=1, holdout=0.2, test_share=0.2, is_naive=True),
    8: EvaluationProtocol(folds=1, holdout=1 / 9, test_share=0.1, is_naive=True),
    9: EvaluationProtocol(folds=1, holdout=1 / 9, test_share=0.1, is_naive=True),
}
_FLIPS: Final = "flips in the last 5 epochs, since they were used mainly for the last ones"
_COLLAPSE: Final = "It calls nearly every tile abnormal"
_NEGATIVE: Final = "It calls nearly every tile normal"
_CODES: Final = "five finding codes"


def _step(every: int) -> Settings:
    """Adam at 1e-3, a fifth less every `every` epochs."""
    return optimizer("adam", 1e-3, schedule="step", step_epochs=every)


def _loop(epochs: int, *, data: int, weight: float = 2.0, **more: Any) -> Settings:
    """Training settings on a data set: batches of 64 on number 6, otherwise of 32."""
    batch = 64 if data == 6 else 32
    return training(epochs, batch, "e003", class_weight=weight, augment_last=5, **more)


def _s1_0_0(scaling: str, conv_l2: float = 1e-5) -> Settings:
    """The net of version 1.0.0; `scaling` is `raw` in .29, `unit` in .35 and `centred_scaled` in .46."""
    return (
        scratch("s1_0_0")
        | head(2048, 2048, batch_norm=True, dropout=0.5, output="softmax", style="tf003")
        | image(299, scaling, clip=True)
        | _step(5)
        | {"optimizer.weight_decay": 2.5e-3, "optimizer.stage_weight_decay": conv_l2}
    )


_V29: Final = _s1_0_0("raw")
_V35: Final = _s1_0_0("unit")
_V46: Final = _s1_0_0("centred_scaled", 1e-4)
_VGG: Final = (
    scratch("vgg_lite")
    | head(1024, 512, batch_norm=True, dropout=0.5, output="softmax", style="tf003")
    | image(299, "centred_scaled", contrast=2.0, clip=True)
    | _step(10)
    | {"optimizer.weight_decay": 2.5e-3, "optimizer.stage_weight_decay": 0.0}
)
_INCEPTION: Final = (
    scratch("inception_lite")
    | head(pooling="gap", dropout=0.2, output="softmax", style="tf003")
    | image(299, "centred_scaled", clip=True)
    | _step(5)
)


def _tested(data: int, accuracy: float, recall: float, note: str = "") -> tuple[ReportedScore, ...]:
    """Accuracy and recall on the test tiles of a data set."""
    images, positives = _TILES[data]
    return (
        ReportedScore("accuracy", accuracy, images, "test", note),
        ReportedScore("recall", recall, images, "test", note, positives),
    )


def _mias(accuracy: float, recall: float, note: str = "") -> tuple[ReportedScore, ...]:
    return (
        ReportedScore("accuracy", accuracy, _MIAS_TILES, "test", note or "MIAS"),
        ReportedScore("recall", recall, _MIAS_TILES, "test", note or "MIAS", _MIAS_ABNORMAL),
    )


def _net(
    name: str, about: str, data: int, *points: Settings, task: str = _NA, choice: str = "", **more: Any
) -> Recipe:
    """A recipe on one of the source's data sets."""
    needs = ("normal tiles", _CODES) if task == _FIVE else ("normal tiles",)
    if any(settings["training.first_phase"] == _FIVE for settings in points):
        needs = ("normal tiles", _CODES)
    return Recipe(
        name,
        task,
        about,
        points,
        _PROTOCOLS[data],
        needs=needs,
        choice=f"{choice}; {_FLIPS}" if choice else _FLIPS.capitalize(),
        **more,
    )


def _five_first(**more: Any) -> Settings:
    return {f"training.{key}": value for key, value in {"first_phase": _FIVE, **more}.items()}


_LATER_WEIGHTS: Final = (
    *_tested(9, 0.9364, 0.7007, "weight 4, later work"),
    *_tested(9, 0.9571, 0.9012, "weight 6, later work"),
    *_tested(9, 0.8279, 0.0, "weight 2, later work"),
)
_WITHOUT_CONTRAST: Final = "on the later net 2.0.0.35, threshold .5"

_BINARY: Final = (
    _net(
        "E003-1",
        "1.0.0.46 on data set 6",
        6,
        point(_V46, _loop(20, data=6)),
        figures=_tested(6, 0.1810, 1.0),
        doubt=_COLLAPSE,
    ),
    _net(
        "E003-2",
        "1.0.0.29 on data set 8, raw pixels",
        8,
        point(_V29, _loop(30, data=8)),
        figures=_tested(8, 0.9930, 1.0),
        doubt='The author later called it "a fluke"',
    ),
    _net(
        "E003-3",
        "1.0.0.35 on data set 8",
        8,
        point(_V35, _loop(20, data=8)),
        figures=_tested(8, 0.9678, 0.8732),
    ),
    _net(
        "E003-4",
        "1.0.0.46 on data set 8, five classes first",
        8,
        point(_V46, _loop(10, data=8), _five_first(first_phase_epochs=20)),
        figures=_tested(8, 0.9896, 0.9776),
        choice="The convolutions go on learning; five classes learned on the same data, not on set 6",
    ),
    _net(
        "E003-5",
        "1.0.0.35 on data set 9",
        9,
        point(_V35, _loop(20, data=9)),
        figures=_tested(9, 0.9346, 0.8998),
        choice="Weight 2, though the author later found that it collapses and 6 does not",
    ),
    _net(
        "E003-6",
        "1.0.0.46 on data set 9",
        9,
        point(_V46, _loop(30, data=9)),
        figures=_tested(9, 0.8370, 0.0392),
        doubt=_NEGATIVE,
    ),
    _net(
        "E003-7",
        "VGG-lite on data set 8, five classes first",
        8,
        point(_VGG, _loop(10, data=8), _five_first(first_phase_epochs=20, first_phase_freezes=True)),
        figures=_tested(8, 0.8747, 0.2951),
        choice="Only the dense layers learn on; five classes learned on the same data, not on set 6",
    ),
    _net(
        "E003-8",
        "VGG-lite on data set 9, weight 3",
        9,
        point(_VGG, _loop(30, data=9, weight=3.0)),
        figures=(
            *_tested(9, 0.8881, 0.3589),
            *_tested(9, 0.9268, 0.9005, "16.3.06, weights 6 to 4 and flips, later work"),
        ),
    ),
    _net(
        "E003-9",
        "Inception-lite on data set 9",
        9,
        point(_INCEPTION, _loop(20, data=9)),
        figures=_tested(9, 0.1828, 1.0),
        choice="Averaged features, as in the code; the text flattens",
        doubt=_COLLAPSE,
    ),
)

_FIVE_CLASSES: Final = (
    _net(
        "E003-10",
        "1.0.0.29, five classes, data set 6",
        6,
        point(_V29, _loop(40, data=6)),
        task=_FIVE,
        figures=_tested(6, 0.9142, 0.9353, "recall of any abnormality"),
    ),
    _net(
        "E003-11",
        "1.0.0.46, five classes, data set 8",
        8,
        point(_V46, _loop(20, data=8)),
        task=_FIVE,
        figures=_tested(8, 0.1139, 1.0, "recall of any abnormality"),
        doubt=_COLLAPSE,
    ),
    _net(
        "E003-12",
        "1.0.0.46, five classes, data set 6",
        6,
        point(_V46, _loop(20, data=6)),
        task=_FIVE,
        figures=_tested(6, 0.8187, 0.0, "recall of any abnormality"),
        doubt=_NEGATIVE,
    ),
    _net(
        "E003-13",
        "VGG-lite, five classes, data set 6",
        6,
        point(_VGG, _loop(20, data=6)),
        task=_FIVE,
        figures=_tested(6, 0.8333, 0.0288, "recall of any abnormality"),
        doubt="Its code took the first abnormal class for normal",
    ),
)

_SWEEPS: Final = (
    _net(
        "E003-15",
        "Class weight 1 to 4",
        9,
        *(point(_V35, _loop(20, data=9, weight=weight)) for weight in (1.0, 2.0, 3.0, 4.0)),
        figures=_LATER_WEIGHTS,
        choice="On 1.0.0.35, as the author's later sweep",
    ),
    _net(
        "E003-16",
        "Raw, [0, 1], centred, centred and scaled",
        9,
        *(
            point(_s1_0_0(scaling), _loop(20, data=9))
            for scaling in ("raw", "unit", "centred", "centred_scaled")
        ),
        choice="On the net of 1.0.0.35, whose [0, 1] was best",
    ),
    _net(
        "E003-17",
        "Contrast 1.1 in training, 1.5 or 1.8 at test",
        9,
        *(
            point(_V35, _loop(20, data=9), {"input.contrast": 1.1, "input.contrast_test": at_test})
            for at_test in (1.5, 1.8)
        ),
        figures=(
            ReportedScore("accuracy", 0.413, None, "test", f"contrast 1.5 at test, {_WITHOUT_CONTRAST}"),
            ReportedScore("recall", 0.991, None, "test", f"contrast 1.5 at test, {_WITHOUT_CONTRAST}"),
            ReportedScore("accuracy", 0.961, None, "test", f"contrast 1 at test, {_WITHOUT_CONTRAST}"),
            ReportedScore("recall", 0.942, None, "test", f"contrast 1 at test, {_WITHOUT_CONTRAST}"),
        ),
        choice="On 1.0.0.35; a threshold does the same without the loss of precision",
    ),
    _net(
        "E003-18",
        "Threshold from .05 to .95, with the PR curve",
        9,
        point(_V35, _loop(20, data=9, weight=4.0)),
        figures=tuple(
            ReportedScore(
                metric, value, None, "test", f"threshold {threshold}, later net 2.0.0.35, later work"
            )
            for threshold, *values in (
                (0.4, 0.954, 0.943),
                (0.2, 0.941, 0.979),
                (0.65, 0.968, 0.928),
                (0.95, 0.967, 0.826),
            )
            for metric, value in zip(("accuracy", "recall"), values, strict=True)
        ),
        choice="On 1.0.0.35 with weight 4; one trial, whose report sweeps the threshold",
    ),
)

_FOREIGN: Final = "Epochs are not given: those of the nearest binary run"
_BELOW: Final = "Below the .884 of calling every MIAS tile normal"

_MIAS: Final = (
    _net(
        "E003-MIAS-1",
        "1.0.0.35, weight 6, data set 9, tested on MIAS",
        9,
        point(_V35, _loop(20, data=9, weight=6.0)),
        figures=(
            *_mias(0.7156, 0.8905),
            *_mias(0.8883, 0.8081, "MIAS, 40 epochs with weights 6 and 5, later work"),
        ),
        choice=f"{_FOREIGN}; the 6 of b.96 read as the weight",
        doubt=_BELOW,
    ),
    _net(
        "E003-MIAS-2",
        "VGG-lite, data set 9, tested on MIAS",
        9,
        point(_VGG, _loop(30, data=9, weight=3.0)),
        figures=(*_mias(0.9314, 0.6517), *_mias(0.9075, 0.7898, "MIAS, 16.3.06, later work")),
        choice=_FOREIGN,
    ),
    _net(
        "E003-MIAS-3",
        "1.0.0.28.2, data set 9, tested on MIAS",
        9,
        point(_V35, _loop(20, data=9)),
        figures=_mias(0.9165, 0.5342),
        choice=f"{_FOREIGN}; its final code is that of 1.0.0.35",
    ),
    _net(
        "E003-MIAS-4",
        "1.0.0.46, weight 4, data set 8, tested on MIAS",
        8,
        point(_V46, _loop(10, data=8, weight=4.0)),
        figures=(
            ReportedScore("accuracy", 0.2746, 2_119, "test", "MIAS as in data set 8"),
            ReportedScore("recall", 0.9811, 2_119, "test", "MIAS as in data set 8"),
        ),
        choice=f"{_FOREIGN}; the 4 of b.8.4 read as the weight",
        doubt=_BELOW,
    ),
)

RECIPES: Final = (*_BINARY, *_FIVE_CLASSES, *_SWEEPS, *_MIAS)
