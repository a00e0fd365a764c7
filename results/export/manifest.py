"""`manifest.json`: what a bundle is. Importing this takes neither torch nor ONNX Runtime."""

import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from results.calibration import Platt
from results.intervals import Interval

FORMAT: Final = 1
MODEL_FILE: Final = "model.onnx"
MANIFEST_FILE: Final = "manifest.json"
CARD_FILE: Final = "model_card.md"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelInput(_Frozen):
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


class Member(_Frozen):
    """One trial inside the bundle.

    Attributes:
        cut: Last kept stage, as configured.
        trained_stages: Number of last kept stages that were trained, or `all`.
        folds: Fold models, whose probabilities are averaged.
        views: Symmetries of the square, whose probabilities are averaged.
        weight: In a weighted mean; None for stacked members.
        settings: The whole configuration, by dotted name.
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


class TrainingData(_Frozen):
    """What the members were trained on.

    Attributes:
        images: Of the training part; the test part is not counted.
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


class OutOfFoldScores(_Frozen):
    """What out-of-fold predictions promise.

    Attributes:
        how: How they were computed, in a sentence.
        auc: Mean over folds, with its patient-clustered 95 % interval.
        metrics: All metrics.
    """

    how: str
    auc: Interval
    metrics: dict[str, FiniteFloat]


class TestScores(_Frozen):
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


class ParityCheck(_Frozen):
    """How near the file is to its source, on training images that at least one fold model held out.

    Attributes:
        images: Number of images compared.
        onnx_difference: Largest difference of a probability, PyTorch against ONNX Runtime.
        out_of_fold_difference: Largest difference of a fold model's probability from what the search kept.
    """

    images: int
    onnx_difference: FiniteFloat
    out_of_fold_difference: FiniteFloat


class Manifest(_Frozen):
    """`manifest.json` of a bundle.

    Attributes:
        format: Version of this layout.
        name: Run and model.
        positive: The finding; the last class.
        threshold: Smallest probability of `positive` that is called positive; None beyond two classes,
            where the most probable class is called.
        test: Scores on the sealed test part, or `not opened`.
        sha256: Of `model.onnx`, in hex.
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
