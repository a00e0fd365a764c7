"""Classical models of source 003: on frozen features of MIAS, and on the Wisconsin tables."""

from itertools import product
from typing import Any, Final

from search_spaces.recipes.parts import Settings, head, image, optimizer, point, pretrained, training
from search_spaces.recipes.recipe import EvaluationProtocol, Recipe, ReportedScore

_FROZEN: Final = image(299, "auto") | optimizer("adam", 1e-3) | training(20, 32, "none")

# --- features of MIAS -------------------------------------------------------------------------------------

_IMAGES: Final = "MIAS images"
_FEATURES: Final = EvaluationProtocol(folds=5, test_share=0.2, is_naive=True)
_CUTS: Final = {
    "vgg19": ("block1", "block2", "block3", "block4", "block5_pool"),
    "inception_v3": ("Mixed_5d", "Mixed_6a", "Mixed_6c", "Mixed_6e", "Mixed_7a", "Mixed_7c"),
}
_LEVELS: Final = {
    "vgg19": "Features averaged; block2 ends before its pool, and fc6 is no stage here",
    "inception_v3": "Features averaged; levels of version 3 that are nearest to those named, of version 4",
}


def _neighbours(backbone: str) -> Recipe:
    return Recipe(
        f"E003-14-{backbone.upper()}",
        "normal_abnormal",
        f"Nearest neighbours on frozen {backbone} features, by level",
        tuple(
            point(
                pretrained(backbone, cut=cut),
                head(pooling="gap"),
                _FROZEN,
                {"classical.name": "knn", "classical.neighbours": count, "classical.minkowski_p": power},
            )
            for cut, count, power in product(_CUTS[backbone], (10, 15, 20, 25, 30), (1, 2))
        ),
        _FEATURES,
        (
            ReportedScore("accuracy", 0.7077, 65, "test", "the best of all levels of both nets"),
            ReportedScore("accuracy", 0.634, 257, "validation", "the best of all levels of both nets"),
        ),
        choice=_LEVELS[backbone],
        needs=(_IMAGES, f"ImageNet weights of {backbone}"),
        doubt="No better than calling every image normal",
    )


_HEADS: Final = Recipe(
    "E003-14-HEADS",
    "normal_abnormal",
    "New last layer on frozen VGG19 or Inception",
    tuple(point(pretrained(backbone), head(pooling="gap", output="softmax"), _FROZEN) for backbone in _CUTS),
    EvaluationProtocol(folds=1, holdout=1 / 9, test_share=0.1, is_naive=True),
    choice="One dense layer, Adam at 1e-3, 20 epochs: only the outcome is given, at or below the majority",
    needs=("normal tiles", *(f"ImageNet weights of {backbone}" for backbone in _CUTS)),
)

# --- the Wisconsin tables ---------------------------------------------------------------------------------

_PENALTIES: Final = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
_MASSES, _TESTED = 569, 114
_OTHERS: Final = ("original table (bcw)", "prognostic table (wpbc)")


def _table(
    name: str,
    about: str,
    figures: tuple[float, float, float],
    *sweep: Settings,
    folds: int = 5,
    images: int = _TESTED,
    **more: Any,
) -> Recipe:
    """A classical model; figures of the diagnostic table, which comes with scikit-learn, and two others."""
    model = {"classical.name": name, "classical.standardize": False}
    plain = point(pretrained("table"), head(), _FROZEN, {"input.size_px": None}, model)
    first, *others = figures
    return Recipe(
        f"E003-19-{name.upper()}",
        "wisconsin",
        about,
        tuple(point(plain, settings) for settings in sweep or ({},)),
        EvaluationProtocol(folds=folds, test_share=0.2),
        (
            ReportedScore("accuracy", first, images, "test"),
            *(
                ReportedScore("accuracy", value, None, "test", table)
                for value, table in zip(others, _OTHERS, strict=True)
            ),
        ),
        needs=("Wisconsin table",),
        **more,
    )


def _sweep(setting: str, values: tuple[float, ...]) -> tuple[Settings, ...]:
    return tuple({f"classical.{setting}": value} for value in values)


_WISCONSIN: Final = (
    _table(
        "svm",
        "Support vectors, radial basis",
        (0.5877, 0.9635, 0.7692),
        *_sweep("c", _PENALTIES),
        choice="Columns not scaled, which explains the source's figure",
        doubt="No better than calling every mass benign",
    ),
    _table(
        "linear_svm",
        "Support vectors, linear",
        (0.9385, 0.9562, 0.9487),
        *_sweep("c", (*_PENALTIES, 5.0)),
        folds=2,
    ),
    _table(
        "knn",
        "Nearest neighbours",
        (0.9473, 0.9473, 0.9230),
        *(
            {"classical.neighbours": count, "classical.minkowski_p": power}
            for count, power in product((1, 3, 5, 10, 15, 20, 25, 30), (1, 2))
        ),
    ),
    _table(
        "tree",
        "Decision tree",
        (0.9649, 0.9416, 0.6923),
        *_sweep("depth", (2, 3, 4, 5, 7, 10, 15, 20, 25)),
    ),
    _table(
        "mlp",
        "Perceptron of 64 and 48 units",
        (0.5877, 0.9635, 0.8205),
        {"classical.l2": 0.01, "classical.lr": 0.003, "classical.epochs": 100},
        choice="Columns not scaled, which explains the source's figure",
        doubt="No better than calling every mass benign",
    ),
    _table("majority", "The larger class for all", (0.6274, 0.6552, 0.8535), images=_MASSES),
    _table("stratified", "Guesses by the class shares", (0.5026, 0.5579, 0.7323), images=_MASSES),
)

RECIPES: Final = (_neighbours("vgg19"), _neighbours("inception_v3"), _HEADS, *_WISCONSIN)
