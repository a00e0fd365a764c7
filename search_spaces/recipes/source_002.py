"""Source system 002 (Kreiss): healthy or sick, on whole INbreast mammograms.

Its figures exist as pictures only.
"""

from typing import Final

from search_spaces.recipes.parts import head, image, optimizer, point, pretrained, training
from search_spaces.recipes.recipe import EvaluationProtocol, Recipe

# Its augmentation made 3,104 negatives of 313 and 1,992 positives of 75, which weighs a positive 2.7 times.
_POINT: Final = point(
    pretrained("inception_v3"),
    head(pooling="conv", output="softmax") | {"model.head.filters": 256},
    image(299, "auto"),
    optimizer("adam", 1e-3),
    training(30, 32, "e002", class_weight=2.7),
)
_CHOICE: Final = (
    "299 pixels, frozen stages, 256 filters of 3x3, 30 epochs and the strength of the augmentation are not "
    "given; more copies of positives became class weight 2.7; split by patient"
)
_NEEDS: Final = ("whole mammograms with BI-RADS", "ImageNet weights of inception_v3")

RECIPES: Final = (
    Recipe(
        "E002-1",
        "healthy_sick",
        "Frozen Inception, one trained convolution, two outputs",
        (_POINT,),
        EvaluationProtocol(folds=5, test_share=0.0),
        choice=_CHOICE,
        needs=_NEEDS,
    ),
    Recipe(
        "E002-2",
        "healthy_sick",
        "The same, trained on all training data",
        (_POINT,),
        EvaluationProtocol(folds=5, refits=True),
        choice=(
            "The source tested on images that it had trained on. This one trains once more "
            f"on the whole training part and tests on sealed patients. {_CHOICE}"
        ),
        needs=_NEEDS,
        doubt="The source tested on images that it had trained on",
    ),
)
