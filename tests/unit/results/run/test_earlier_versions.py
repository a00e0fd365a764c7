"""Run folders that earlier versions wrote are read under today's names."""

from pathlib import Path

import pytest
import yaml

from results.run.records import TrialRecord
from results.run.run_folder import RunFolder
from trainables.config.trial_config import decode, parse_setting

# As version 0.1 wrote it.
EARLIER = """
task: benign_malignant
classes: [benign, malignant]
name: first
data: /data/patches.npz
label_codes: pisa
source: patches.npz
is_synthetic: false
fingerprint: abc
store: /runs/.store
metric: auc
space: benign_malignant
space_context: {backbones: [vgg16]}
pins: {optimizer.name: adam, training.stopping: fold}
backbones: [vgg16]
left_out: {}
weights_dir: null
weights: {vgg16: '123'}
trials: 24
minutes: 30.0
trial_minutes: 5.0
folds: 4
test_share: 0.2
seed: 3
workers: null
cpus_per_trial: 1.0
gpus_per_trial: 0.25
shares_gpus_as_measured: true
epochs: 30
keep_weights: 12
study_storage: null
command: orchestrate search benign_malignant
versions: {torch: '2.15'}
started_at: '2026-11-20T10:00:00Z'
features: float16
store_gb: null
shared_store: null
holdout: null
naive_split: false
start_from: {run: /runs/benign_malignant/other, trial: 7}
type_from: null
recipes: [E001-5]
process_per_fold: false
"""
RECORD = """{
 "number": 3, "state": "pruned", "cause": "asha",
 "config": {"training.stopping": "mean", "classical.power": 1},
 "value": 0.6, "epochs": 5, "fingerprint": "abc", "seed": 3, "finished_at": "2026-11-20T10:01:00Z",
 "prefix": {"kind": "stored views", "stage": "block4", "views": 8, "computed": 8, "read": 8}
}"""


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path)
    run.search_file.write_text(EARLIER)
    return run


def test_options_and_facts_of_a_search_find_their_places(run: RunFolder) -> None:
    search = run.search()
    request = search.request
    assert (request.task, request.trials, request.minutes, request.seed) == ("benign_malignant", 24, 30.0, 3)
    assert (request.folds, request.holdout, request.space, request.gpus_per_trial) == (4, None, None, None)
    assert request.fixed_params == {"optimizer.name": "adam", "training.early_stopping_scope": "fold"}
    assert request.start_from == "/runs/benign_malignant/other:7"
    assert (search.folds, search.trial_minutes, search.store) == (4, 5.0, "/runs/.store")
    assert (search.recipes, search.label_codes, search.weights) == (("E001-5",), "pisa", {"vgg16": "123"})


def test_a_search_that_is_written_again_is_as_todays_are(run: RunFolder) -> None:
    search = run.search()
    run.write_search(search)
    assert set(yaml.safe_load(run.search_file.read_text())) == set(type(search).model_fields)
    assert run.search() == search


def test_a_hold_out_has_no_folds_and_a_given_share_of_a_gpu_stays(run: RunFolder) -> None:
    text = EARLIER.replace("holdout: null", "holdout: 0.3").replace("folds: 4", "folds: 1")
    run.search_file.write_text(
        text.replace("shares_gpus_as_measured: true", "shares_gpus_as_measured: false")
    )
    search = run.search()
    assert (search.request.folds, search.request.holdout, search.folds) == (None, 0.3, 1)
    assert search.request.gpus_per_trial == 0.25


def test_causes_and_settings_of_a_trial_have_todays_names() -> None:
    record = TrialRecord.model_validate_json(RECORD)
    assert record.cause == "pruner"
    assert record.config == {"training.early_stopping_scope": "mean", "classical.minkowski_p": 1}
    assert record.prefix is not None
    assert record.prefix.read == 8


def test_settings_are_understood_under_their_earlier_names() -> None:
    config = decode({"model.backbone": "vgg16", "training.keep_epoch_by": "metric", "training.share": 0.5})
    assert (config.training.checkpoint_metric, config.training.train_fraction) == ("metric", 0.5)
    assert parse_setting("classical.scales", True) is True
