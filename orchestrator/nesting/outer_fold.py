"""Prediction of an outer fold by what the search without it ships, and by the simpler models beside it."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from results.ensembles.build import build_ensembles
from results.ensembles.ensemble import BEST
from results.errors import RunError
from results.predictors.selected_model import SelectedModel, resolve_model
from results.run.outer_fold import ROLES, FoldModel, FoldPredictions, OuterFold, Role, write_outer_fold
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.run.test_accesses import TestAccess, record_access
from results.scores.outer_result import shares_of
from results.scores.ranking import objectives_of
from results.scores.settings_text import settings_text
from trainables.config.baseline import is_baseline
from trainables.data.units import ScoredRows


def predict_outer_fold(
    inner: RunFolder, unseen: ScoredRows, *, asked: int, keep_weights: int, by: str
) -> OuterFold:
    """Let a finished inner search predict the fold that it did not see; writes both into its run folder.

    Its ensembles are built as `orchestrate ensemble` builds them, and the chosen one is what it ships. The
    look at the fold is logged before it is predicted. Weights that only these predictions needed are removed
    then.

    Args:
        inner: Run folder of the inner search.
        unseen: Rows of the outer fold that are scored.
        asked: Number of trials that the inner search was to run.
        keep_weights: Number of best trials whose weights stay, as in the outer search.
        by: Command that asked for it, for the log.

    Raises:
        RunError: If no trial of the inner search was completed.
        OrchestrateError: If a model cannot predict.
    """
    from results.predictors.stored_predictions import predict_stored
    from trainables.runtime.devices import available_device

    search, records = inner.search(), inner.records()
    models = _models(inner, search, records)
    _log(inner, unseen, models["shipped"], by)
    found = predict_stored(inner, unseen.rows, list(models.values()), device=available_device())
    predictions = FoldPredictions(
        unseen.rows,
        unseen.labels,
        unseen.groups.astype(np.str_),
        dict(zip(models, found.probabilities, strict=True)),
    )
    complete = [record for record in records if record.state == "complete"]
    uses = [*(record.prefix for record in records if record.prefix is not None), *found.uses]
    place = search.outer
    if place is None:
        raise RunError(f"{inner.path} is not the search inside of an outer fold")
    fold = OuterFold(
        fold=place.fold,
        folds=place.folds,
        patients=len(np.unique(unseen.groups)),
        asked=asked,
        ended=len(records),
        complete=len(complete),
        models={role: _described(inner, role, model) for role, model in models.items()},
        winner=_record_of(records, models["incumbent"].trials[0]).config,
        choices=shares_of([record.config for record in complete]),
        worker_seconds=sum(record.wall_seconds for record in records),
        features_computed=sum(use.computed for use in uses),
        features_again=sum(use.rebuilt for use in uses),
        features_read=sum(use.read for use in uses),
    )
    write_outer_fold(inner, fold, predictions)
    used = {number for model in models.values() for number in model.trials}
    holders = [record for record in complete if record.has_weights]
    for record in objectives_of(search).rank(holders)[keep_weights:]:
        if record.number not in used:
            inner.discard_weights(record.number)
    return fold


def _models(
    inner: RunFolder, search: SearchRecord, records: Sequence[TrialRecord]
) -> dict[Role, SelectedModel]:
    """Role -> model of the inner search; roles that it lacks are missing."""
    objectives = objectives_of(search)
    usable = [record for record in records if record.can_predict]
    if not usable:
        raise RunError(
            f"no trial of {inner.path} was completed, so nothing predicts its outer fold and the search has "
            "no nested score; give its trials more time with: "
            f"{inner.command('resume', '--minutes', '30')}, then: {inner.resume_command}"
        )
    build_ensembles(inner, seed=search.request.seed)
    best = objectives.best(usable) or usable[0]
    baseline = objectives.best([record for record in usable if is_baseline(record.config)])
    trials: dict[Role, TrialRecord | None] = {
        "incumbent": best,
        "first_point": usable[0] if usable[0].number == 0 else None,
        "baseline": baseline,
    }
    found: dict[Role, SelectedModel] = {"shipped": resolve_model(inner, ensemble=BEST)}
    for role in ROLES:
        record = trials.get(role)
        if record is not None:
            found[role] = resolve_model(inner, trial=record.number)
    return found


def _described(inner: RunFolder, role: Role, model: SelectedModel) -> FoldModel:
    record = inner.record(model.trials[0])
    claimed = None if record is None or role == "shipped" else record.value
    return FoldModel(
        name=model.name,
        trials=model.trials,
        settings="" if record is None else settings_text(record.config),
        inner_value=model.value.estimate if claimed is None else claimed,
        threshold=model.threshold,
        thresholds=dict(model.rule.thresholds),
    )


def _record_of(records: Sequence[TrialRecord], number: int) -> TrialRecord:
    return next(record for record in records if record.number == number)


def _log(inner: RunFolder, unseen: ScoredRows, model: SelectedModel, by: str) -> None:
    access = TestAccess.of(
        unseen.groups,
        run=inner.path,
        by=by,
        when=datetime.now(UTC),
        model=model.name,
        trials=model.trials,
        threshold=model.threshold,
        model_digest=model.digest,
    )
    record_access(inner, access.opened)
