"""`manifest.json`, the description of a bundle. Importing this takes neither torch nor ONNX Runtime."""

import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field, FiniteFloat, PositiveInt, model_validator

from results.export.manifest_parts import (
    Member,
    Novelty,
    OutOfFoldScores,
    ParityCheck,
    Recalibration,
    TestScores,
    TrainingData,
)
from results.export.model_input import ExtraInput, ModelInput
from results.export.precision_record import Distillation, LowerPrecision
from results.run.audit_record import AuditRecord
from results.run.prediction_costs import PredictionTime
from results.run.split_labels import GROUPED, NAIVE, SplitName
from results.scores.calibration import Platt
from results.scores.decision_rule import OUT_OF_FOLD, said_of_aim
from results.scores.operating_point import NOTHING_ASKED, Operation
from results.scores.outer_result import OuterResult
from results.scores.triage import TriageRule
from trainables.common.frozen import FrozenModel
from trainables.config.unit_config import PLURALS, UnitName

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
        return said_of_aim(self.best_for, self.operation.at)

    @property
    def calibrated_share(self) -> float:
        """Share of positives that the calibration was fitted at, in [0, 1], whatever was asked for."""
        local = self.recalibration
        if local is not None and local.calibrated_share is not None:
            return local.calibrated_share
        fitted_on = local if local is not None and local.has_changed else self.data
        return fitted_on.share_of(self.positive)

    @property
    def decided_on(self) -> str:
        """Where the threshold was chosen, in words."""
        return OUT_OF_FOLD if self.recalibration is None else "on the local data"

    @property
    def said_of_no_test(self) -> str:
        """Why there are no scores on a sealed part, as a sentence; empty where there are."""
        if isinstance(self.test, TestScores):
            return ""
        if self.test == "nothing sealed":
            left = f"no {self.data.group_unit}s are left on which it could be confirmed"
            return f"No part of the data was sealed, so {left}."
        return "The sealed test part was not opened for this model."

    @property
    def said_of_precision(self) -> str:
        """Which file the scores are of, as a sentence; empty where it is the exported one."""
        if self.precision is None:
            return ""
        return (
            "All scores, out of fold and on a sealed part, are those of the model in float32; what changed "
            f"in {self.precision.name} was measured on {self.precision.images} training {PLURALS[self.unit]}."
        )

    @property
    def said_of_operation(self) -> str:
        """What the user asked of the decisions, in a sentence without its end."""
        asked = self.operation
        parts = [f"the threshold is the one for {self.chosen_for} {self.decided_on}"]
        if asked.prevalence is not None:
            share = f"{asked.prevalence:.3g} of the {PLURALS[self.unit]}"
            parts.append(f"probabilities are those where {share} are positive")
        if self.triage is not None:
            parts.append(
                f"triage calls benign below {self.triage.low:.4g} and recalls from {self.triage.high:.4g} "
                f"on, which misses at most {self.triage.aim.missed:.3g} of the positives and recalls at most "
                f"{self.triage.aim.alarms:.3g} of the negatives of a new {self.data.group_unit} on average"
                f"{self._said_of_promise}"
            )
        return "; ".join(parts)

    @property
    def _said_of_promise(self) -> str:
        """What the promise of the rule of two thresholds rests on."""
        if self.triage is None or self.triage.is_exact:
            return ""
        if self.split == NAIVE:
            return (
                ", as out-of-fold predictions of a naive split promise, whose models knew the patients: of "
                "new ones it may be more"
            )
        return ", as out-of-fold predictions promise"

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
