"""Run folders with out-of-fold predictions of simulated trials."""

import datetime

import records

from results.run.records import TrialRecord
from results.run.run_folder import RunFolder
from results.scores.fold_scores import objective_values
from results.scores.ranking import objectives_of

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def make_run(path, trials, *, metrics=("auc",), requirements=(), costs=None, **changes):
    """Write a run; `costs` are those of each trial, by metric, for searches that ask for them."""
    run = RunFolder(path / "benign_malignant" / "first")
    search = search_record(metrics=metrics, requirements=requirements)
    run.write_search(search)
    for number, predictions in trials.items():
        run.write_out_of_fold(number, predictions)
        values = objective_values(predictions, objectives_of(search)) | (costs or {}).get(number, {})
        run.write_record(trial_record(number, value=values[metrics[0]], values=values, **changes))
    return run


def search_record(**changes):
    return records.search_record(**({"fingerprint": "abc", "folds": 5, "started_at": NOW} | changes))


def trial_record(number, **changes):
    asked = {"state": "complete", "has_weights": True, "fingerprint": "abc", "value": 0.7, **changes}
    return TrialRecord(number=number, config={}, seed=0, finished_at=NOW, **asked)
