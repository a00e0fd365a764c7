"""Folds that train in several places give the results of folds that train in one."""

import dataclasses
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from split_data import split_in_three

from results.scores.metrics import scores
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.patches import PatchSet
from trainables.data.training_data import TrainingData
from trainables.models.weights import take_inventory
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.folds import NanLossError
from trainables.training.sequential import ExecutionMode
from trainables.validation.cross_validation import CrossValidation
from trainables.validation.epoch_selection import TrialSnapshot
from trainables.validation.fold_share import FoldShare

pytestmark = pytest.mark.slow

HEAD = {
    "model.backbone": "efficientnet_lite0",
    "input.size_px": 32,
    "model.head.hidden": "8",
    "optimizer.lr": 0.003,
    "training.epochs": 4,
    "training.batch_size": 16,
}
SCRATCH = {
    "model.backbone": "scratch4",
    "model.weights": "random",
    "model.trained_stages": "all",
    "model.head.hidden": "8",
    "training.epochs": 3,
    "training.batch_size": 16,
    "training.average_views": False,
}
CASES: dict[str, dict[str, Any]] = {
    "adam, dropout": {**HEAD, "model.head.dropout": 0.5, "optimizer.name": "adam"},
    "sgd, repeats": {**HEAD, "training.repeats": 2, "optimizer.name": "sgd", "optimizer.momentum": 0.9},
    "averaged weights": {**HEAD, "fine_tuning.ema": 0.9, "model.head.batch_norm": True},
    "rates that follow the mean": {**HEAD, "optimizer.schedule": "plateau", "optimizer.step_epochs": 1},
    "each fold stops by itself": {
        **HEAD,
        "training.early_stopping_scope": "fold",
        "training.patience": 1,
        "training.epochs": 8,
        "optimizer.lr": 0.3,
    },
    "from pixels": SCRATCH,
    "from pixels, rates by depth": {**SCRATCH, "fine_tuning.layer_decay": 0.7},
    "begins with the head": {
        **HEAD,
        "model.trained_stages": 1,
        "training.average_views": False,
        "training.augmentation": "none",
        "training.first_phase": "head",
        "training.first_phase_epochs": 1,
        "training.epochs": 2,
    },
}


class Elsewhere:
    """A place in this process; what goes there and comes back is pickled on its way."""

    def __init__(self, share: FoldShare) -> None:
        self.share, self.answer = share, None
        self.taken: list[range] = []

    def begin(self, numbers: range, state: dict[str, Any], *, mode: ExecutionMode, seed: int) -> None:
        self.taken.append(numbers)
        drawn = torch.get_rng_state()  # that of another process
        self.share.begin(numbers, pickle.loads(pickle.dumps(state)), mode=mode, seed=seed)
        torch.set_rng_state(drawn)

    def wait(self) -> None: ...

    def begin_epoch(self, epoch: int, *, active: Sequence[bool], losses: Sequence[float]) -> None:
        self.answer = pickle.loads(pickle.dumps(self.share.epoch(epoch, active=active, losses=losses)))

    def results(self) -> Any:
        return self.answer

    def kept_states(self, fold: int) -> Any:
        return pickle.loads(pickle.dumps(self.share.kept_states(fold)))

    def state(self) -> Any:
        return pickle.loads(pickle.dumps(self.share.state()))


@pytest.fixture
def training_data(bright_patches: PatchSet) -> TrainingData:
    return split_in_three(bright_patches)


@pytest.fixture
def runtime(tmp_path: Path) -> TrialRuntime:
    inventory = take_inventory(("efficientnet_lite0", "scratch4"), weights_dir=None, may_download=False)
    # In double precision, so that the order of summation does not show.
    return TrialRuntime(tmp_path / "store", torch.device("cpu"), inventory.usable, dtype=torch.float64)


