"""A trial manager over a list, and short steps of trials, for the tests of what they do and survive."""

from collections.abc import Callable
from pathlib import Path

import pytest
from list_study import Clock, ListStudy

from orchestrator.tuning import trial_runner
from orchestrator.tuning.trial_manager import TrialManager
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder

Lead = Callable[..., TrialManager]


@pytest.fixture
def manager(make_search: Callable[..., SearchRecord]) -> Lead:
    def make(folder: Path, study: ListStudy, clock: Clock, deadline: float | None = None) -> TrialManager:
        search = make_search(fingerprint="f", keep_weights=2)
        return TrialManager(RunFolder(folder), search, study, (), deadline=deadline, clock=clock)

    return make


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step trains one epoch; the first only opens."""
    monkeypatch.setattr(trial_runner, "_STEP_SECONDS", 0.0)
