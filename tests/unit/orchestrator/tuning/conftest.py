"""A trial manager over a list, for the tests of what it does and of what it survives."""

from collections.abc import Callable
from pathlib import Path

import pytest
from list_study import Clock, ListStudy

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
