"""Finished trials of pairs, told trials and started ones say what cross-validation predicted out of fold."""

import dataclasses

import numpy as np
import pytest
import torch
from paired_run import FIRST_TRIALS, LITE0, SCRATCH, STARTED, TYPE_TRIALS, place_in, split_of, told_by
from trial_module import TrialModule

from results.predictors.model_inputs import ModelInputs, inputs_of_rows
from results.run.records import OutOfFold
from results.scores.metrics import scores
from trainables.common.errors import ConfigError
from trainables.config.tasks import task_named
from trainables.config.trial_config import decode
from trainables.data.training_data import training_data_of
from trainables.inference.finished_trials import (
    FinishedTrial,
    ImageFormat,
    RequiredInputs,
    SharedBackbones,
)
from trainables.runtime.trial_runtime import WarmStart
from trainables.validation.cross_validation import CrossValidation

pytestmark = pytest.mark.slow

IMAGE = ImageFormat((32, 32), 65535.0)
TASK = "benign_malignant"
DIFF = {**LITE0, "model.pair": "diff"}


@pytest.fixture
def runtime(tmp_path):
    return place_in(tmp_path)


@pytest.fixture
def training_data(paired_patches):
    return training_data_of(paired_patches, task_named(TASK), split_of(paired_patches))


def finish(settings, training_data, runtime, *, type_trial=None):
    """A trained trial and its out-of-fold predictions."""
    config = decode(settings)
    validation = CrossValidation(config, training_data, runtime, seed=1, score=scores)
    while not validation.is_over:
        validation.epoch()
    weights = runtime.weights[config.model.backbone] if config.model.weights == "imagenet" else None
    trial = FinishedTrial(config, validation.best.weights, weights, type_trial)
    return trial, validation.best.probabilities


@pytest.fixture
def types(paired_patches, runtime):
    """A finished trial of mass_calcification in the same split, and what it says out of fold."""
    training_data = training_data_of(
        paired_patches, task_named("mass_calcification"), split_of(paired_patches)
    )
    trial, probabilities = finish(TYPE_TRIALS[0], training_data, runtime)
    said = OutOfFold(
        training_data.rows, training_data.labels, training_data.folds, training_data.groups, probabilities
    )
    return trial, said


def by_fold(module, training_data, needs):
    inputs = inputs_of_rows(training_data.patch_set, task_named(TASK), training_data.rows, needs)
    with torch.inference_mode():
        return module.by_fold(**inputs.tensors())


def held_out(predicted, training_data):
    """Of predictions (folds, n, classes), what each fold says of its own images."""
    return predicted.numpy()[training_data.folds, np.arange(len(training_data.folds))]


def reproduces(trial, probabilities, training_data, *, classes=2, atol=1e-4):
    module = TrialModule(trial, IMAGE, classes=classes)
    predicted = by_fold(module, training_data, module.shared.needs)
    np.testing.assert_allclose(held_out(predicted, training_data), probabilities, atol=atol)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["absdiff", "diff", "concat"])
@pytest.mark.parametrize(
    "settings",
    [
        LITE0,
        {**LITE0, "model.cut": "block3", "model.trained_stages": 1, "model.head.branch": "6"},
        {**SCRATCH, "input.contrast": 1.5},
        {**LITE0, "model.cut": "block2", "model.channels": "conv1x1"},
    ],
    ids=["frozen", "fine-tuned", "from pixels", "adapter"],
)
def test_a_pair_trial_predicts_what_it_predicted_out_of_fold(kind, settings, training_data, runtime):
    reproduces(*finish({**settings, "model.pair": kind}, training_data, runtime), training_data)


def test_a_trial_told_by_people_predicts_what_it_predicted_out_of_fold(training_data, runtime):
    trial, probabilities = finish({**LITE0, "model.type_input": "human"}, training_data, runtime)
    module = TrialModule(trial, IMAGE, classes=2)
    assert module.shared.needs == RequiredInputs(baseline=False, finding_type=True)
    reproduces(trial, probabilities, training_data)


