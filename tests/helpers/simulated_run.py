"""Run folders with out-of-fold predictions of simulated trials."""

import datetime

import records

from results.run.records import TrialRecord
from results.run.run_folder import RunFolder
from results.scores.metrics import mean_fold_auc

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def make_run(path, trials, **changes):
    run = RunFolder(path / "benign_malignant" / "first")
    run.write_search(search_record())
    for number, predictions in trials.items():
        run.write_out_of_fold(number, predictions)
        value = float(mean_fold_auc(predictions.labels, predictions.probabilities, predictions.folds))
        run.write_record(trial_record(number, value=value, **changes))
    return run


def search_record(**changes):
    return records.search_record(**({"fingerprint": "abc", "folds": 5, "started_at": NOW} | changes))


def trial_record(number, **changes):
    asked = {"state": "complete", "has_weights": True, "fingerprint": "abc", "value": 0.7, **changes}
    return TrialRecord(number=number, config={}, seed=0, finished_at=NOW, **asked)
