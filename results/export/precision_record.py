"""What a lower precision or a student changed in a model, as it stands in a manifest; and what it may change.

Importing this takes neither torch nor ONNX Runtime.
"""

from pydantic import Field, FiniteFloat

from results.export.allowed_change import PRECISIONS, AllowedChange, PrecisionName
from results.run.prediction_costs import PredictionTime
from results.scores.interval import Interval
from results.scores.operating_point import NOTHING_ASKED, Operation
from trainables.common.errors import UnknownNameError
from trainables.common.frozen import FrozenModel
from trainables.config.unit_config import PLURALS, UnitName


class ModelChange(FrozenModel):
    """Comparison of a model with the one that it takes the place of, on images of the training part.

    Attributes:
        images: Number of images, or units, that both predicted.
        unit: What `images` counts, and `changed_calls` is the share of.
        how: Which predictions the AUC is of, in a few words.
        auc_before: AUC of the model that was replaced, mean over folds.
        auc_change: AUC of the new model minus `auc_before`, with its paired 95 % interval over patients.
        changed_calls: Share of the images that are called another class, in [0, 1].
        largest_difference: Largest difference of a probability.
        changed_warnings: Share of the images of which only one of both says that they are unlike the training
            images, in [0, 1]; None without a novelty score.
        max_auc_loss: Largest fall of the AUC that was allowed.
        max_changed_calls: Largest share of changed calls that was allowed.
        cost_before: Time of an image and size of the file that was replaced; None where it was not measured.
    """

    images: int = Field(ge=1)
    unit: UnitName = "image"
    how: str
    auc_before: FiniteFloat
    auc_change: Interval
    changed_calls: FiniteFloat
    largest_difference: FiniteFloat
    changed_warnings: FiniteFloat | None = None
    max_auc_loss: FiniteFloat
    max_changed_calls: FiniteFloat
    cost_before: PredictionTime | None = None

    @property
    def auc_text(self) -> str:
        """AUC before and after, and the change with its interval."""
        change = self.auc_change
        return (
            f"AUC {self.auc_before:.4f} -> {self.auc_before + change.estimate:.4f} ({change.estimate:+.4f}, "
            f"95 % interval {change.low:+.4f} to {change.high:+.4f}, {self.how})"
        )

    @property
    def _on(self) -> str:
        """Which images, or units, both predicted, as the beginning of a sentence."""
        return f"On {self.images} training {PLURALS[self.unit]}"

    @property
    def allowed(self) -> AllowedChange:
        """What was allowed."""
        return AllowedChange(self.max_auc_loss, self.max_changed_calls)

    def faults(self, allowed: AllowedChange) -> list[str]:
        """Return what goes beyond some bounds, in words; empty if nothing does."""
        found = []
        if -self.auc_change.estimate > allowed.auc_loss:
            found.append(f"{self.auc_text}, and --max-auc-loss allows a fall of {allowed.auc_loss:g}")
        if self.changed_calls > allowed.changed_calls:
            found.append(
                f"{self.changed_calls:.2%} of {self.images} calls changed, and --max-changed-calls allows "
                f"{allowed.changed_calls:.2%}"
            )
        if (self.changed_warnings or 0.0) > allowed.changed_calls:
            found.append(
                f"whether an image is unlike the training images changed for {self.changed_warnings:.2%} of "
                f"the images, and --max-changed-calls allows {allowed.changed_calls:.2%}"
            )
        return found


class LowerPrecision(ModelChange):
    """A file whose networks compute in a lower precision than float32.

    Attributes:
        name: `fp16` for half precision, `int8` for integers of 8 bits.
        calibration_images: Number of training images that the ranges of `int8` were measured on.
        converted: Number of layers with weights in the lower precision.
    """

    name: PrecisionName
    calibration_images: int = 0
    converted: int

    def sentences(self, cost: PredictionTime | None) -> list[str]:
        """Describe what was gained and lost.

        Args:
            cost: Time of an image and size of the file in the lower precision.
        """
        measured = (
            f"; ranges from {self.calibration_images} training images" if self.calibration_images else ""
        )
        said = [
            f"precision {self.name}: {self.converted} layers{measured}. {self._on} "
            f"{self.auc_text}; {self.changed_calls:.2%} of the calls changed; probabilities differ by up to "
            f"{self.largest_difference:.3f}"
        ]
        if cost is not None and self.cost_before is not None:
            said.append(f"{self.name} against float32: {gain_text(self.cost_before, cost)}")
        return said


class Distillation(ModelChange):
    """A student: one trial that was trained to answer as an ensemble does, and takes its place.

    Attributes:
        teacher: Name of the ensemble, such as `ensemble average`.
        teacher_trials: Numbers of its members.
        trial: Number of the trial whose configuration the student has.
        weight: Share of the ensemble's predictions in what it learned; the labels have the rest.
        seed: Seed of the teacher's choice and fit.
        teacher_digest: Digest of the ensemble, of the predictions of all trials that its members are chosen
            from, and of how many are chosen; None in files of earlier versions.
        operation: What was asked of the calls that were compared; nothing in files of earlier versions, which
            compared others.
    """

    teacher: str
    teacher_trials: tuple[int, ...]
    trial: int
    weight: FiniteFloat = Field(gt=0, le=1)
    seed: int
    teacher_digest: str | None = None
    operation: Operation = NOTHING_ASKED

    def sentences(self, cost: PredictionTime | None) -> list[str]:
        """Describe what was gained and lost.

        Args:
            cost: Time of an image and size of the student's file.
        """
        members = ", ".join(map(str, self.teacher_trials))
        said = [
            f"student of {self.teacher} (trials {members}): trial {self.trial}, trained on its predictions "
            f"({self.weight:.0%}) and the labels. {self._on} {self.auc_text}; "
            f"{self.changed_calls:.2%} of the calls changed"
        ]
        if cost is not None and self.cost_before is not None:
            said.append(f"student against ensemble: {gain_text(self.cost_before, cost)}")
        return said


def precision_named(name: str) -> PrecisionName:
    """Return the precision of this name.

    Raises:
        UnknownNameError: If there is none.
    """
    for known in PRECISIONS:
        if known == name:
            return known
    raise UnknownNameError("precision", name, PRECISIONS)


def gain_text(before: PredictionTime, after: PredictionTime) -> str:
    """Compare size and time of two files, and say so where the new one is no faster."""
    said = (
        f"{before.megabytes:.2f} -> {after.megabytes:.2f} MB, {before.core_ms:.2f} -> {after.core_ms:.2f} ms "
        "an image on one core"
    )
    if before.gpu_ms is not None and after.gpu_ms is not None:
        said += f", {before.gpu_ms:.2f} -> {after.gpu_ms:.2f} ms on the GPU"
    if after.core_ms > 0.95 * before.core_ms:
        how = "slower" if after.core_ms > before.core_ms else "no faster"
        said += f"; on this machine's processor it is {how}"
    return said
