"""`manifest.json`, the description of a bundle. Importing this takes neither torch nor ONNX Runtime."""

import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field, FiniteFloat, PositiveInt, model_validator

from results.export.precision_record import Distillation, LowerPrecision
from results.run.audit_record import AuditRecord
from results.run.prediction_costs import PredictionTime
from results.run.split_labels import GROUPED, SplitName
from results.scores.calibration import Platt
from results.scores.interval import Interval
from results.scores.operating_point import NOTHING_ASKED, Operation
from results.scores.outer_result import OuterResult
from results.scores.triage import TriageRule
from trainables.common.frozen import FrozenModel
from trainables.config.unit_config import PLURALS, UnitName
from trainables.data.declared_whites import in_words

FORMAT: Final = 1
MODEL_FILE: Final = "model.onnx"
UNITS_FILE: Final = "units.onnx"  # combines the images of a unit; only in bundles of units
MANIFEST_FILE: Final = "manifest.json"
CARD_FILE: Final = "model_card.md"
CARD_DATA_FILE: Final = "model_card.json"  # the same, by the fields of published templates
REFERENCE_FILE: Final = "training_reference.json"  # what other data are compared with
PREPARATION_FILE: Final = "preparation.json"
PREPARATION_CODE: Final = "preparation.py"
COMPANIONS: Final = (REFERENCE_FILE, PREPARATION_FILE, PREPARATION_CODE)  # whose digests the manifest holds
_LARGEST_RAW: Final = 65535  # of images of 16 bits


