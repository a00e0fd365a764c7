"""Parts that the recipes of source 001 share: its data, its figures, its frozen nets."""

from typing import Final

from search_spaces.recipes.parts import head, image, optimizer
from search_spaces.recipes.recipe import EvaluationProtocol, ReportedScore

MC, BM = "mass_calcification", "benign_malignant"
TASKS: Final = (MC, BM)
TEST, CALCIFICATIONS, MALIGNANT = 336, 157, 117
POSITIVES: Final = {MC: CALCIFICATIONS, BM: MALIGNANT}
FOLDED: Final = 2_676  # patches outside the test, each in the validation part once
VALIDATED: Final = 803  # 30 % of them

HOLDOUT: Final = EvaluationProtocol(folds=1, holdout=0.3)
FOUR_FOLDS: Final = EvaluationProtocol(folds=4, refits=True)
ONE_CLASS: Final = "Its test accuracy is the share of benign patches: it most likely calls all of them benign"
LR: Final = "printed rates of 2^-5 and 2^-6 read as 2e-5"
DIFFERENCE: Final = {"model.pair": "diff"}
PAIRS: Final = "baseline pairs"

Figures = tuple[ReportedScore, ...]


def accuracies(train: float, validation: float, test: float, *, is_held_out: bool = True) -> Figures:
    """Three accuracies; the number of training patches is known for a hold-out, but not for the stacks."""
    validated, trained = (VALIDATED, FOLDED - VALIDATED) if is_held_out else (None, None)
    return (
        ReportedScore("accuracy", test, TEST, "test"),
        ReportedScore("accuracy", validation, validated, "validation"),
        ReportedScore("accuracy", train, trained, "train"),
    )


def folded(validation: float, test: float) -> Figures:
    """Accuracies of a cross-validation and of the test."""
    return ReportedScore("accuracy", test, TEST, "test"), ReportedScore(
        "accuracy", validation, FOLDED, "validation"
    )


def accuracy(value: float, note: str = "") -> ReportedScore:
    """Accuracy on the test."""
    return ReportedScore("accuracy", value, TEST, "test", note)


def auc(task: str, value: float) -> ReportedScore:
    """AUC on the test."""
    return ReportedScore("auc", value, TEST, "test", positives=POSITIVES[task])


def confusion(true_negative: int, false_positive: int, false_negative: int, true_positive: int) -> Figures:
    """Accuracy and recall of a printed confusion matrix, row by row."""
    positives = false_negative + true_positive
    images = true_negative + false_positive + positives
    note = "from the confusion matrix"
    return (
        ReportedScore("accuracy", round((true_negative + true_positive) / images, 4), images, "test", note),
        ReportedScore("recall", round(true_positive / positives, 4), images, "test", note, positives),
    )


INPUT: Final = image(150, "auto")
KINDS: Final = {
    "vgg16": head(256),
    "resnet50": head(256, pooling="gap", batch_norm=True),
    "inception_v3": head(256, pooling="gap"),
}
RULES: Final = {
    "vgg16": optimizer("rmsprop", 2e-5),
    "resnet50": optimizer("adam", 1e-3),
    "inception_v3": optimizer("rmsprop", 2e-5),
}
EPOCHS: Final = {"vgg16": 40, "resnet50": 50, "inception_v3": 40}
POOLING: Final = "what leads into the dense layer is not said: VGG16 flattens, the others average"