def opened(config: TrialConfig, training_data: TrainingData, runtime: TrialRuntime) -> CrossValidation:
    return CrossValidation(config, training_data, runtime, seed=3, score=scores)


def places(
    count: int, config: TrialConfig, training_data: TrainingData, runtime: TrialRuntime
) -> list[Elsewhere]:
    return [Elsewhere(FoldShare(config, training_data, runtime, seed=3)) for _ in range(count)]


def ended(run: CrossValidation) -> TrialSnapshot:
    while not run.is_over:
        run.epoch()
    assert run.best is not None
    return run.best


def assert_same(found: TrialSnapshot, expected: TrialSnapshot) -> None:
    assert found.epoch == expected.epoch
    np.testing.assert_allclose(found.losses, expected.losses, atol=1e-9)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-9)
    assert len(found.weights) == len(expected.weights)
    for own, theirs in zip(found.weights, expected.weights, strict=True):
        torch.testing.assert_close(dict(own), dict(theirs), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mode", ["sequential", "fused"])
@pytest.mark.parametrize("case", CASES)
def test_folds_in_two_and_three_places_are_those_of_one(
    case: str, mode: ExecutionMode, training_data: TrainingData, runtime: TrialRuntime
) -> None:
    config, runtime = decode(CASES[case]), dataclasses.replace(runtime, fusion=mode)
    whole = ended(opened(config, training_data, runtime))
    for count in (1, 2):
        spread = opened(config, training_data, runtime)
        spread.epoch()
        spread.spread(places(count, config, training_data, runtime))
        assert_same(ended(spread), whole)


def test_a_place_whose_folds_have_all_stopped_takes_no_steps_in_half_precision(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    config = decode({**CASES["each fold stops by itself"], "fine_tuning.precision": "float16"})
    runtime = dataclasses.replace(runtime, fusion="sequential", dtype=torch.float32)
    spread = opened(config, training_data, runtime)
    spread.epoch()
    spread.spread(places(2, config, training_data, runtime))
    assert np.isfinite(ended(spread).losses).all()


def test_places_may_come_and_go(training_data: TrainingData, runtime: TrialRuntime) -> None:
    config = decode({**CASES["adam, dropout"], "training.epochs": 5})
    whole = ended(opened(config, training_data, runtime))
    spread = opened(config, training_data, runtime)
    first, second = places(2, config, training_data, runtime)
    spread.epoch()
    spread.spread([first])
    spread.epoch()
    spread.spread([first, second])
    spread.epoch()
    spread.spread([])
    spread.epoch()
    assert (first.taken, second.taken) == ([range(2, 3), range(1, 2)], [range(2, 3)])
    assert_same(ended(spread), whole)


@pytest.mark.parametrize("mode", ["sequential", "fused"])
def test_a_trial_goes_on_in_one_place_from_the_checkpoint_of_several(
    mode: ExecutionMode, training_data: TrainingData, runtime: TrialRuntime
) -> None:
    config, runtime = decode(CASES["averaged weights"]), dataclasses.replace(runtime, fusion=mode)
    whole = ended(opened(config, training_data, runtime))
    spread = opened(config, training_data, runtime)
    spread.epoch()
    spread.spread(places(2, config, training_data, runtime))
    spread.epoch()
    resumed = opened(config, training_data, runtime)
    resumed.load_state(spread.state())
    assert resumed.epochs_done == 2
    assert_same(ended(resumed), whole)


def test_what_fails_elsewhere_fails_the_trial(training_data: TrainingData, runtime: TrialRuntime) -> None:
    class Fails(Elsewhere):
        def results(self) -> Any:
            raise NanLossError("the training loss became nan in epoch 2")

    config = decode(HEAD)
    run = opened(config, training_data, runtime)
    run.epoch()
    run.spread([Fails(FoldShare(config, training_data, runtime, seed=3))])
    with pytest.raises(NanLossError, match="epoch 2"):
        run.epoch()
    assert run.trained_parameters > 0
