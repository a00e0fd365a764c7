"""Ensembles of a run's finished trials: choice of members, fit, calibration and nested scores."""

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
from pydantic import Field, FiniteFloat, ValidationError

from results.ensembles.members import Members, align
from results.ensembles.methods import METHODS, FittedEnsemble, fit, method_named, methods_for
from results.ensembles.nested import BEST_SINGLE, EnsembleScore, choose, nested_evaluation
from results.ensembles.weighted_mean import WeightedMean, weighted_mean
from results.errors import EnsembleError
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.run.split_labels import GROUPED, SplitName
from results.scores.calibration import Platt
from results.scores.decision_rule import DecisionRule, fit_decision_rule
from results.scores.fold_scores import out_of_fold_ordinal_metrics
from results.scores.metrics import collapsed_folds
from results.scores.ranking import Objective
from trainables.common.errors import UnknownNameError
from trainables.common.frozen import FrozenModel
from trainables.common.text import command_text, typed_path

BEST: Final = "best"  # name under which the chosen ensemble is stored once more


class NestedScore(FrozenModel):
    """Scores to expect on new patients, see `results.ensembles.nested.EnsembleScore`.

    Attributes:
        difference: AUC minus that of the best single trial; None for that trial. `difference_low` and
            `difference_high` are the ends of its paired interval; those of all methods hold together in 95 %.
        ordinal: Scores of ordered classes; empty where the task has no order.
    """

    auc: FiniteFloat
    auc_low: FiniteFloat
    auc_high: FiniteFloat
    fold_auc: tuple[FiniteFloat, ...]
    difference: FiniteFloat | None
    difference_low: FiniteFloat | None
    difference_high: FiniteFloat | None
    metrics: dict[str, FiniteFloat]
    ordinal: dict[str, FiniteFloat] = Field(default_factory=dict)


class Ensemble(FrozenModel):
    """`ensembles/<name>.json`: all that is needed to predict with the weights of some trials.

    Attributes:
        method: Name in `METHODS`, or `best_single` for one trial alone.
        trials: Numbers of the members, in the order of the first axis that `fitted.combine` expects.
        fitted: Combination rule, fitted on all out-of-fold predictions.
        calibration: Calibration of the combined positive probability of single fold models, fitted on nested
            predictions, which no part of the ensemble was fitted on; None beyond two classes.
        mean_calibration: Calibration where each member is the mean of its fold models, as in the exported
            file; None beyond two classes, and in files of earlier versions, which used `calibration` for it.
        threshold: Smallest calibrated probability that is called positive; see `DecisionRule`.
        thresholds: Metric -> threshold at which that metric is shown; empty in files of earlier versions.
        is_chosen: True for the ensemble that is also stored as `best`.
        collapsed: Members that give every image of some fold the same score; empty unless all candidates do.
        pool: Trial numbers of all trials that members could have been chosen from.
        max_members: Largest number of members; None in files of earlier versions.
        split: Name of the kind of split; with a `naive split` patients lie in several folds, so that scores
            are too high.
    """

    method: str
    classes: tuple[str, ...]
    trials: tuple[int, ...] = Field(min_length=1)
    fitted: FittedEnsemble
    calibration: Platt | None
    mean_calibration: Platt | None = None
    threshold: FiniteFloat
    thresholds: dict[str, FiniteFloat] = Field(default_factory=dict)
    nested: NestedScore
    is_chosen: bool = False
    collapsed: tuple[int, ...] = ()
    pool: tuple[int, ...]
    fingerprint: str
    seed: int
    max_members: int | None = None
    split: SplitName = GROUPED

    @property
    def rule(self) -> DecisionRule:
        """Calibration and thresholds."""
        return DecisionRule(
            calibration=self.calibration,
            mean_calibration=self.mean_calibration or self.calibration,
            threshold=self.threshold,
            thresholds=self.thresholds,
        )