@pytest.mark.parametrize("kind", ["probability", "hard"])
@pytest.mark.parametrize("pair", ["none", "diff"])
def test_each_fold_is_told_the_type_by_the_same_fold_of_the_type_trial(
    kind, pair, training_data, runtime, types
):
    teller, said = types
    told = told_by(training_data, said)
    settings = {**LITE0, "model.type_input": kind, "model.pair": pair, "training.repeats": 2}
    trial, probabilities = finish(settings, told, runtime, type_trial=teller)
    module = TrialModule(trial, IMAGE, classes=2)
    assert module.shared.needs == RequiredInputs(
        baseline=True, finding_type=False
    )  # the type trial takes pairs
    assert len(module.shared.backbone_modules) == 1
    reproduces(trial, probabilities, told)


def test_a_type_trial_of_another_number_of_folds_tells_its_mean(training_data, runtime, types):
    teller, said = types
    settings = {**LITE0, "model.type_input": "probability"}
    trial, _ = finish(settings, told_by(training_data, said), runtime, type_trial=teller)
    more = dataclasses.replace(teller, folds=[*teller.folds, teller.folds[0]])
    first = dataclasses.replace(teller, folds=[teller.folds[0]])
    raw, baseline = (torch.randint(0, 65535, (3, 32, 32), dtype=torch.int32) for _ in range(2))
    with torch.inference_mode():
        types_of_three = TrialModule(more, IMAGE, classes=2)(raw, baseline)[:, 1]
        module = TrialModule(dataclasses.replace(trial, type_trial=more), IMAGE, classes=2)
        shared = module.shared
        features = shared.backbone_modules[0](raw, baseline)
        told = shared.models[1](features[shared.routes[1][0][1]], types_of_three.expand(2, -1))
        torch.testing.assert_close(module.by_fold(raw, baseline), told, atol=1e-6, rtol=0)
        only_first = TrialModule(dataclasses.replace(trial, type_trial=first), IMAGE, classes=2)
        assert not torch.equal(only_first(raw, baseline), module(raw, baseline))


def test_a_told_trial_needs_the_trial_that_told_it(training_data, runtime, types):
    trial, _ = finish({**LITE0, "model.type_input": "hard"}, told_by(training_data, types[1]), runtime)
    with pytest.raises(ConfigError, match=r"model\.type_input=hard needs the finished trial of mass_calc"):
        TrialModule(trial, IMAGE, classes=2)


@pytest.mark.parametrize("changes", [{}, {"model.trained_stages": 0}, {"model.pair": "diff"}])
def test_a_started_trial_predicts_what_it_predicted_out_of_fold(changes, training_data, runtime):
    first, _ = finish(FIRST_TRIALS[0], training_data, runtime)
    started = dataclasses.replace(runtime, start=WarmStart(first.config, first.folds))
    reproduces(*finish({**STARTED, **changes}, training_data, started), training_data)


def test_frozen_stages_of_a_started_trial_stay_those_of_each_fold(training_data, runtime):
    first, _ = finish(FIRST_TRIALS[0], training_data, runtime)
    started = dataclasses.replace(runtime, start=WarmStart(first.config, first.folds))
    trial, _ = finish({**STARTED, "model.trained_stages": 0}, training_data, started)
    one, other = TrialModule(trial, IMAGE, classes=2).shared.models[0].parts
    assert one.frozen is not other.frozen
    assert any(
        not torch.equal(mine, theirs)
        for mine, theirs in zip(one.frozen.parameters(), other.frozen.parameters(), strict=True)
    )


