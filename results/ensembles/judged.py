"""What a model of a run said of the images of its training part, out of fold, and what is known of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from results.ensembles.ensemble import BEST, read_ensemble
from results.ensembles.out_of_fold import out_of_fold_of
from results.errors import ScoreError
from results.run.records import OutOfFold
from results.run.run_folder import RunFolder
from results.run.split_labels import SplitName
from results.scores.calibration_methods import CalibrationComparison, compare_calibrations
from results.scores.decision_curve import THRESHOLDS, DecisionCurve, decision_curve
from results.scores.decision_rule import CrossFitted, cross_fit, metrics_with_own_threshold
from results.scores.judged_images import JudgedImages
from results.scores.operating_point import NOTHING_ASKED, Operation
from results.scores.strata import score_strata
from results.scores.strata_records import LEAST_PATIENTS, StrataScores
from trainables.common.errors import ConfigError
from trainables.config.unit_config import UnitName
from trainables.data.columns import Columns, take_rows


@dataclass(frozen=True, slots=True)
class JudgedModel:
    """A model of a run with its out-of-fold predictions, calibrated and decided without their own fold.

    Attributes:
        name: Name of the model.
        predictions: Out-of-fold predictions; nested ones of an ensemble.
        fitted: The same, calibrated and decided by what was fitted on the other folds; also for the metrics
            that have a threshold of their own.
        classes: Class names.
        columns: What is known about each image, or the first image of each unit: column -> values.
        split: Name of the kind of split.
        seed: Random seed of the search.
        operation: What was asked of the decisions.
        unit: What the model predicts.
    """

    name: str
    predictions: OutOfFold
    fitted: CrossFitted
    classes: tuple[str, ...]
    columns: Columns
    split: SplitName
    seed: int
    operation: Operation = NOTHING_ASKED
    unit: UnitName = "image"

    @property
    def judged(self) -> JudgedImages:
        """The images and what the model said of them."""
        own = self.predictions
        return JudgedImages(
            own.labels,
            own.probabilities.astype(np.float64),
            self.fitted.probabilities,
            self.fitted.called,
            own.folds,
            own.groups,
            own.varying_parts,
            self.fitted.decided,
        )

    def strata(self, *, least_patients: int = LEAST_PATIENTS) -> StrataScores:
        """Score every stratum of the columns.

        Args:
            least_patients: Patients of a class that a score which counts that class needs.
        """
        return score_strata(
            self.judged, self.columns, self.classes, seed=self.seed, least_patients=least_patients
        )

    def decision_curve(
        self, *, thresholds: Sequence[float] = THRESHOLDS, prevalence: float | None = None
    ) -> DecisionCurve:
        """Return what the model is worth at some thresholds.

        Args:
            thresholds: Probabilities from which one acts, in (0, 1).
            prevalence: Share of positives where the model will be used; None for that of the data.

        Raises:
            ScoreError: If there are more classes than two.
        """
        self._check_two_classes("a decision curve")
        if prevalence is not None and not 0 < prevalence < 1:
            raise ConfigError(f"--prevalence is a share between 0 and 1, found {prevalence:g}")
        judged = self.judged
        found = decision_curve(
            judged.labels,
            judged.probabilities,
            judged.groups,
            thresholds=thresholds,
            prevalence=prevalence,
            inflation=judged.inflation,
            model=self.name,
        )
        return found.model_copy(update={"unit": self.unit})

    def calibrations(self) -> CalibrationComparison:
        """Compare all ways to calibrate the model.

        Raises:
            ScoreError: If there are more classes than two.
        """
        self._check_two_classes("a calibration")
        return compare_calibrations(self.predictions, seed=self.seed, model=self.name)

    def _check_two_classes(self, what: str) -> None:
        if len(self.classes) != 2:
            raise ScoreError(
                f"{what} belongs to two classes, found {len(self.classes)}: {', '.join(self.classes)}"
            )


def judged_model(
    run: RunFolder,
    *,
    ensemble: str = BEST,
    trial: int | None = None,
    operation: Operation = NOTHING_ASKED,
) -> JudgedModel:
    """Return a model of a run with what it said out of fold.

    Args:
        run: Folder of the search; its data must still be in the store.
        ensemble: Name of a method, `best_single` or `best`; not used if a trial is given.
        trial: Number of a single trial, or None; it needs no weights.
        operation: What is asked of the decisions; nothing takes what the ensemble was built for.

    Raises:
        EnsembleError: If the ensemble was not built.
        UnknownNameError: If no ensemble has such a name.
        RunError: If the trial is not complete.
        DataError: If the data are not in the store any more.
    """
    search = run.search()
    predictions, name = out_of_fold_of(run, ensemble=ensemble, trial=trial)
    if trial is None and not operation.is_asked:
        operation = read_ensemble(run, ensemble).operation
    fitted = cross_fit(
        predictions,
        searched=search.metrics,
        metrics=metrics_with_own_threshold(search.metrics),
        operation=operation,
    )
    return JudgedModel(
        name=name,
        predictions=predictions,
        fitted=fitted,
        classes=search.classes,
        columns=take_rows(run.patch_set().columns, predictions.rows) or {},
        split=search.split_name,
        seed=search.request.seed,
        operation=operation,
        unit=search.request.unit,
    )