def build_ensembles(
    run: RunFolder,
    *,
    trials: Sequence[int] | None = None,
    max_members: int = 4,
    methods: Sequence[str] | None = None,
    seed: int,
) -> list[Ensemble]:
    """Fit every method on the best trials' out-of-fold predictions and write the ensembles to the run folder.

    The choice of members out of all complete trials, the fit, the calibration and the thresholds are scored
    on folds that had no part in them, and so is the best single trial. Members need weights, or are
    classical models, which need none. Trials with collapsed folds are no members unless all have them.

    Args:
        run: Folder of the search.
        trials: Numbers of the only trials that may be members; None allows all.
        max_members: Largest number of members of an ensemble.
        methods: Names in `METHODS`; None takes all that combine as many classes. If there is only one
            candidate, the single trial is the result.
        seed: Random seed of methods and comparisons.

    Returns:
        Ensembles: the best single trial first, then the methods as given.

    Raises:
        EnsembleError: If no trial can be a member, or the trials do not belong together.
        ScoreError: If too few patients are left to hold any out.
        UnknownNameError: If there is no such method.
    """
    if max_members < 1:
        raise EnsembleError(f"an ensemble has at least 1 member, found members {max_members}")
    search = run.search()
    methods = methods_for(len(search.classes)) if methods is None else methods
    for method in methods:
        method_named(method)
    readable = list(run.readable_predictions(_complete(run, search, trials)))
    pool = align({record.number: own for record, own in readable})
    # Of records of earlier versions the collapsed folds followed another rule.
    collapsed = frozenset(record.number for record, own in readable if collapsed_folds(own))
    usable = _usable(search, [record for record, _ in readable], () if trials is not None else collapsed)
    candidates = pool.only([pool.trials.index(record.number) for record in usable])
    scored = nested_evaluation(
        pool, methods if len(candidates.trials) > 1 else (), max_members=max_members, seed=seed
    )
    best = choose(scored, seed=seed).method
    built = []
    for score in scored:
        members, fitted = _fitted(candidates, score.method, max_members, seed)
        # The parts of a nested evaluation of a hold-out are not its fold models.
        rule = fit_decision_rule(score.out_of_fold, models=len(np.unique(pool.folds)))
        built.append(
            Ensemble(
                method=score.method,
                classes=search.classes,
                trials=members,
                fitted=fitted,
                calibration=rule.calibration,
                mean_calibration=rule.mean_calibration,
                threshold=rule.threshold,
                thresholds=rule.thresholds,
                nested=_kept(score, is_ordinal=search.task_definition.is_ordinal),
                is_chosen=score.method == best,
                collapsed=tuple(number for number in members if number in collapsed),
                pool=pool.trials,
                fingerprint=search.fingerprint,
                seed=seed,
                max_members=max_members,
                split=search.split_name,
            )
        )
    for ensemble in built:
        run.write_json(run.ensemble_file(ensemble.method), ensemble.model_dump(mode="json"))
        if ensemble.is_chosen:
            run.write_json(run.ensemble_file(BEST), ensemble.model_dump(mode="json"))
    return built


def read_ensemble(run: RunFolder, name: str = BEST) -> Ensemble:
    """Read an ensemble by name: that of a method, `best_single`, or `best`.

    Raises:
        EnsembleError: If it was not built, or the file is not an ensemble.
        UnknownNameError: If no ensemble has such a name.
    """
    known = (BEST, BEST_SINGLE, *METHODS)
    if name not in known:
        raise UnknownNameError("ensemble", name, known)
    path = run.ensemble_file(name)
    try:
        return Ensemble.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise EnsembleError(
            f"no ensemble {name!r} in {run.path}; build it first with: "
            f"{command_text('orchestrate', 'ensemble', typed_path(run.path))}"
        ) from error
    except ValidationError as error:
        raise EnsembleError(
            f"{path} is not an ensemble: {error.errors()[0]['msg']}. Build it again with: "
            f"{run.command('ensemble')}"
        ) from error


def _complete(run: RunFolder, search: SearchRecord, trials: Sequence[int] | None) -> list[TrialRecord]:
    """Return all complete trials, or those of the named ones, best first."""
    records = [record for record in run.records() if trials is None or record.number in trials]
    complete = [record for record in records if record.state == "complete" and record.value is not None]
    if not complete:
        raise EnsembleError(
            f"an ensemble needs a complete trial, found none among {len(records)} in {run.path}; "
            f"allow more time or trials with: {run.command('resume', '--minutes', '30')}"
        )
    _check_same_data(complete, search.fingerprint)
    return Objective(search.metric).rank(complete)


def _usable(
    search: SearchRecord, complete: Sequence[TrialRecord], without: Collection[int]
) -> list[TrialRecord]:
    """Return the trials that can be members; those in `without` only if there are no others."""
    weighted = [record for record in complete if record.can_predict]
    if not weighted:
        raise EnsembleError(
            "an ensemble needs trials that kept their weights, "
            f"found none among {len(complete)} complete ones; the search kept the weights of "
            f"{search.request.keep_weights} trials: search again keeping more"
        )
    return [record for record in weighted if record.number not in without] or weighted


def _check_same_data(records: Sequence[TrialRecord], fingerprint: str) -> None:
    strangers = [record.number for record in records if record.fingerprint != fingerprint]
    if strangers:
        raise EnsembleError(
            f"members need the run's own data {fingerprint[:12]}; trials {strangers} were run on other data. "
            "Move them out of the run folder"
        )


def _fitted(
    pool: Members, method: str, max_members: int, seed: int
) -> tuple[tuple[int, ...], FittedEnsemble]:
    """Members and rule, fitted on all out-of-fold predictions; members without a weight are dropped."""
    is_single = method == BEST_SINGLE
    members = pool.best(1 if is_single else max_members)
    fitted = fit("average" if is_single else method, members, seed)
    if isinstance(fitted, WeightedMean):
        members, fitted = _without_idle_members(members, fitted)
    return members.trials, fitted


def _without_idle_members(members: Members, fitted: WeightedMean) -> tuple[Members, WeightedMean]:
    used = np.flatnonzero(fitted.weights)
    return members.only(used.tolist()), weighted_mean(np.asarray(fitted.weights)[used])


def _kept(score: EnsembleScore, *, is_ordinal: bool) -> NestedScore:
    difference = score.difference
    return NestedScore(
        auc=score.auc.estimate,
        auc_low=score.auc.low,
        auc_high=score.auc.high,
        fold_auc=score.fold_auc,
        difference=None if difference is None else difference.estimate,
        difference_low=None if difference is None else difference.low,
        difference_high=None if difference is None else difference.high,
        metrics=score.metrics,
        ordinal=out_of_fold_ordinal_metrics(score.out_of_fold) if is_ordinal else {},
    )
