"""What a user says of the store on the command line reaches the trial that reads it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from worker_run import CONTEXT

from orchestrator.cli.main import build_parser
from orchestrator.preflight import run_data
from orchestrator.request import parse_request
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from trainables.common.errors import ConfigError


def test_the_record_decides_how_a_worker_stores_features(
    tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    run = RunFolder(tmp_path / "run")
    run.write_search(
        make_search(space_context=CONTEXT, features="float32", store_gb=1.5, shared_store="/shared")
    )
    runtime = run_data._runtime(run, torch.device("cpu"))
    assert (runtime.features, runtime.store_gb, runtime.shared_store) == ("float32", 1.5, Path("/shared"))


def test_the_options_of_a_search_are_read() -> None:
    typed = ["search", "benign_malignant", "--features", "off", "--store-gb", "20", "--shared-store", "x"]
    chosen = build_parser().parse_args(typed)
    assert (chosen.features, chosen.store_gb, chosen.shared_store) == ("off", 20.0, Path("x"))


@pytest.mark.parametrize("size", [-1.0, float("nan")])
def test_a_budget_that_is_none_is_refused(tmp_path: Path, size: float) -> None:
    with pytest.raises(ConfigError, match="--store-gb must be at least 0, found"):
        parse_request({"task": "benign_malignant", "runs": tmp_path, "store_gb": size})
