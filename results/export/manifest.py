"""`manifest.json`: what a bundle is. Importing this takes neither torch nor ONNX Runtime."""

import datetime
from typing import Any, Final, Literal

from pydantic import Field, FiniteFloat

from results.run.split_labels import GROUPED, SplitName
from results.scores.bootstrap import Interval
from results.scores.calibration import Platt
from trainables.common.frozen import FrozenModel

FORMAT: Final = 1
MODEL_FILE: Final = "model.onnx"
MANIFEST_FILE: Final = "manifest.json"
CARD_FILE: Final = "model_card.md"


class ModelInput(FrozenModel):
    """What the file takes in.

    Attributes:
        name: Of the graph's input.
        dtype: int32 for 8 and 16 bit images, float32 for images in [0, 1].
        channels: 1: shape (B, H, W); 3: shape (B, H, W, 3), in the order red, green, blue.
        max_value: Largest raw value: 255, 65535, or 1.
        trained_shape: (H, W) or (H, W, 3) of the images of the search; other sizes are resized inside.
        how_to_feed: The same in a sentence.
    """

    name: str
    dtype: Literal["int32", "float32"]
    channels: Literal[1, 3]
    max_value: float
    trained_shape: tuple[int, ...]
    how_to_feed: str


class ExtraInput(FrozenModel):
    """What the file takes in besides the images.

    Attributes:
        name: Of the graph's input: `baseline`, images of the same shape and type; or `finding_type`, (B,).
        how_to_feed: What it holds, in a sentence.
    """

    name: Literal["baseline", "finding_type"]
    dtype: Literal["int32", "float32"]
    how_to_feed: str


class Member(FrozenModel):
    """One trial inside the bundle.

    Attributes:
        cut: Last kept stage, as configured.
        trained_stages: Number of last kept stages that were trained, or `all`.
        folds: Models, one a fold, whose probabilities are averaged; of a refitted trial one a seed.
        views: Symmetries of the square, whose probabilities are averaged.
        weight: In a weighted mean; None for stacked members.
        settings: The whole configuration, by dotted name.
        told_by: Trial, inside the file too, that tells it the type of the finding; None where none does.
        started_from: Trial whose weights it went on from; None where it started by itself.
    """

    trial: int
    backbone: str
    weights: str
    cut: str
    trained_stages: int | Literal["all"]
    folds: int
    views: int
    weight: FiniteFloat | None
    settings: dict[str, Any]
    told_by: str | None = None
    started_from: str | None = None


class TrainingData(FrozenModel):
    """What the members were trained on.

    Attributes:
        images: Of the training part; the test part is not counted.
        held_out: Of these, images that some fold held out: all, or the validation part of a hold-out.
        groups: Patients, or images where patients are unknown.
        has_patients: Whether the groups are patients.
        counts: Images of each class.
        fingerprint: SHA-256 over pixels, labels, patients and test rows of the whole set.
    """

    source: str
    is_synthetic: bool
    images: int
    groups: int
    has_patients: bool
    counts: dict[str, int]
    folds: int
    fingerprint: str
    held_out: int | None = None


class OutOfFoldScores(FrozenModel):
    """What out-of-fold predictions promise.

    Attributes:
        how: How they were computed, in a sentence.
        auc: Mean over folds, with its patient-clustered 95 % interval.
        metrics: All metrics.
    """

    how: str
    auc: Interval
    metrics: dict[str, FiniteFloat]


class TestScores(FrozenModel):
    """What the model reached when the test part was first opened for it.

    Attributes:
        opening: 1 where it was the first opening of the run.
        openings: How often the run's test part has been opened in all.
    """

    __test__ = False

    opening: int
    openings: int
    images: int
    groups: int
    metrics: dict[str, Interval]


class ParityCheck(FrozenModel):
    """How near the file is to its source, on training images that at least one fold model held out.

    Attributes:
        images: Number of images compared.
        onnx_difference: Largest difference of a probability, PyTorch against ONNX Runtime.
        out_of_fold_difference: Largest difference of a fold model's probability from what the search kept;
            None for refitted models, which have seen all images that the search predicted.
    """

    images: int
    onnx_difference: FiniteFloat
    out_of_fold_difference: FiniteFloat | None


class Manifest(FrozenModel):
    """`manifest.json` of a bundle.

    Attributes:
        format: Version of this layout.
        name: Run and model.
        positive: The finding; the last class.
        threshold: Smallest probability of `positive` that is called positive; None beyond two classes,
            where the most probable class is called.
        extra_inputs: What it takes besides `input`.
        test: Scores on the sealed test part, or `not opened`.
        sha256: Of `model.onnx`, in hex.
        split: What its scores are named after; `naive split` where patients lie in several folds, so that
            scores are too high.
        is_refitted: The members are models trained on the whole training part; calibration, threshold and
            out-of-fold scores are those of the fold models that they replace.
    """

    format: int = FORMAT
    name: str
    task: str
    question: str
    classes: tuple[str, ...] = Field(min_length=2)
    positive: str
    threshold: FiniteFloat | None
    is_synthetic: bool
    input: ModelInput
    output: str
    method: str
    is_single_trial: bool
    members: tuple[Member, ...]
    calibration: Platt | None
    data: TrainingData
    out_of_fold: OutOfFoldScores
    test: TestScores | Literal["not opened"]
    parity: ParityCheck
    onnx_opset: int
    versions: dict[str, str]
    sha256: str
    intended_use: str
    created_at: datetime.datetime
    extra_inputs: tuple[ExtraInput, ...] = ()
    split: SplitName = GROUPED
    is_refitted: bool = False

    def takes(self, name: Literal["baseline", "finding_type"]) -> bool:
        """Tell whether the file has an input besides the images."""
        return any(extra.name == name for extra in self.extra_inputs)

    def command(self, folder: str = "BUNDLE") -> str:
        """The command line that predicts with it."""
        baseline = " --baseline HEALTHY_IMAGE..." if self.takes("baseline") else ""
        finding_type = " --type mass" if self.takes("finding_type") else ""
        return f"orchestrate predict {folder} IMAGE...{baseline}{finding_type}"
