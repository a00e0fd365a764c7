"""Runs of two small trials, once for each file of tests of refitting."""

import pytest
import torch
from refitted_run import searched_run

from orchestrator.postprocessing.refit import refit_model
from trainables.runtime.trial_runtime import TrialRuntime


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A run of two trials; each knows the epoch that was chosen for it."""
    return searched_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def refitted(searched):
    """The run with both trials refitted, the first by three seeds."""
    for trial, seeds in ((0, 3), (1, 1)):
        _, members = refit_model(searched, ensemble="best", trial=trial, seeds=seeds)
        assert [member.number for member in members] == [trial]
    return searched


@pytest.fixture
def runtime(tmp_path):
    return TrialRuntime(tmp_path / "store", torch.device("cpu"), {"scratch4": None})
