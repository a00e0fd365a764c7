"""Searches whose trials have GPUs that the process which begins them has not, and the other way round."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.background import KnownConnection
from cluster.connect import Connection
from orchestrator.preflight.preflight import Preflight, run_preflight
from orchestrator.request import parse_request
from trainables.common.errors import ConfigError
from trainables.data.patches import PatchSet

CLUSTER = Connection("head:6379", False, 8.0, 2.0, 2, "")
OWN = Connection("", True, 8.0, 1.0, 1, "")  # Ray counts cards of the driver, whatever torch was built for
CHEAP = {"model.backbone": "efficientnet_lite0", "model.trained_stages": 0}
SAID = "trials run on GPUs, and this machine has none"


@pytest.fixture
def preflight(tmp_path: Path, bright_patches: PatchSet, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    file = tmp_path / "small.npz"
    np.savez(
        file, images=bright_patches.images, labels=bright_patches.labels, patient=bright_patches.patients
    )

    def run(connection: Connection, said: list[str], **options: Any) -> Preflight:
        request = parse_request(
            {
                "task": "benign_malignant",
                "data": str(file),
                "label_codes": "task",
                "runs": tmp_path / "runs",
                "trials": 2,
                "epochs": 4,
                "folds": 3,
                "may_download": False,
                "fixed_params": CHEAP,
                "audit": False,
                **options,
            }
        )
        return run_preflight(request, KnownConnection(connection), said.append)

    return run


def test_a_head_without_a_gpu_begins_a_search_on_machines_that_have_some(preflight: Any) -> None:
    said: list[str] = []
    found = preflight(CLUSTER, said)
    assert found.gpus_per_trial == 0.25
    assert found.slots == 8
    assert any(SAID in sentence for sentence in said)


def test_a_card_that_torch_cannot_use_is_none(preflight: Any) -> None:
    said: list[str] = []
    assert preflight(OWN, said).gpus_per_trial == 0.0
    assert not any(SAID in sentence for sentence in said)
    with pytest.raises(ConfigError, match="--gpus-per-trial 0"):
        preflight(OWN, said, gpus_per_trial=1.0)
