"""Recipes that did best in our own searches, and the baseline that every search of images begins with."""

from typing import Any, Final

from search_spaces.recipes.parts import Settings, head, optimizer, point, pretrained, training
from search_spaces.recipes.recipe import EvaluationProtocol, Recipe
from trainables.config.baseline import BASELINE_BACKBONE
from trainables.config.tasks import TASKS

_LITE0: Final = "ImageNet weights of efficientnet_lite0"


def _closed_form(backbone: str, name: str, *, cut: str = "top", also: str = "none", **own: Any) -> Settings:
    """A closed-form head on the pooled features of a backbone, and of further taps."""
    settings = {"classical.name": name, "classical.standardize": True, "model.also": also}
    return point(
        pretrained(backbone, cut=cut),
        head(pooling="gap"),
        optimizer("adam", 1e-3),
        training(1, 32, "none"),
        settings,
        {f"classical.{setting}": value for setting, value in own.items()},
    )


_FROZEN_LITE0: Final = point(
    pretrained("efficientnet_lite0"),
    head(256, pooling="gap", dropout=0.5),
    optimizer("adam", 5e-4, weight_decay=1e-4, schedule="cosine"),
    training(30, 32, "d4", patience=8, class_weight="balanced", average_views=True),
)

# Name, description, settings and needs of each closed-form recipe, the baseline first. Levels and strengths
# are those of the table in docs/lab_log.md; none of them takes a second once its features are there.
_CLOSED_FORM: Final[tuple[tuple[str, str, Settings, tuple[str, ...]], ...]] = (
    (
        "colour-intensity",
        "Logistic regression on colour and intensity only",
        _closed_form(BASELINE_BACKBONE, "logistic", c=0.1),
        (),
    ),
    (
        "logistic-lite0",
        "Logistic regression on pooled Lite0 features",
        _closed_form("efficientnet_lite0", "logistic", cut="top+1", c=0.01),
        (_LITE0,),
    ),
    (
        "logistic-levels",
        "Logistic regression on three levels of Lite0",
        _closed_form(
            "efficientnet_lite0",
            "logistic",
            also="efficientnet_lite0/top+1,efficientnet_lite0/top+2",
            c=1e-3,
        ),
        (_LITE0,),
    ),
    (
        "logistic-vgg16",
        "Logistic regression on the fourth block of VGG16",
        _closed_form("vgg16", "logistic", cut="block4", c=0.01),
        ("ImageNet weights of vgg16",),
    ),
    (
        "lda-lite0",
        "Shrunk linear discriminants on an early level of Lite0",
        _closed_form("efficientnet_lite0", "lda", cut="top+2"),
        (_LITE0,),
    ),
)

BEST_OF_OURS: Final = (
    *(
        Recipe(name, task.name, about, (settings,), EvaluationProtocol(), needs=needs)
        for task in TASKS.values()
        if not task.takes_table
        for name, about, settings, needs in _CLOSED_FORM
    ),
    *(
        Recipe(
            name="frozen-lite0",
            task=task,
            about="Frozen EfficientNet-Lite0, small head, eight views averaged",
            points=(_FROZEN_LITE0,),
            protocol=EvaluationProtocol(),
            needs=(_LITE0,),
        )
        for task in ("benign_malignant", "mass_calcification", "normal_abnormal")
    ),
)
