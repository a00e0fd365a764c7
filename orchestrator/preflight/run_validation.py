"""The cross-validation of a configuration as a recorded search judges it."""

import functools
from typing import Any, Final

from results.run.records import OutOfFold, SearchRecord
from results.scores.fold_scores import value_and_folds
from results.scores.metrics import metric_named, scores
from results.scores.ranking import Objectives, objectives_of
from trainables.config.trial_config import TrialConfig
from trainables.data.training_data import TrainingData
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.validation.epoch_selection import Judge, Judgement
from trainables.validation.factory import Validation, open_validation

EPOCH_METRICS: Final = ("auc", "f2", "f1", "accuracy", "balanced_accuracy", "recall", "precision")


def open_run_validation(
    search: SearchRecord,
    config: TrialConfig,
    training_data: TrainingData,
    runtime: TrialRuntime,
    *,
    isolated: bool,
) -> Validation:
    """Open the cross-validation of a configuration of a search, with its seed, metric and judge.

    Args:
        search: Request and facts of the search.
        config: The trial.
        training_data: The training part.
        runtime: Store, device and weights.
        isolated: True to train each fold of a net in its own process.

    Raises:
        OrchestrateError: If the configuration cannot run on these data.
    """
    return open_validation(
        config,
        training_data,
        runtime,
        seed=search.request.seed,
        score=functools.partial(epoch_scores, metric=search.metric),
        metric=search.metric,
        judge=_judge(objectives_of(search)),
        isolated=isolated,
    )


def epoch_scores(labels: Any, probabilities: Any, *, metric: str = "auc") -> dict[str, float]:
    """Return the metrics that every epoch reports, at threshold 0.5; that of the search is among them."""
    found = scores(labels, probabilities, also=[metric_named(metric)])
    return {name: found[name] for name in dict.fromkeys((*EPOCH_METRICS, metric))}


def _judge(objectives: Objectives) -> Judge:
    """The main metric of an epoch's predictions: the number that the leaderboard will show of them."""
    main = objectives.main

    def judgement(labels: Any, probabilities: Any, folds: Any, groups: Any) -> Judgement:
        predictions = OutOfFold(labels, labels, folds, groups, probabilities)  # no metric reads the rows
        return Judgement(*value_and_folds(predictions, main.metric, objectives))

    return Judge(judgement, main.higher_is_better)
