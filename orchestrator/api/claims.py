"""What can be claimed of models, from Python: strata, benefit, calibration, comparisons, and other data."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.api.run_view import RunView, silent
from results.ensembles.ensemble import BEST
from results.scores.operating_point import NOTHING_ASKED, Operation
from trainables.common.notify import Notify

if TYPE_CHECKING:  # pandas and torch take seconds to import, and a result may only be looked at
    import pandas as pd

    from orchestrator.postprocessing.outside_set import LabelledData
    from orchestrator.postprocessing.recalibrating import RecalibrationReport
    from results.ensembles.judged import JudgedModel
    from results.scores.calibration_methods import CalibrationComparison
    from results.scores.decision_curve import DecisionCurve
    from results.scores.model_comparison import Comparisons
    from results.scores.outside import OutsideEvaluation
    from results.scores.strata_records import StrataScores


class ModelClaims(RunView):
    """The part of a `SearchResult` that says what can be claimed of its models."""

    def strata(
        self, *, ensemble: str = BEST, trial: int | None = None, least_patients: int = 10
    ) -> "StrataScores":
        """Return the scores of a model for every value of every column of the data, out of fold.

        An ensemble decides as it was built to, see `operation` of `build_ensembles`.

        Args:
            ensemble: Name of the ensemble, which is built if none was; not used if a trial is given.
            trial: Number of a single trial, or None.
            least_patients: Patients of a class that a score which counts that class needs.

        Raises:
            OrchestrateError: If the model is missing, or the data are not in the store any more.
        """
        return self._judged(ensemble, trial).strata(least_patients=least_patients)

    def decision_curve(
        self,
        *,
        ensemble: str = BEST,
        trial: int | None = None,
        thresholds: Sequence[float] | None = None,
        prevalence: float | None = None,
    ) -> "DecisionCurve":
        """Return what a model is worth to those who act on it, out of fold.

        Args:
            ensemble: Name of the ensemble, which is built if none was; not used if a trial is given.
            trial: Number of a single trial, or None.
            thresholds: Probabilities from which one acts; None takes thirteen from 0.01 to 0.9.
            prevalence: Share of positives where the model will be used; None for that of the data.

        Raises:
            OrchestrateError: If the model is missing or has more classes than two, or there is no threshold.
        """
        from results.scores.decision_curve import THRESHOLDS

        wanted = THRESHOLDS if thresholds is None else thresholds
        return self._judged(ensemble, trial).decision_curve(thresholds=wanted, prevalence=prevalence)

    def calibrations(self, *, ensemble: str = BEST, trial: int | None = None) -> "CalibrationComparison":
        """Compare five ways to calibrate a model on parts that they were not fitted on.

        Args:
            ensemble: Name of the ensemble, which is built if none was; not used if a trial is given.
            trial: Number of a single trial, or None.

        Raises:
            OrchestrateError: If the model is missing, or has more classes than two.
        """
        return self._judged(ensemble, trial).calibrations()

    def thresholds(self, *, ensemble: str = BEST, trial: int | None = None) -> "pd.DataFrame":
        """Return what a model would call at each threshold, on calibrated out-of-fold predictions.

        Args:
            ensemble: Name of the ensemble, which is built if none was; not used if a trial is given.
            trial: Number of a single trial, or None.

        Returns:
            One row for each threshold from 0.05 to 0.95, and for that of the model, marked `is_chosen`. All
            are probabilities at `prevalence`, which is None for that of the data.
        """
        import pandas as pd

        from results.predictors.threshold_sweep import sweep_of

        self._build_if_none(trial, ensemble)
        swept = sweep_of(self._run, ensemble=ensemble, trial=trial)
        return pd.DataFrame([asdict(decision) for decision in swept.decisions])

    def evaluate_on(
        self,
        data: str | Path,
        *,
        ensemble: str = BEST,
        trial: int | None = None,
        refit: bool = False,
        operation: Operation = NOTHING_ASKED,
        by: str = "",
        notify: Notify = silent,
        **options: Any,
    ) -> "OutsideEvaluation":
        """Score a model on labelled data that it never saw; each look is logged before a label is scored.

        Args:
            data: Path of the data.
            ensemble: Name of the ensemble, which is built if none was; not used if a trial is given.
            trial: Number of a single trial, or None.
            refit: Score the models that `refit` trained.
            operation: What is asked of the decisions.
            by: What looks at the data, for the log; the call as it was made where empty.
            notify: Function called with remarks on the data.
            options: Options of a search that read data, such as `label_codes`.

        Raises:
            OrchestrateError: If the data are those of the search, unlike them, or cannot be read.
        """
        from orchestrator.postprocessing.outside_set import evaluate_run_outside

        self._build_if_none(trial, ensemble)
        call = f"open_run({str(self._run.path)!r}).evaluate_on({str(data)!r})"
        asked = _labelled(data, by or call, options, notify)
        return evaluate_run_outside(
            self._run, asked, ensemble=ensemble, trial=trial, refit=refit, operation=operation
        )

    def _judged(self, ensemble: str, trial: int | None) -> "JudgedModel":
        from results.ensembles.judged import judged_model

        self._build_if_none(trial, ensemble)
        return judged_model(self._run, ensemble=ensemble, trial=trial)

    def _build_if_none(self, trial: int | None, ensemble: str = BEST) -> None:
        """Build the ensembles where one is asked for and none was built."""
        raise NotImplementedError


def compare_models(
    models: Sequence[str],
    *,
    metric: str | None = None,
    has_all_pairs: bool = False,
    runs: str | Path = "runs",
) -> "Comparisons":
    """Compare models on the same patients, with one confidence for all comparisons together.

    Args:
        models: At least two models: `RUN` for its best ensemble, `RUN:7` for a trial, `RUN:average` for
            another ensemble.
        metric: Name of the metric; None takes the one that the first search optimised.
        has_all_pairs: Compare all pairs; False compares the first with each of the others.
        runs: Folder of all runs.

    Raises:
        OrchestrateError: If a model is missing, or they are of other data or another task.
    """
    from orchestrator.postprocessing.comparing import compare, parse_model

    found = [parse_model(text, Path(runs)) for text in models]
    return compare(found, metric=metric, has_all_pairs=has_all_pairs)


def evaluate_bundle(
    bundle: str | Path,
    data: str | Path,
    *,
    task: str | None = None,
    by: str = "",
    notify: Notify = silent,
    **options: Any,
) -> "OutsideEvaluation":
    """Score an exported bundle on labelled data that it never saw; each look is logged.

    Args:
        bundle: Folder of the bundle.
        data: Path of the data.
        task: YAML file that defines the bundle's task, if it is one of the user's own.
        by: What looks at the data, for the log; the call as it was made where empty.
        notify: Function called with remarks on the data.
        options: Options of a search that read data, such as `label_codes` or `store`.

    Raises:
        OrchestrateError: If the data are those that it was trained on, unlike them, or cannot be read.
    """
    from orchestrator.postprocessing.outside_set import evaluate_bundle_outside

    call = f"evaluate_bundle({str(bundle)!r}, {str(data)!r})"
    return evaluate_bundle_outside(Path(bundle), _labelled(data, by or call, options, notify), task=task)


def recalibrate_bundle(
    bundle: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    operation: Operation = NOTHING_ASKED,
    task: str | None = None,
    **options: Any,
) -> "RecalibrationReport":
    """Fit calibration, threshold and triage of a bundle on local data, and write a new bundle.

    Args:
        bundle: Folder of the bundle.
        data: Path of the local labelled data.
        out: Folder to write; must be missing or empty.
        operation: What is asked of the decisions; what it leaves open is kept.
        task: YAML file that defines the bundle's task, if it is one of the user's own.
        options: Options of a search that read data, such as `label_codes` or `store`.

    Raises:
        OrchestrateError: If the data cannot be used, there are too few patients, or `out` holds something.
    """
    from orchestrator.postprocessing.recalibrating import recalibrate

    call = f"recalibrate_bundle({str(bundle)!r}, {str(data)!r}, {str(out)!r})"
    asked = _labelled(data, call, options)
    return recalibrate(Path(bundle), Path(out), asked, task=task, operation=operation)


def is_bundle(path: str | Path) -> bool:
    """Tell whether a folder is an exported bundle."""
    from orchestrator.postprocessing import outside_set

    return outside_set.is_bundle(Path(path))


def _labelled(
    data: str | Path, call: str, options: dict[str, Any], notify: Notify = silent
) -> "LabelledData":
    from orchestrator.postprocessing.outside_set import LabelledData

    return LabelledData(str(data), call, notify, options)
