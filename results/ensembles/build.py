"""Ensembles of a run's finished trials: choice of members, fit, calibration and nested scores."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from pydantic import Field, FiniteFloat, ValidationError

from results.ensembles.members import Members, align
from results.ensembles.methods import METHODS, FittedEnsemble, fit, method_named
from results.ensembles.nested import BEST_SINGLE, EnsembleScore, choose, nested_evaluation
from results.ensembles.weighted_mean import WeightedMean, weighted_mean
from results.errors import EnsembleError
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.run.split_labels import GROUPED, SplitName
from results.scores.calibration import Platt
from results.scores.fold_scores import decision_rule
from results.scores.ranking import Objective
from trainables.common.errors import UnknownNameError
from trainables.common.frozen import FrozenModel
from trainables.common.text import command_text, typed_path

BEST: Final = "best"  # name under which the chosen ensemble is stored once more


class NestedScore(FrozenModel):
    """Scores to expect on new patients, see `results.ensembles.nested.EnsembleScore`.

    Attributes:
        difference: AUC minus that of the best single trial; None for that trial. `difference_low` and
            `difference_high` are the ends of its paired 95 % interval.
    """

    auc: FiniteFloat
    auc_low: FiniteFloat
    auc_high: FiniteFloat
    fold_auc: tuple[FiniteFloat, ...]
    difference: FiniteFloat | None
    difference_low: FiniteFloat | None
    difference_high: FiniteFloat | None
    metrics: dict[str, FiniteFloat]


class Ensemble(FrozenModel):
    """`ensembles/<name>.json`: all that is needed to predict with the weights of some trials.

    Attributes:
        method: Name in `METHODS`, or `best_single` for one trial alone.
        trials: Numbers of the members, in the order of the first axis that `fitted.combine` expects.
        fitted: Combination rule, fitted on all out-of-fold predictions.
        calibration: Calibration of the combined positive probability, fitted on nested predictions, which no
            part of the ensemble was fitted on; None beyond two classes.
        threshold: Smallest calibrated probability that is called positive, chosen by balanced accuracy.
        is_chosen: True for the ensemble that is also stored as `best`.
        collapsed: Members that predict a single class in some fold; empty unless all candidates do.
        pool: Trial numbers of the candidates that members were chosen from.
        max_members: Largest number of members; None in files of earlier versions.
        split: Name of the kind of split; with a `naive split` patients lie in several folds, so that scores
            are too high.
    """

    method: str
    classes: tuple[str, ...]
    trials: tuple[int, ...] = Field(min_length=1)
    fitted: FittedEnsemble
    calibration: Platt | None
    threshold: FiniteFloat
    nested: NestedScore
    is_chosen: bool = False
    collapsed: tuple[int, ...] = ()
    pool: tuple[int, ...]
    fingerprint: str
    seed: int
    max_members: int | None = None
    split: SplitName = GROUPED


def build_ensembles(
    run: RunFolder,
    *,
    pool: int = 12,
    trials: Sequence[int] | None = None,
    max_members: int = 4,
    methods: Sequence[str] = tuple(METHODS),
    resamples: int = 1000,
    seed: int,
) -> list[Ensemble]:
    """Fit every method on the best trials' out-of-fold predictions and write the ensembles to the run folder.

    The pool is chosen by scores on all folds; from there on the choice of members, the fit, the calibration
    and the threshold are scored on folds that had no part in them, and so is the best single trial.

    Args:
        run: Folder of the search.
        pool: Number of candidates: the best complete trials that kept their weights, or are classical models,
            which need none. Trials with collapsed folds are left out unless all have them.
        trials: Numbers of the candidates, whatever their scores; None takes the pool.
        max_members: Largest number of members of an ensemble.
        methods: Names in `METHODS`. If there is only one candidate, the single trial is the result.
        resamples: Number of bootstrap resamples of patients.
        seed: Random seed of methods and intervals.

    Returns:
        Ensembles: the best single trial first, then the methods as given.

    Raises:
        EnsembleError: If no trial can be a member, or the trials do not belong together.
        UnknownNameError: If there is no such method.
    """
    if pool < 1 or max_members < 1:
        raise EnsembleError(f"pool and members are at least 1, found pool {pool} and members {max_members}")
    for method in methods:
        method_named(method)
    search = run.search()
    records = _candidates(run, search, pool, trials)
    collapsed = frozenset(record.number for record in records if record.collapsed_folds)
    candidates = align({record.number: run.out_of_fold(record.number) for record in records})
    scored = nested_evaluation(
        candidates,
        methods if len(candidates.trials) > 1 else (),
        max_members=max_members,
        resamples=resamples,
        seed=seed,
    )
    best = choose(scored).method
    built = []
    for score in scored:
        trials, fitted = _fitted(candidates, score.method, max_members, seed)
        calibration, threshold = decision_rule(score.out_of_fold)
        built.append(
            Ensemble(
                method=score.method,
                classes=search.classes,
                trials=trials,
                fitted=fitted,
                calibration=calibration,
                threshold=threshold,
                nested=_kept(score),
                is_chosen=score.method == best,
                collapsed=tuple(number for number in trials if number in collapsed),
                pool=candidates.trials,
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
            f"{path} is not an ensemble: {error.errors()[0]['msg']}. Build it again"
        ) from error


def _candidates(
    run: RunFolder, search: SearchRecord, pool: int, trials: Sequence[int] | None
) -> list[TrialRecord]:
    """Return the trials that can be members, best first: the named ones, or the best of all."""
    records = [record for record in run.records() if trials is None or record.number in trials]
    complete = [record for record in records if record.state == "complete" and record.value is not None]
    if not complete:
        raise EnsembleError(
            f"an ensemble needs a complete trial, found none among {len(records)} in {run.path}; "
            "resume the search, or allow more trials or minutes"
        )
    weighted = [record for record in complete if record.can_predict]
    if not weighted:
        raise EnsembleError(
            "an ensemble needs trials that kept their weights, "
            f"found none among {len(complete)} complete ones; the search kept the weights of "
            f"{search.request.keep_weights} trials: search again keeping more"
        )
    _check_same_data(weighted, search.fingerprint)
    # Even if all scores lie on one side of 0.5 the ranking can be right: collapsed trials are a last resort.
    sound = [record for record in weighted if not record.collapsed_folds]
    usable = sound if sound and trials is None else weighted
    return Objective(search.metric).rank(usable)[: pool if trials is None else None]


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


def _kept(score: EnsembleScore) -> NestedScore:
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
    )
