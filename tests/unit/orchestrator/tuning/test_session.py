"""No core idles: few trials share all cores of a machine among them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from records import search_record

from cluster.resources import Machine
from orchestrator.tuning.session import _resources
from orchestrator.tuning.setup import Prepared
from orchestrator.tuning.trial_runner import TrialRunner
from results.run.run_folder import RunFolder
from trainables.config.trial_config import decode
from trainables.runtime.devices import kept_threads


def cores_of_a_trial(machine: Machine, *, slots: int, left: int, **options: Any) -> float:
    record = search_record(**options)
    prepared = Prepared(RunFolder(Path("unused")), record, None, slots)  # type: ignore[arg-type]  # resources need no study
    return _resources(prepared, (machine,), left).cpus


@pytest.mark.parametrize(
    ("cores", "slots", "left", "of_a_trial"),
    [(2, 2, 1, 2), (2, 2, 24, 1), (8, 8, 1, 8), (8, 8, 3, 2), (16, 4, 24, 4)],
)
def test_trials_have_all_cores_among_them(cores: int, slots: int, left: int, of_a_trial: int) -> None:
    assert cores_of_a_trial(Machine(cores, 0, 0), slots=slots, left=left) == of_a_trial


def test_what_the_user_says_wins() -> None:
    assert cores_of_a_trial(Machine(8, 0, 0), slots=8, left=1, cpus_per_trial=1) == 1


def test_a_worker_computes_on_all_cores_that_its_trial_has(tmp_path: Path) -> None:
    config = decode({"model.backbone": "efficientnet_lite0"})
    with kept_threads():
        TrialRunner(RunFolder(tmp_path), 0, config, {}, gpus=0.0, cpus=2.0)
        assert torch.get_num_threads() == 2
