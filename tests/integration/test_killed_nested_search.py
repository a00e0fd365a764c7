"""A nested search with real Ray: killed between its outer folds, it goes on where it was."""

import json
from pathlib import Path

import pytest
from nested_run import bright_patches

from orchestrator import StopSearch, run_search
from orchestrator.api.nesting import nest_search
from orchestrator.callbacks import Callback
from results.run.outer_fold import read_outer_fold
from results.run.run_folder import RunFolder
from results.scores.outer_result import OuterResult

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]


class StopsSecondSearch(Callback):
    """Ends the second inner search at its first trial, as Ctrl-C would."""

    def __init__(self) -> None:
        self.searches = 0

    def on_search_start(self, run: RunFolder, search: object) -> None:
        self.searches += 1
        if self.searches == 2:
            raise StopSearch


def test_an_interrupted_nested_search_goes_on_and_computes_no_features_again(tmp_path: Path) -> None:
    raw = bright_patches()
    result = run_search(
        "benign_malignant",
        images=raw.images,
        labels=raw.labels,
        patient=raw.patients,
        trials=2,
        folds=2,
        runs=tmp_path,
        name="first",
        address="local",
        audit=False,
        may_download=False,
        fixed_params={"model.backbone": "intensity"},
    )
    first = nest_search(result.run, outer=2, address="local", callbacks=[StopsSecondSearch()])
    assert first is None
    assert read_outer_fold(result.run.outer_run(1)) is not None
    assert result.outer is None
    kept = result.run.outer_run(1).record_file(0).stat().st_mtime_ns
    found = result.nest(address="local")
    assert found is not None
    assert found.trials == (2, 2)
    assert found.cost.features_again == 0
    assert result.run.outer_run(1).record_file(0).stat().st_mtime_ns == kept
    assert OuterResult.model_validate(json.loads(result.run.outer_file.read_text())) == found
