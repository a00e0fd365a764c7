"""Lookup of the model that a user names: an ensemble, or a single trial. It reads files of the run only."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from results.ensembles.ensemble import BEST, Ensemble, read_ensemble
from results.ensembles.methods import FittedEnsemble
from results.ensembles.out_of_fold import nested_again, pool_of
from results.ensembles.weighted_mean import WeightedMean
from results.errors import RunError
from results.run.records import OutOfFold
from results.run.refit_records import check_refits, refit_digest
from results.run.run_folder import RunFolder
from results.run.split_labels import GROUPED, SplitName
from results.scores.auc_interval import auc_interval
from results.scores.calibration import Platt
from results.scores.decision_rule import DecisionRule, fit_decision_rule
from results.scores.fold_scores import out_of_fold_metrics
from results.scores.interval import Interval
from results.scores.metric_interval import metric_interval
from results.scores.operating_point import NOTHING_ASKED, Operation, odds_shift
from results.scores.ranking import Objectives, objectives_of
from trainables.common.errors import OrchestrateError
from trainables.common.types import FloatArray
from trainables.estimators.registry import ESTIMATORS


@dataclass(frozen=True, slots=True)
class SelectedModel:
    """A model with its decision rule and its out-of-fold scores.

    Attributes:
        name: Name for messages, such as `ensemble average` or `trial 7`.
        trials: Trial numbers of the members, in the order of the first axis that `fitted.combine` expects.
        classes: Class names.
        fitted: Combination rule of the members.
        rule: Calibrations and thresholds.
        auc: Mean fold AUC with its 95 % interval. Nested for an ensemble; of a trial, which was selected by
            its score, scores are too high.
        metrics: Value of every metric in `STANDARD`, and of those that the search optimises or requires
            something of, out of fold.
        objectives: What the search optimises and requires.
        value: The main metric with its 95 % interval.
        is_trial: True for a single trial.
        split: Name of the kind of split, which its scores carry.
        is_refitted: Its members predict with models trained on the whole training part; calibration,
            threshold and scores are those of the fold models.
        refit_digest: Digest of the refitted weights; None for fold models. Two refits of a trial differ in
            it.
        digest: Digest of the members' out-of-fold predictions and, of an ensemble, of what was fitted to them
            as it was built: a trial that was run again and an ensemble that was built again are other models.
        method: Name of the ensemble's method; not used for a trial.
        is_ordinal: True where the classes are in an order of degree.
        shift: What the calibration adds to all logits for the prevalence that was asked for; 0 where none
            was.
        chosen_from: Trials that the members of an ensemble were chosen from, in words; empty for a trial.
    """

    name: str
    trials: tuple[int, ...]
    classes: tuple[str, ...]
    fitted: FittedEnsemble
    rule: DecisionRule
    auc: Interval
    metrics: dict[str, float]
    is_trial: bool
    objectives: Objectives
    value: Interval
    split: SplitName = GROUPED
    is_refitted: bool = False
    refit_digest: str | None = None
    digest: str = ""
    method: str = BEST
    is_ordinal: bool = False
    shift: float = 0.0
    chosen_from: str = ""

    @property
    def calibration(self) -> Platt | None:
        """Calibration of what predicts, the mean of fold models or a refit; None beyond two classes."""
        return self.rule.calibration if self.is_refitted else self.rule.mean_calibration

    @property
    def whole_digest(self) -> str:
        """Digest of the model with that of its refit, if it has one."""
        return self.digest if self.refit_digest is None else f"{self.digest}-{self.refit_digest}"

    @property
    def threshold(self) -> float:
        """Smallest calibrated positive probability that is called positive."""
        return self.rule.threshold

    def at_prevalence_of_data(self, probabilities: FloatArray) -> FloatArray:
        """Return calibrated probabilities as they are at the prevalence of the data, (images, classes).

        Decisions are taken on those at the prevalence that was asked for; with labels of the data these are
        compared.
        """
        return Platt().moved(-self.shift).apply(probabilities) if self.shift else probabilities


def resolve_model(
    run: RunFolder,
    *,
    ensemble: str = BEST,
    trial: int | None = None,
    refit: bool = False,
    operation: Operation = NOTHING_ASKED,
) -> SelectedModel:
    """Look up a model of a run.

    Args:
        run: Folder of the search.
        ensemble: Name of a method, `best_single` or `best`; not used if a trial is given.
        trial: Number of a single trial, or None.
        refit: Take the models that `orchestrate refit` trained.
        operation: What is asked of its decisions; nothing takes what the ensemble was built for.

    Raises:
        EnsembleError: If the ensemble was not built.
        UnknownNameError: If no ensemble has such a name.
        RunError: If the trial is missing, not complete, kept no weights, or was not refitted. Refitted models
            need no weights of the folds.
    """
    if refit:
        chosen = _resolve(run, ensemble, trial, operation, needs_folds=False)
        check_refits(run, chosen.trials, f"--ensemble {ensemble}" if trial is None else f"--trial {trial}")
        return replace(
            chosen,
            name=f"{chosen.name}, refitted",
            is_refitted=True,
            refit_digest=refit_digest(run, chosen.trials),
        )
    return _resolve(run, ensemble, trial, operation, needs_folds=True)


def digest_of_best(run: RunFolder) -> str | None:
    """Return the digest of what a search ships by itself, with or without fold weights; None without such."""
    try:
        return _resolve(run, BEST, None, NOTHING_ASKED, needs_folds=False).digest
    except OrchestrateError:
        return None


def _resolve(
    run: RunFolder, ensemble: str, trial: int | None, operation: Operation, *, needs_folds: bool
) -> SelectedModel:
    if trial is not None:
        return _single(run, trial, operation, needs_folds=needs_folds)
    found = read_ensemble(run, ensemble)
    for number in found.trials:
        _check_weights(run, number, needs_folds=needs_folds)
    nested = found.nested
    digests = found.digests or tuple(run.predictions_digest(number) or "" for number in found.trials)
    rule, metrics, value = found.rule, dict(nested.metrics), nested.interval
    if operation.is_asked:
        rule, decided, value = _operated(run, found, operation)
        metrics |= decided
    return SelectedModel(
        name=f"ensemble {found.name}",
        method=found.method,
        digest=found.model_copy(update={"digests": digests}).digest,
        trials=found.trials,
        classes=found.classes,
        fitted=found.fitted,
        rule=rule,
        auc=Interval(nested.auc, nested.auc_low, nested.auc_high),
        metrics=metrics,
        is_trial=False,
        objectives=objectives_of(run.search()),
        value=value,
        chosen_from=found.said_of_pool,
        split=found.split,
        is_ordinal=run.search().task_definition.is_ordinal,
        shift=_shift(run.out_of_fold(found.trials[0]), rule) if rule.operation.prevalence else 0.0,
    )


def reason_against_export(run: RunFolder, trials: Sequence[int]) -> str:
    """Tell why `orchestrate export` cannot write a model of these trials; empty where it can."""
    if run.search().task_definition.takes_table:
        return "a bundle takes images, and this model takes the columns of a table"
    records = [run.record(number) for number in trials]
    names = [str(record.config.get("classical.name", "none")) for record in records if record is not None]
    random = [name for name in names if name in ESTIMATORS and ESTIMATORS[name].is_random]
    return f"{random[0]} guesses at random, which is no function of an image" if random else ""


def _operated(
    run: RunFolder, ensemble: Ensemble, operation: Operation
) -> tuple[DecisionRule, dict[str, float], Interval]:
    """Decision rule of an ensemble for what is asked, metrics out of fold, and the main one with its ends."""
    objectives, pool = objectives_of(run.search()), pool_of(run, ensemble)
    own = nested_again(pool, ensemble, is_of_choice=False)
    rule = fit_decision_rule(own, searched=objectives.metrics, operation=operation)
    scored = nested_again(pool, ensemble) if ensemble.chosen_without else own
    main, names = objectives.metrics[0], objectives.metrics
    value = metric_interval(scored, main, names, operation=operation, seed=ensemble.seed)
    return rule, out_of_fold_metrics(scored, objectives.at(operation)), value


def _single(run: RunFolder, number: int, operation: Operation, *, needs_folds: bool) -> SelectedModel:
    _check_weights(run, number, needs_folds=needs_folds)
    search, out_of_fold = run.search(), run.out_of_fold(number)
    objectives, record = objectives_of(search), run.record(number)
    rule = fit_decision_rule(out_of_fold, searched=objectives.metrics, operation=operation)
    costs = {} if record is None else {name: record.values.get(name) for name in objectives.costs}
    return SelectedModel(
        name=f"trial {number}",
        digest=out_of_fold.digest,
        trials=(number,),
        classes=search.classes,
        fitted=WeightedMean(weights=(1.0,)),
        rule=rule,
        auc=auc_interval(out_of_fold),
        metrics=out_of_fold_metrics(out_of_fold, objectives.at(operation))
        | {name: value for name, value in costs.items() if value is not None},
        is_trial=True,
        objectives=objectives,
        value=metric_interval(
            out_of_fold,
            objectives.metrics[0],
            objectives.metrics,
            operation=operation,
            seed=search.request.seed,
        ),
        split=search.split_name,
        is_ordinal=search.task_definition.is_ordinal,
        shift=_shift(out_of_fold, rule),
    )


def _shift(fitted_on: OutOfFold, rule: DecisionRule) -> float:
    """What a rule adds to all logits for the prevalence that was asked for."""
    return odds_shift(float(fitted_on.labels.mean()), rule.operation.prevalence)


def _check_weights(run: RunFolder, number: int, *, needs_folds: bool) -> None:
    record = run.record(number)
    if record is None:
        known = [str(other.number) for other in run.records() if other.can_predict]
        raise RunError(
            f"no finished trial {number} in {run.path}; trials with weights: {', '.join(known) or 'none'}. "
            f"See them with: {run.command('leaderboard')}"
        )
    if record.state != "complete":
        cause = f" ({record.cause})" if record.cause else ""
        raise RunError(
            f"a model needs a complete trial; trial {number} is {record.state}{cause}. "
            f"See which are complete with: {run.command('leaderboard')}"
        )
    if needs_folds and not record.can_predict:
        kept = run.search().request.keep_weights
        raise RunError(
            f"trial {number} kept no weights: the search kept those of its best {kept} trials. "
            "Take one of those, or search again with a larger --keep-weights"
        )