class ModelInput(FrozenModel):
    """The image input of the file.

    Attributes:
        name: Name of the graph's input.
        dtype: Number type: int32 for 8 and 16 bit images, float32 for images in [0, 1].
        channels: Number of channels: 1 for shape (B, H, W); 3 for (B, H, W, 3) in the order red, green, blue.
        max_value: Largest raw value of the range that the training images use, such as 255, 4095 or 65535; 1
            for floats.
        whites_of_16: Values that are white in files of 16 bits that do not state it, ascending, from 1 to
            `max_value`, to which they are scaled; several where training images differ in it; empty where no
            training image is of that kind, and in bundles of earlier versions, which take `max_value`.
        trained_shape: Shape of the images of the search, (H, W) or (H, W, 3); the model resizes other sizes.
        how_to_feed: Description of the input in a sentence.
    """

    name: str
    dtype: Literal["int32", "float32"]
    channels: Literal[1, 3]
    max_value: FiniteFloat = Field(gt=0)
    trained_shape: tuple[PositiveInt, ...]
    how_to_feed: str
    whites_of_16: tuple[Annotated[FiniteFloat, Field(ge=1)], ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> "ModelInput":
        if self.dtype == "int32" and not (self.max_value.is_integer() and self.max_value <= _LARGEST_RAW):
            raise ValueError(
                f"max_value must be a whole number up to {_LARGEST_RAW} for int32, found {self.max_value:g}"
            )
        if self.whites_of_16 and (self.dtype == "float32" or max(self.whites_of_16) > self.max_value):
            raise ValueError(
                f"whites_of_16 must be up to max_value, {self.max_value:g}, and for int32 alone, found "
                f"{in_words(self.whites_of_16)} for {self.dtype}"
            )
        if len(self.trained_shape) != (2 if self.channels == 1 else 3):
            raise ValueError(
                f"trained_shape must be (H, W), and (H, W, 3) for 3 channels, found {self.trained_shape} for "
                f"{self.channels}"
            )
        return self


class ExtraInput(FrozenModel):
    """An input of the file besides the images.

    Attributes:
        name: Name of the graph's input: `baseline`, images of the same shape and type; or `finding_type`,
            shape (B,).
        dtype: Number type of the input.
        how_to_feed: Description of the input in a sentence.
    """

    name: Literal["baseline", "finding_type"]
    dtype: Literal["int32", "float32"]
    how_to_feed: str


class Member(FrozenModel):
    """One trial inside the bundle.

    Attributes:
        trial: Number of the trial in its search.
        backbone: Name of its backbone.
        weights: Weights that it started from, such as `imagenet` or `random`.
        cut: Last kept stage, as configured.
        trained_stages: Number of last kept stages that were trained, or `all`.
        folds: Number of models whose probabilities are averaged: one per fold, or per seed of a refit.
        views: Number of symmetries of the square whose probabilities are averaged.
        weight: Weight in a weighted mean; None for stacked members.
        settings: The whole configuration, by dotted name.
        told_by: Trial in the same file that predicts the type of the finding for this one; None without one.
        started_from: Trial whose weights it started from; None without one.
        licences: Backbone -> licence of the published weights in the file, empty where it is not known;
            nets without such weights are left out.
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
    licences: dict[str, str] = Field(default_factory=dict)

    @property
    def features(self) -> str:
        """Backbones whose features it takes, with their taps where there are several."""
        also = [str(one) for one in self.settings.get("model.also") or ()]
        return " + ".join([f"{self.backbone}/{self.cut}", *also]) if also else self.backbone

    @property
    def made_of(self) -> str:
        """Its features, and the head on them where that is none of a net."""
        head = self.settings.get("classical.name", "none")
        return self.features if head in ("none", None) else f"{self.features} under {head}"


class TrainingData(FrozenModel):
    """Training data of the members.

    Attributes:
        source: Name of the data set.
        is_synthetic: True where the images are generated.
        images: Number of images of the training part; the test part is not counted.
        held_out: Number of these images that some fold held out: all but extra ones, or the validation part
            of a hold-out.
        groups: Number of patients, or of images where patients are unknown.
        has_patients: The groups are patients.
        counts: Class -> number of images.
        folds: Number of folds; 1 for a hold-out.
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
    """Scores of out-of-fold predictions.

    Attributes:
        how: Description of their computation, in a sentence.
        auc: Mean AUC over folds, with its patient-clustered 95 % interval.
        metrics: Value of every metric, by name.
        metric: Name of the metric that the search optimised, the first of several.
        value: Its value with its 95 % interval; None in bundles of earlier versions, which knew AUC alone.
    """

    how: str
    auc: Interval
    metrics: dict[str, FiniteFloat]
    metric: str = "auc"
    value: Interval | None = None

    @property
    def interval(self) -> Interval:
        """The metric that the search optimised, with its interval."""
        return self.auc if self.value is None else self.value


class TestScores(FrozenModel):
    """Scores of the model from the first time that the test part was opened for it.

    Attributes:
        opening: Number of that opening in the run, from 1.
        openings: Number of times that the run's test part has been opened in all.
        images: Number of images of the test part.
        groups: Number of their patients, or of images where patients are unknown.
        metrics: Value of every metric with its 95 % interval, by name.
    """

    __test__ = False

    opening: int
    openings: int
    images: int
    groups: int
    metrics: dict[str, Interval]


class ParityCheck(FrozenModel):
    """Agreement of the file with its source, on training images that at least one fold model held out.

    Attributes:
        images: Number of images compared.
        onnx_difference: Largest difference of a probability between PyTorch and ONNX Runtime.
        out_of_fold_difference: Largest difference of a fold model's probability from the search's own
            prediction; None for refitted models, which were trained on all images that the search predicted.
    """

    images: int
    onnx_difference: FiniteFloat
    out_of_fold_difference: FiniteFloat | None


class Recalibration(FrozenModel):
    """Local data that calibration and threshold of a bundle were fitted on after its export.

    Attributes:
        source: Name of the local data.
        fingerprint: Fingerprint of the whole set.
        images: Number of images, or of units.
        groups: Number of their patients, or of images where patients are unknown.
        has_patients: The groups are patients; True in bundles of earlier versions, which did not say it.
        unit: What was counted; `image` in bundles of earlier versions, which did not say it.
        counts: Class -> number of images, or of units.
        update: What changed of the calibration: `nothing`, `intercept` or `slope and intercept`.
        before: Calibration before it.
        from_sha256: SHA-256 of the `model.onnx` that was recalibrated.
        from_created_at: Time of its export.
    """

    source: str
    fingerprint: str
    images: int
    groups: int
    has_patients: bool = True
    unit: UnitName = "image"
    counts: dict[str, int]
    update: str
    before: Platt
    from_sha256: str
    from_created_at: datetime.datetime

    def share_of(self, name: str) -> float:
        """Return the share of the local data that is of a class, in [0, 1]."""
        return self.counts[name] / sum(self.counts.values())

    @property
    def text(self) -> str:
        """What was done, in a sentence."""
        counts = ", ".join(f"{number} {name}" for name, number in self.counts.items())
        groups = "patients" if self.has_patients else "groups (no patient identifiers)"
        return (
            f"After the export its calibration ({self.update} changed) and its threshold were fitted on "
            f"{self.images} {PLURALS[self.unit]} of {self.groups} {groups} of {self.source} ({counts}); its "
            "weights are "
            f"those of the file with SHA-256 {self.from_sha256[:12]}... Scores out of fold are those before."
        )


class Novelty(FrozenModel):
    """The novelty score of a bundle: the second output of the file, a p-value for each image.

    Attributes:
        output: Name of the graph's output, float32 (B,).
        trial: Member whose features it takes.
        backbone: Name of that member's backbone.
        tap: Point at which they are taken.
        features: Number of features.
        images: Number of training images that it was calibrated on, by models without their patients.
        patients: Number of their patients, or of images where patients are unknown.
        level: An image with a p-value of `level` or less is called unlike the training images; of images of
            new patients like those of training, at most a share of `level` is.
    """

    output: str
    trial: int
    backbone: str
    tap: str
    features: PositiveInt
    images: PositiveInt
    patients: PositiveInt
    level: FiniteFloat = Field(gt=0, lt=1)


class Manifest(FrozenModel):
    """`manifest.json` of a bundle.

    Attributes:
        format: Version of this layout.
        name: Name of the run and the model.
        task: Name of the task.
        question: The task as a question.
        classes: Class names, in the order of the probabilities.
        positive: Name of the positive class, which is the last one.
        threshold: Smallest probability of `positive` that is called positive; None beyond two classes,
            where the most probable class is called.
        is_synthetic: True where the training images are generated.
        input: The image input of the file.
        output: Description of the probabilities that come out.
        method: Method that combines the members.
        is_single_trial: True for the model of one trial.
        members: The trials inside.
        calibration: Calibration of a probability of two classes; None where there is none.
        data: Training data.
        out_of_fold: Scores of the search's own predictions.
        parity: Comparison of the file with what it was made from.
        cost: Time of an image and size of the file; None in bundles of earlier versions.
        onnx_opset: Version of the ONNX operators.
        versions: Package -> version at the export.
        intended_use: What the model is for and what not, in sentences.
        created_at: Time of the export, with time zone.
        best_for: Name of the metric that the threshold was chosen for.
        thresholds: Metric -> threshold of the decisions that its score judges, where it has one of its own,
            such as F2; empty beyond two classes and in bundles of earlier versions.
        operation: What the user asked of the decisions: `at` goes before `best_for`, and probabilities are
            those at its `prevalence`.
        triage: Rule of two thresholds; None where none was asked for.
        preparation: Steps by which the mammograms of the training data were made ready before the model saw
            them, as values for `preparation.py` of the bundle; None where pixels go in as they are in the
            file.
        extra_inputs: Inputs besides `input`.
        test: Scores on the sealed test part, or `not opened`, or `nothing sealed` where there is none.
        sha256: SHA-256 of `model.onnx`, in hexadecimal.
        companions: File beside the model -> its SHA-256; empty in bundles of earlier versions.
        split: Name of the kind of split, which its scores carry; with a `naive split` patients lie in several
            folds, so that scores are too high.
        is_refitted: The members are models trained on the whole training part; calibration, threshold and
            out-of-fold scores are those of the fold models that they replace.
        is_ordinal: The classes are in an order of degree.
        unit: What is predicted: single images, or the breast, exam or patient whose images are combined. All
            scores are of these.
        units_sha256: SHA-256 of `units.onnx`, in hexadecimal; None for single images.
        recalibration: Local data that it was calibrated on after its export; None for none.
        subgroups: What the scores of the strata of the data's columns say, out of fold, in sentences; empty
            where the data have no columns, and in bundles of earlier versions.
        audit: What the audit of the data found; None in bundles of earlier versions.
        nested_search: Score of the whole search on patients that no part of it has seen; None where it was
            not nested.
        novelty: The novelty score; None where no member has frozen stages, the patients are too few, and in
            bundles of earlier versions.
        precision: Lower precision of the networks in the file, and what it changed; None for float32.
        distilled: The ensemble that the model is a student of, and what took its place; None for none.
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
    test: TestScores | Literal["not opened", "nothing sealed"]
    parity: ParityCheck
    cost: PredictionTime | None = None
    onnx_opset: PositiveInt
    versions: dict[str, str]
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    intended_use: str
    created_at: datetime.datetime
    companions: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(default_factory=dict)
    extra_inputs: tuple[ExtraInput, ...] = ()
    split: SplitName = GROUPED
    is_refitted: bool = False
    is_ordinal: bool = False
    best_for: str = "balanced_accuracy"
    thresholds: dict[str, FiniteFloat] = Field(default_factory=dict)
    operation: Operation = NOTHING_ASKED
    triage: TriageRule | None = None
    unit: UnitName = "image"
    units_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    recalibration: Recalibration | None = None
    subgroups: tuple[str, ...] = ()
    audit: AuditRecord | None = None
    nested_search: OuterResult | None = None
    preparation: dict[str, Any] | None = None
    novelty: Novelty | None = None
    precision: LowerPrecision | None = None
    distilled: Distillation | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "Manifest":
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes must differ, found {', '.join(self.classes)}")
        if self.positive != self.classes[-1]:
            raise ValueError(f"positive must be the last class, {self.classes[-1]}, found {self.positive}")
        if (self.threshold is not None) != (len(self.classes) == 2):
            raise ValueError(
                f"a threshold is for two classes and only for them, found {self.threshold} for "
                f"{len(self.classes)} classes"
            )
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must lie between 0 and 1, found {self.threshold:g}")
        return self

    @property
    def chosen_for(self) -> str:
        """What the threshold was chosen for, in words."""
        at = self.operation.at
        return self.best_for.replace("_", " ") if at is None else str(at)

    @property
    def decided_on(self) -> str:
        """Where the threshold was chosen, in words."""
        return "out of fold" if self.recalibration is None else "on the local data"

    @property
    def said_of_no_test(self) -> str:
        """Why there are no scores on a sealed part, as a sentence; empty where there are."""
        if isinstance(self.test, TestScores):
            return ""
        if self.test == "nothing sealed":
            return "No part of the data was sealed, so no patients are left on which it could be confirmed."
        return "The sealed test part was not opened for this model."

    @property
    def said_of_operation(self) -> str:
        """What the user asked of the decisions, in a sentence without its end."""
        asked = self.operation
        parts = [f"the threshold is the one for {self.chosen_for} {self.decided_on}"]
        if asked.prevalence is not None:
            parts.append(f"probabilities are those where {asked.prevalence:.3g} of the images are positive")
        if self.triage is not None:
            promised = "" if self.triage.is_exact else ", as out-of-fold predictions promise"
            parts.append(
                f"triage calls benign below {self.triage.low:.4g} and recalls from {self.triage.high:.4g} "
                f"on, which misses at most {self.triage.aim.missed:.3g} of the positives and recalls at most "
                f"{self.triage.aim.alarms:.3g} of the negatives of a new patient on average{promised}"
            )
        return "; ".join(parts)

    def takes(self, name: Literal["baseline", "finding_type"]) -> bool:
        """Tell whether the file has this input besides the images."""
        return any(extra.name == name for extra in self.extra_inputs)

    def command(self, folder: str = "BUNDLE") -> tuple[str, ...]:
        """Return the command that predicts with the bundle, word by word.

        `IMAGE...` stands for files, and `TABLE` for a list of files with their units.
        """
        if self.unit != "image":
            return ("orchestrate", "predict", folder, "--units", "TABLE")
        baseline = ("--baseline", "HEALTHY_IMAGE...") if self.takes("baseline") else ()
        finding_type = ("--type", "mass") if self.takes("finding_type") else ()
        return ("orchestrate", "predict", folder, "IMAGE...", *baseline, *finding_type)
