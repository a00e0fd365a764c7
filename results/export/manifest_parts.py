"""The parts of a manifest: members, data, scores and what was checked."""

import datetime
from typing import Any, Literal

from pydantic import Field, FiniteFloat, PositiveInt

from results.scores.calibration import Platt
from results.scores.interval import Interval
from trainables.common.frozen import FrozenModel
from trainables.config.unit_config import PLURALS, UnitName
from trainables.data.group_names import GroupUnit, of_groups


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
        groups: Number of patients, or of image groups where patients are unknown.
        has_patients: The groups are patients.
        counts: Class -> number of images.
        scored: Class -> number of what some fold held out, images or units: calibration and scores out of
            fold are of these. Empty in bundles of earlier versions.
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
    scored: dict[str, int] = Field(default_factory=dict)

    @property
    def group_unit(self) -> GroupUnit:
        """Noun for a group: `patient`; where patients are unknown `image`, or `image group` for several."""
        return _group_unit(self.images, self.groups, has_patients=self.has_patients)

    def share_of(self, name: str) -> float:
        """Return the share of what was scored out of fold that is of a class, in [0, 1].

        Of bundles of earlier versions, which do not tell it, that of the images.
        """
        counts = self.scored or self.counts
        return counts[name] / sum(counts.values())


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
        groups: Number of their patients, or of image groups where patients are unknown.
        metrics: Value of every metric with its 95 % interval, by name.
        unknown_looks: Sentence on looks of earlier searches that could not be counted; empty for none.
    """

    __test__ = False

    opening: int
    openings: int
    images: int
    groups: int
    metrics: dict[str, Interval]
    unknown_looks: str = ""


class ParityCheck(FrozenModel):
    """Agreement of the file with its source, on training images that at least one fold model held out.

    Attributes:
        images: Number of images compared.
        onnx_difference: Largest difference of a probability between PyTorch and ONNX Runtime, without the
            images that are left out.
        out_of_fold_difference: Largest difference of a fold model's probability from the search's own
            prediction, likewise; None for refitted models, which were trained on all images that the search
            predicted.
        left_out: Number of the images, or units, that differ most, which are left out of both since
            neighbours and trees answer in steps; None in bundles of earlier versions, which did not say it.
    """

    images: int
    onnx_difference: FiniteFloat
    out_of_fold_difference: FiniteFloat | None
    left_out: int | None = None

    @property
    def said_of_left_out(self) -> str:
        """What the differences leave out, in words that follow them; empty for nothing."""
        return f", without the {self.left_out} answers that differ most" if self.left_out else ""


class Recalibration(FrozenModel):
    """Local data that calibration and threshold of a bundle were fitted on after its export.

    Attributes:
        source: Name of the local data.
        fingerprint: Fingerprint of the whole set.
        earlier: Fingerprints of the sets of earlier recalibrations that this one went on from, in order.
        images: Number of images, or of units.
        groups: Number of their patients, or of image groups where patients are unknown.
        has_patients: The groups are patients; True in bundles of earlier versions, which did not say it.
        unit: What was counted; `image` in bundles of earlier versions, which did not say it.
        counts: Class -> number of images, or of units.
        calibrated_share: Share of positives, in [0, 1], that the calibration was fitted at: that of the local
            data, or where nothing of it changed the one before; None in bundles of earlier versions, which
            did not say it.
        update: What changed of the calibration: `nothing`, `intercept` or `slope and intercept`.
        before: Calibration before it.
        from_sha256: SHA-256 of the `model.onnx` that was recalibrated.
        from_created_at: Time of its export.
    """

    source: str
    fingerprint: str
    earlier: tuple[str, ...] = ()
    images: int
    groups: int
    has_patients: bool = True
    unit: UnitName = "image"
    counts: dict[str, int]
    calibrated_share: FiniteFloat | None = None
    update: str
    before: Platt
    from_sha256: str
    from_created_at: datetime.datetime

    @property
    def has_changed(self) -> bool:
        """True if the calibration is another one than before."""
        return self.update != "nothing"

    def share_of(self, name: str) -> float:
        """Return the share of the local data that is of a class, in [0, 1]."""
        return self.counts[name] / sum(self.counts.values())

    @property
    def text(self) -> str:
        """What was done, in a sentence."""
        counts = ", ".join(f"{number} {name}" for name, number in self.counts.items())
        unit = _group_unit(self.images, self.groups, has_patients=self.has_patients)
        unknown = "" if self.has_patients else " (no patient identifiers)"
        return (
            f"After the export its calibration ({self.update} changed) and its threshold were fitted on "
            f"{self.images} {PLURALS[self.unit]}{of_groups(self.groups, unit)}{unknown} of {self.source} "
            f"({counts}); its "
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
        patients: Number of their patients, or of image groups where patients are unknown.
        level: An image with a p-value of `level` or less is called unlike the training images; of images of
            new patients like those of training, at most a share of `level` is, unless the split is a naive
            one.
    """

    output: str
    trial: int
    backbone: str
    tap: str
    features: PositiveInt
    images: PositiveInt
    patients: PositiveInt
    level: FiniteFloat = Field(gt=0, lt=1)


def _group_unit(images: int, groups: int, *, has_patients: bool) -> GroupUnit:
    if has_patients:
        return "patient"
    return "image" if groups == images else "image group"
