"""Source system 000 (Levi-Raz, IDC capstone): invasive ductal carcinoma in 50x50 histology patches.

Its split went through single patches, so that patches of a patient lie in training and test alike.
"""

from itertools import product
from typing import Any, Final

from search_spaces.recipes.parts import Settings, head, image, optimizer, point, pretrained, scratch, training
from search_spaces.recipes.recipe import EvaluationProtocol, Recipe, ReportedScore

_TEST, _POSITIVES = 21_128, 6_347
_TRAINING: Final = 256_396
_PROTOCOL: Final = EvaluationProtocol(folds=7, test_share=0.076, is_naive=True)
_DATA: Final = "RGB histology"
_INPUT: Final = image(50, "auto")
_SGD: Final = optimizer("sgd", 1e-4, momentum=0.2)
_WEIGHTS: Final = "class weights taken as balanced, their formula is not given"

# Frozen: input, block1 and the two convolutions of block2, so seven of the nine stages train.
_VGG19: Final = pretrained("vgg19", trained=7)
_HEAD: Final = head(128, 128, dropout=0.4, output="softmax")


def _loop(epochs: int = 15, batch: int = 50, **more: Any) -> Settings:
    return training(epochs, batch, "idc", **({"class_weight": "balanced"} | more))


def _recipe(name: str, about: str, *points: Settings, backbone: str = "", **more: Any) -> Recipe:
    needs = (_DATA, f"ImageNet weights of {backbone}") if backbone else (_DATA,)
    protocol = more.pop("protocol", _PROTOCOL)
    return Recipe(name, "idc", about, tuple(points), protocol, needs=needs, **more)


def _other(name: str, about: str, backbone: str, trained: int, choice: str) -> Recipe:
    settings = point(pretrained(backbone, trained=trained), _HEAD, _INPUT, _SGD, _loop())
    return _recipe(name, about, settings, backbone=backbone, choice=choice)


_GRID: Final = tuple(
    point(_VGG19, _HEAD, _INPUT, rule, _loop(epochs, batch))
    for batch, rule, epochs in product(
        (25, 50, 100),
        (optimizer("adam", 1e-3), optimizer("rmsprop", 1e-3), _SGD, optimizer("adadelta", 1.0)),
        (5, 10, 15),
    )
)
_SIZES: Final = tuple(
    point(_VGG19, _HEAD, _INPUT, _SGD, _loop(train_fraction=min(1.0, round(images / _TRAINING, 3))))
    for images in (50_000, 100_000, 150_000, _TRAINING)
)

RECIPES: Final = (
    _recipe(
        "E000-1",
        "Benchmark: one convolution, two outputs",
        point(scratch("idc_bench"), head(output="softmax"), _INPUT, _SGD, _loop(class_weight="none")),
        figures=(
            ReportedScore("f1", 0.58, _TEST, "test", "mean over patches of both classes"),
            ReportedScore("accuracy", 0.70, _TEST, "test"),
            ReportedScore("recall", 0.0, _TEST, "test", positives=_POSITIVES),
        ),
        choice="Filters, kernel and optimiser are not given: 32 of 3x3, E000-3's optimiser; no class "
        "weights, as only without them does it collapse as reported",
        doubt="It calls every patch negative",
    ),
    _recipe(
        "E000-2",
        "First VGG19: six layers frozen, 64-64 units, one output",
        point(_VGG19, head(64, 64), _INPUT, _SGD, _loop()),
        backbone="vgg19",
        choice=f"Optimiser, batch and epochs are not given: E000-3's; {_WEIGHTS}",
    ),
    _recipe(
        "E000-3",
        "Final VGG19: six layers frozen, 128-128 units, two outputs",
        point(_VGG19, _HEAD, _INPUT, _SGD, _loop()),
        backbone="vgg19",
        figures=(
            ReportedScore(
                "f1", 0.88, _TEST, "test", "mean of both classes; which measure it is, is not said"
            ),
            ReportedScore("f1", 0.91, _TEST, "test", "negative class, reported as above 91 %"),
        ),
        choice=(
            "The text contradicts itself: dropout .4 without batch norm and L2, and 7 folds instead of 10, "
            f"were taken; ours drops before the first layer too; {_WEIGHTS}"
        ),
    ),
    _other(
        "E000-4-VGG16",
        "VGG16 in VGG19's place",
        "vgg16",
        6,
        "Only the name is given: E000-3's head and loop, blocks 1 and 2 frozen",
    ),
    _other(
        "E000-4-MOBILENET",
        "MobileNet in VGG19's place",
        "mobilenet_v1",
        5,
        "Only the name is given: E000-3's head and loop, version 1, the stem frozen",
    ),
    _other(
        "E000-4-NASNET",
        "NASNet in VGG19's place",
        "nasnet",
        17,
        "Only the name is given: E000-3's head and loop, NASNet-A Large, the stem frozen; Keras had its "
        "weights for 224 and 331 pixels only, so the source's may have been random",
    ),
    _recipe(
        "E000-5",
        "Grid over batch, optimiser and epochs",
        *_GRID,
        backbone="vgg19",
        choice=f"Other rates than that of SGD are Keras's defaults; folds 5 and 10 by --folds; {_WEIGHTS}",
    ),
    _recipe(
        "E000-6",
        "Data size: 50, 100, 150 and 256 thousand patches",
        *_SIZES,
        backbone="vgg19",
        choice=f"Sizes as shares of the training part; {_WEIGHTS}",
    ),
    _recipe(
        "E000-7",
        "Long run: 150 epochs, very small rate",
        point(_VGG19, _HEAD, _INPUT, optimizer("sgd", 1e-5, momentum=0.2), _loop(150)),
        backbone="vgg19",
        choice=f"The very small rate is not given: 1e-5; {_WEIGHTS}",
        protocol=EvaluationProtocol(folds=3, test_share=0.076, is_naive=True),
    ),
)
