"""A trial that runs out of the device's memory beside another is recorded by its worker, and run again alone.

On a GPU torch is held to a part of the memory, and what another trial would hold of it is held here, so that
the error is a real one. On a CPU, whose memory torch cannot be held to, a training step raises it.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import torch
from isolated_folds import FROM_PIXELS
from list_study import ListStudy
from worker_run import CONTEXT, worker_run

from orchestrator.study.trial_spec import TrialSpec
from orchestrator.tuning.remarks import RUN_ALONE
from orchestrator.tuning.trial_manager import TrialManager
from orchestrator.tuning.trial_runner import TrialRunner
from results.run.run_folder import RunFolder
from trainables.config.trial_config import decode
from trainables.data.patches import PatchSet
from trainables.training.sequential import SequentialModels

DEVICE = torch.device(os.environ.get("TEST_DEVICE", "cuda"))
IS_GPU = DEVICE.type == "cuda"
pytestmark = pytest.mark.skipif(
    IS_GPU and not torch.cuda.is_available(), reason="needs a GPU that torch can use, or TEST_DEVICE=cpu"
)
CONFIG = decode({**FROM_PIXELS, "training.epochs": 2})
_HELD_BYTES = 2**30
_BLOCKS_BYTES = (2**25, 2**21, 2**19)  # torch asks the GPU for 20 MiB at a time, then for 2, and cuts them up
Beside = Callable[[], AbstractContextManager[None]]


@contextmanager
def _full_gpu() -> Iterator[None]:
    """Hold torch to a gibibyte of the GPU, and take all of it, as a trial beside this one would."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(DEVICE).total_memory
    torch.cuda.set_per_process_memory_fraction(_HELD_BYTES / total)
    held = list[torch.Tensor]()
    try:
        for size in _BLOCKS_BYTES:
            with suppress(torch.OutOfMemoryError):
                while sum(map(len, held)) <= _HELD_BYTES:
                    held.append(torch.empty(size, dtype=torch.uint8, device=DEVICE))
        yield
    finally:
        held.clear()
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(1.0)


@contextmanager
def _full_step() -> Iterator[None]:
    """Let every training step say that memory does not suffice."""

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("Tried to allocate 2.00 GiB")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SequentialModels, "train_step", full)
        yield


@pytest.fixture
def beside() -> Beside:
    return _full_gpu if IS_GPU else _full_step


@pytest.fixture
def run(bright_patches: PatchSet, tmp_path: Path) -> RunFolder:
    context = {
        **CONTEXT,
        "backbones": ["scratch4"],
        "from_scratch": ["scratch4"],
        "fine_tunes": {},
        "sizes_px": {},
    }
    facts = {"backbones": ("scratch4",), "space_context": context, "gpus_per_trial": float(IS_GPU)}
    return worker_run(bright_patches, tmp_path, **facts)


def managed(run: RunFolder, *numbers: int) -> tuple[TrialManager, ListStudy]:
    study = ListStudy(*(TrialSpec(number, CONFIG, {}) for number in numbers))
    return TrialManager(run, run.search(), study, (), deadline=None, clock=time.monotonic), study


def train(lead: TrialManager, spec: TrialSpec) -> None:
    """Run a trial as its worker does, and tell the manager that it has ended."""
    worker = TrialRunner(lead.run, spec.number, spec.config, {}, gpus=float(IS_GPU), cpus=1.0)
    while not worker.step().is_end:
        pass
    lead.on_end(spec.number)


def test_a_trial_that_runs_out_of_memory_beside_another_is_run_again_alone(
    run: RunFolder, beside: Beside
) -> None:
    lead, study = managed(run, 0, 1)
    first, second = lead.next(), lead.next()
    assert first is not None
    assert second is not None
    with beside():
        train(lead, first)
    assert lead.is_postponed(0)
    assert (run.record(0), study.told) == (None, [])
    assert lead.next() is None  # trial 1 is running, and nothing may run beside it
    train(lead, second)
    again = lead.next()
    assert again is not None
    assert (again.number, again.is_alone) == (0, True)
    train(lead, again)
    beside_it, alone = study.told
    assert (beside_it.number, beside_it.state, beside_it.error) == (1, "complete", None)
    assert (alone.number, alone.state, alone.epochs, alone.error) == (0, "complete", 2, RUN_ALONE)
    assert alone.device == DEVICE.type
    assert alone.value == pytest.approx(beside_it.value, abs=0.1)  # the same trial
    assert lead.is_over


def test_a_trial_that_has_no_room_alone_either_is_recorded_with_the_error_of_the_device(
    run: RunFolder, beside: Beside
) -> None:
    lead, study = managed(run, 0)
    with ExitStack() as full:
        full.enter_context(beside())
        for is_alone in (False, True):
            spec = lead.next()
            assert spec is not None
            assert spec.is_alone is is_alone
            train(lead, spec)
    (record,) = study.told
    assert (record.state, record.cause, record.has_weights) == ("failed", "out_of_memory", False)
    assert record.error is not None
    assert record.error.startswith(f"{RUN_ALONE}:\n")
    assert "Tried to allocate" in record.error
    assert lead.is_over