def test_single_and_pair_trials_share_a_trunk_and_predict_as_if_alone(training_data, runtime, types):
    teller, said = types
    told = told_by(training_data, said)
    settings = [
        {**LITE0, "model.cut": "block3"},
        {**DIFF, "training.augmentation": "none"},
        {**DIFF, "model.cut": "block2"},
        {**LITE0, "model.type_input": "probability"},
        {**SCRATCH, "model.pair": "concat", "model.type_input": "human"},
    ]
    finished = [finish(one, told, runtime, type_trial=teller) for one in settings]
    shared = SharedBackbones([trial for trial, _ in finished], IMAGE, classes=2)
    assert shared.needs == RequiredInputs(baseline=True, finding_type=True)
    assert len(shared.backbone_modules) == 2
    assert len(shared.models) == 6  # the type trial runs besides
    found = by_fold(shared, told, shared.needs)
    for predicted, (_, probabilities) in zip(found, finished, strict=True):
        np.testing.assert_allclose(held_out(predicted, told), probabilities, atol=1e-4)


def test_a_baseline_goes_no_deeper_than_pairs_ask_for(training_data, runtime):
    deep, _ = finish(LITE0, training_data, runtime)
    shallow, _ = finish({**DIFF, "model.cut": "block2"}, training_data, runtime)
    shared = SharedBackbones([deep, shallow], IMAGE, classes=2)
    seen = {}
    for name, stage in shared.backbone_modules[0].stages.items():
        stage.register_forward_hook(lambda _, inputs, __, name=name: seen.update({name: len(inputs[0])}))
    by_fold(shared, training_data, shared.needs)
    images = len(training_data.rows)
    assert seen["block2"] == 2 * 4 * images
    assert seen["block3"] == 4 * images


def test_single_trials_ask_for_nothing_besides_pixels(training_data, runtime):
    trial, _ = finish(LITE0, training_data, runtime)
    module = TrialModule(trial, IMAGE, classes=2)
    assert module.shared.needs == RequiredInputs(baseline=False, finding_type=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model.pair": "diff"}, "compares images with healthy baselines; give `baseline` besides `raw`"),
        (
            {"model.type_input": "human"},
            "takes in the type of the finding; give `finding_type` besides `raw`",
        ),
    ],
)
def test_inputs_that_are_missing_are_asked_for(settings, message, training_data, runtime):
    trial, _ = finish({**LITE0, **settings}, training_data, runtime)
    with pytest.raises(ConfigError, match=message):
        TrialModule(trial, IMAGE, classes=2)(torch.zeros(1, 32, 32))


def test_five_classes_are_predicted(paired_patches, runtime):
    task = task_named("five_class")
    training_data = training_data_of(paired_patches, task, split_of(paired_patches, "five_class"))
    trial, probabilities = finish(LITE0, training_data, runtime)
    module = TrialModule(trial, IMAGE, classes=5)
    inputs = inputs_of_rows(paired_patches, task, training_data.rows, module.shared.needs)
    with torch.inference_mode():
        predicted = module.by_fold(**inputs.tensors())
    assert predicted.shape == (2, len(training_data.rows), 5)
    np.testing.assert_allclose(held_out(predicted, training_data), probabilities, atol=1e-4)


# -- what a model takes of rows


def test_baselines_and_types_follow_the_order_of_the_rows(paired_patches):
    rows = np.array([7, 1, 5])
    inputs = inputs_of_rows(
        paired_patches, task_named(TASK), rows, RequiredInputs(baseline=True, finding_type=True)
    )
    np.testing.assert_array_equal(inputs.raw, paired_patches.images[[7, 1, 5]])
    np.testing.assert_array_equal(inputs.baseline, paired_patches.images[[6, 0, 4]])
    assert paired_patches.labels[rows].tolist() == [4, 1, 3]
    assert inputs.finding_type.tolist() == [1.0, 0.0, 1.0]


def test_batches_keep_images_baselines_and_types_together():
    numbers = np.arange(20, dtype=np.float32)
    images = np.zeros((20, 2, 2), np.float32) + numbers[:, None, None]
    batches = list(ModelInputs(images, images + 100, numbers).batches())
    assert [len(batch) for batch in batches] == [8, 8, 4]
    for batch in batches:
        np.testing.assert_array_equal(batch.raw[:, 0, 0], batch.finding_type)
        np.testing.assert_array_equal(batch.baseline[:, 0, 0], batch.finding_type + 100)
