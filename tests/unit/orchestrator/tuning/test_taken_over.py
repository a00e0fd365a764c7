"""A search whose folder another machine has taken over stops, and says who has it."""

import contextlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from finished_run import make_run
from list_study import ListStudy

from cluster.connect import Connection
from orchestrator.callbacks import SearchView
from orchestrator.tuning import session_trials
from orchestrator.tuning.setup import Prepared
from orchestrator.tuning.surroundings import Surroundings
from orchestrator.tuning.trial_manager import TrialManager
from results.run.lease import Lease, Owner
from trainables.common.errors import MachineError

OWN = Connection("127.0.0.1:1", True, 1.0, 0.0, 1, "")


def test_a_search_that_is_taken_over_while_it_was_paused_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, other = Lease(), Owner("node7", "another-kernel", 4711)

    def run_trials(manager: TrialManager, *_: Any, **__: Any) -> None:
        assert not manager.is_stopping
        lease.take(other)
        assert manager.is_stopping
        assert manager.fault is not None
        raise manager.fault

    backend = SimpleNamespace(run_trials=run_trials)
    monkeypatch.setitem(sys.modules, "orchestrator.tuning.ray_backend", backend)
    monkeypatch.setattr(session_trials, "trial_resources", lambda *_, **__: None)
    made = make_run(tmp_path, {}, backbones=("texture",))
    study: Any = ListStudy()
    study.left, study.allowance = 1, SimpleNamespace(begin=lambda *_: None)
    surroundings = Surroundings(
        notify=print, open_view=lambda _: contextlib.nullcontext(SearchView()), has_curves=False
    )
    with pytest.raises(MachineError, match=r"^process 4711 on node7 has taken this search over, since this"):
        session_trials.run_prepared(
            Prepared(made, made.search(), study, 1), surroundings, OWN, lease, spent=0.0
        )
