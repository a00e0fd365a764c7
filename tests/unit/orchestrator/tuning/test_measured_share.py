"""The share of a GPU follows what trials were measured to need, once they have trained."""

from collections.abc import Callable
from pathlib import Path

from list_study import Clock, ListStudy, spec

from cluster.resources import Machine
from orchestrator.tuning.allocation import ResourceAllocator
from orchestrator.tuning.shared_state import SharedState
from orchestrator.tuning.trial_manager import TrialManager
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from trainables.runtime.memory import MemoryUse

GIB = 2**30
CARD = 80 * GIB


def test_what_a_trial_holds_before_it_trains_says_nothing_about_its_like(
    tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    manager = TrialManager(
        RunFolder(tmp_path),
        make_search(fingerprint="f"),
        ListStudy(*(spec(number) for number in range(3))),
        (),
        deadline=None,
        clock=Clock(),
    )
    machines = [Machine(16, 1, 16 * GIB, "gpu")]
    allocator = ResourceAllocator(1.0, 0.25, machines, folds=3, slots=8, is_measured=True)
    state = SharedState(manager, allocator, {}, {})
    first = manager.next()
    assert first is not None
    before = state.request(first).gpus
    state.note_memory(0, MemoryUse(GIB // 2, CARD), has_trained=False)  # the context alone
    assert allocator.request(first.config).gpus == before
    state.note_memory(0, MemoryUse(60 * GIB, CARD), has_trained=True)
    assert allocator.request(first.config).gpus > before
