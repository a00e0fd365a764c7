from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from list_study import Clock, ListStudy, complete, epoch, out_of_memory, spec

from orchestrator.reporting.worker_time import TimeShares
from orchestrator.study.trial_spec import InvalidPointError, TrialFailure
from orchestrator.tuning.trial_manager import GRACE_SECONDS, TrialManager
from trainables.common.errors import ConfigError
from trainables.features.feature_use import FeatureUse

Lead = Callable[..., TrialManager]


def test_a_pruned_trial_is_recorded_and_told(tmp_path: Path, manager: Lead) -> None:
    study, clock = ListStudy(spec(0)), Clock()
    study.pruned = {0}
    lead = manager(tmp_path, study, clock)
    lead.next()
    clock.now = 12.0
    assert epoch(lead, 0, epoch=5) == "pruner"
    lead.on_stop(0, "pruner")
    record = lead.run.record(0)
    assert record is not None
    assert (record.state, record.cause, record.epochs, record.value) == ("pruned", "pruner", 5, 0.6)
    assert record.wall_seconds == 12.0
    assert study.told == [record]
    assert lead.running == {}


@pytest.mark.parametrize(("seconds", "cause"), [(0.09, None), (0.11, "pruner"), (None, "pruner")])
def test_a_trial_whose_whole_training_is_cheap_is_finished_whatever_the_pruner_says(
    tmp_path: Path, manager: Lead, seconds: float | None, cause: str | None
) -> None:
    study = ListStudy(spec(0))
    study.pruned = {0}
    lead = manager(tmp_path, study, Clock())
    lead.next()
    assert lead.running[0].spec.config.training.epochs == 30  # so 0.1 s an epoch are the limit of 3 s
    assert lead.on_epoch(0, 5, 0.6, {}, (), epoch_seconds=seconds) == cause


def test_the_time_of_a_stopped_trial_begins_with_its_worker(tmp_path: Path, manager: Lead) -> None:
    clock = Clock()
    lead = manager(tmp_path, ListStudy(spec(0)), clock)
    lead.next()
    clock.now = 30.0
    lead.on_worker_start(0)
    clock.now = 34.0
    lead.on_stop(0, "pruner")
    record = lead.run.record(0)
    assert record is not None
    assert record.wall_seconds == 4.0


def test_a_stopped_trial_is_recorded_with_its_device_and_features(tmp_path: Path, manager: Lead) -> None:
    study = ListStudy(spec(0))
    lead = manager(tmp_path, study, Clock())
    lead.next()
    assert study.opened == set()
    prefix = FeatureUse(kind="stored views", stage="block7", views=8, computed=0, read=8)
    lead.on_open(0, prefix, device="cuda")
    assert study.opened == {0}
    lead.on_epoch(0, 1, 0.6, {}, (), epoch_seconds=1.5)
    lead.on_stop(0, "pruner")
    record = lead.run.record(0)
    assert record is not None
    assert (record.device, record.prefix, record.epoch_seconds) == ("cuda", prefix, 1.5)


def test_a_fold_that_stays_collapsed_ends_its_trial_and_is_named(tmp_path: Path, manager: Lead) -> None:
    lead = manager(tmp_path, ListStudy(spec(0)), Clock())
    lead.next()
    causes = [epoch(lead, 0, number, collapsed=(2,)) for number in range(1, 9)]
    assert causes == [None] * 7 + ["collapse"]
    lead.on_stop(0, "collapse")
    record = lead.run.record(0)
    assert record is not None
    assert record.collapsed_folds == (2,)


def test_a_fold_that_recovers_from_collapse_goes_on(tmp_path: Path, manager: Lead) -> None:
    lead = manager(tmp_path, ListStudy(spec(0)), Clock())
    lead.next()
    for number in range(1, 8):
        epoch(lead, 0, number, collapsed=(1,))
    assert epoch(lead, 0, 8) is None
    assert epoch(lead, 0, 9, collapsed=(1,)) is None


def test_a_trial_whose_worker_dies_is_handed_out_twice_more_and_then_is_an_outcome(
    tmp_path: Path, manager: Lead
) -> None:
    study = ListStudy(spec(0))
    lead = manager(tmp_path, study, Clock())
    for _ in range(3):
        given = lead.next()
        assert given is not None
        assert (given.number, given.is_alone) == (0, False)
        assert study.told == []
        lead.on_worker_lost(0, "lost_worker", "killed")
    assert [(record.state, record.cause, record.error) for record in study.told] == [
        ("failed", "lost_worker", "killed")
    ]
    assert lead.next() is None
    assert lead.is_over


def test_a_trial_that_runs_out_of_memory_is_run_again_alone_after_all_others(
    tmp_path: Path, manager: Lead
) -> None:
    study = ListStudy(spec(0), spec(1), spec(2))
    lead = manager(tmp_path, study, Clock())
    lead.next()
    lead.next()
    lead.run.write_record(out_of_memory(0))
    lead.on_end(0)
    assert lead.run.record(0) is None
    assert study.told == []
    assert lead.is_postponed(0)
    last = lead.next()
    assert last is not None
    assert last.number == 2
    lead.on_stop(1, "pruner")
    assert lead.next() is None  # trial 2 is running, and nothing may run beside
    assert not lead.is_over
    lead.on_stop(2, "pruner")
    again = lead.next()
    assert again is not None
    assert (again.number, again.is_alone) == (0, True)
    lead.run.write_record(complete(0, 0.9))
    lead.on_end(0)
    record = lead.run.record(0)
    assert record is not None
    assert (record.state, record.value) == ("complete", 0.9)
    assert record.error == "ran out of memory beside other trials and was run again alone"
    assert lead.is_over


def test_a_trial_that_was_to_run_alone_does_so_when_the_search_goes_on(tmp_path: Path, manager: Lead) -> None:
    study = ListStudy(spec(0))
    lead = manager(tmp_path, study, Clock())
    lead.next()
    lead.on_worker_lost(0, "out_of_memory", "no room")
    assert study.alone == {0}
    left = replace(spec(0), is_alone=True)  # as the study hands it out after an interrupt
    lead = manager(tmp_path, ListStudy(spec(1), interrupted=[left]), Clock())
    first = lead.next()
    assert first is not None
    assert (first.number, first.is_alone) == (1, False)
    assert (lead.next(), lead.is_over) == (None, False)
    lead.on_stop(1, "pruner")
    again = lead.next()
    assert again is not None
    assert (again.number, again.is_alone) == (0, True)
    lead.on_worker_lost(0, "out_of_memory", "no room")
    assert lead.is_over


@pytest.mark.parametrize("is_killed", [True, False])
def test_a_trial_that_runs_out_of_memory_alone_too_is_an_outcome_that_says_so(
    tmp_path: Path, manager: Lead, is_killed: bool
) -> None:
    study = ListStudy(spec(0))
    lead = manager(tmp_path, study, Clock())
    for _ in range(2):
        assert study.told == []
        lead.next()
        if is_killed:
            lead.on_worker_lost(0, "out_of_memory", "no room")
        else:
            lead.run.write_record(out_of_memory(0))
            lead.on_end(0)
    assert [(record.state, record.cause) for record in study.told] == [("failed", "out_of_memory")]
    assert study.told[0].error == "ran out of memory beside other trials and was run again alone:\nno room"
    assert lead.run.record(0) == study.told[0]


def test_trials_that_wait_when_the_time_is_up_are_recorded_with_the_reason(
    tmp_path: Path, manager: Lead
) -> None:
    study, clock = ListStudy(*map(spec, range(5))), Clock()
    lead = manager(tmp_path, study, clock, deadline=100.0)
    for _ in range(5):
        lead.next()
    lead.on_worker_lost(0, "out_of_memory", "killed")
    lead.on_worker_lost(1, "lost_worker", "killed")
    lead.on_worker_lost(2, "lost_worker", "asked to end", is_taken=True)
    lead.run_elsewhere(3, "gpu-7 has no torch")
    lead.on_failure(4, TrialFailure("environment", "no space left", is_disk_full=True))
    clock.now = 100.0
    assert lead.is_over
    lead.end_late_trials()
    assert [(record.number, record.cause, record.error) for record in study.told] == [
        (0, "out_of_memory", "ran out of memory; no time was left to run it again alone"),
        (1, "lost_worker", "its worker died; no time was left to run it again"),
        (2, "lost_worker", "its worker was taken away; no time was left to run it again"),
        (3, "environment", "gpu-7 has no torch; no time was left to run it again"),
        (4, "environment", "it could not write: no space left; no time was left to run it again"),
    ]


def test_the_measured_memory_of_a_stopped_trial_is_in_its_record(tmp_path: Path, manager: Lead) -> None:
    lead = manager(tmp_path, ListStudy(spec(0)), Clock())
    lead.next()
    lead.on_memory(0, 2**30)
    lead.on_stop(0, "pruner")
    record = lead.run.record(0)
    assert record is not None
    assert record.peak_bytes == 2**30


def test_a_trial_that_ends_without_a_record_is_lost(tmp_path: Path, manager: Lead) -> None:
    study = ListStudy(spec(0))
    lead = manager(tmp_path, study, Clock())
    lead.next()
    lead.on_end(0)
    assert study.told[0].cause == "lost_worker"


def test_a_point_that_cannot_run_is_recorded_and_the_next_one_handed_out(
    tmp_path: Path, manager: Lead
) -> None:
    study = ListStudy(InvalidPointError(0, {"x": 1}, "no such cut"), spec(1))
    lead = manager(tmp_path, study, Clock())
    proposal = lead.next()
    assert proposal is not None
    assert proposal.number == 1
    record = lead.run.record(0)
    assert record is not None
    assert (record.cause, record.params, record.error) == ("exception", {"x": 1}, "no such cut")


def test_a_space_that_only_proposes_nonsense_ends_the_search(tmp_path: Path, manager: Lead) -> None:
    study = ListStudy(*(InvalidPointError(number, {}, "no") for number in range(30)))
    with pytest.raises(ConfigError, match="20 points in a row that cannot run"):
        manager(tmp_path, study, Clock()).next()


def test_after_the_deadline_nothing_starts_and_the_late_are_stopped(tmp_path: Path, manager: Lead) -> None:
    study, clock = ListStudy(spec(0), spec(1)), Clock()
    lead = manager(tmp_path, study, clock, deadline=100.0)
    lead.next()
    clock.now = 100.0
    assert lead.next() is None
    assert epoch(lead, 0) is None  # it is given time to end by itself
    clock.now = 100.0 + GRACE_SECONDS
    assert epoch(lead, 0, 2) == "time_budget"
    lead.end_late_trials()
    assert study.told[0].cause == "time_budget"


def test_the_first_trial_starts_although_the_time_is_up(tmp_path: Path, manager: Lead) -> None:
    clock = Clock()
    lead = manager(tmp_path, ListStudy(spec(0), spec(1)), clock, deadline=100.0)
    clock.now = 101.0
    first = lead.next()
    assert first is not None
    assert (lead.next(), lead.is_over) == (None, True)


def test_the_weights_of_the_best_trials_only_stay_on_disk(tmp_path: Path, manager: Lead) -> None:
    study = ListStudy(*(spec(number) for number in range(4)))
    lead = manager(tmp_path, study, Clock())
    for number, value in enumerate((0.7, 0.9, 0.6, 0.8)):
        lead.next()
        folder = lead.run.trial(number) / "folds"
        folder.mkdir(parents=True)
        (folder / "0.safetensors").write_bytes(b"weights")
        lead.run.write_record(complete(number, value))
        lead.on_end(number)
    holders = [record.number for record in lead.run.records() if record.has_weights]
    on_disk = [number for number in range(4) if (lead.run.trial(number) / "folds").exists()]
    assert holders == on_disk == [1, 3]


def test_the_record_says_whose_recipe_a_trial_was(tmp_path: Path, manager: Lead) -> None:
    lead = manager(tmp_path, ListStudy(spec(0, recipe="E001-12")), Clock())
    assert lead.next() is not None
    lead.on_epoch(0, 1, 0.6, {}, ())
    lead.on_stop(0, "pruner")
    assert [record.recipe for record in lead.run.records()] == ["E001-12"]


def test_the_time_of_the_workers_is_that_of_starting_opening_training_and_idling(
    tmp_path: Path, manager: Lead
) -> None:
    clock = Clock()
    lead = manager(tmp_path, ListStudy(spec(0), spec(1)), clock)
    lead.worker_time.begin(2)
    lead.next()
    clock.now = 4.0  # both wait for the worker process
    lead.on_worker_start(0)
    clock.now = 10.0
    use = FeatureUse("stored views", "block7", 8, 0, 8, opening_seconds=5.0, waited_seconds=2.0)
    lead.on_open(0, use, device="cpu")
    clock.now = 20.0
    lead.on_stop(0, "pruner")
    clock.now = 21.0

    # 4 + 17 s of the second worker, 4 s of starting, 2 s of waiting for features, 1 s after the trial.
    assert lead.worker_time.shares() == TimeShares(features=3.0, training=11.0, waiting=28.0)


def test_a_lost_worker_waits_until_its_trial_is_run_again(tmp_path: Path, manager: Lead) -> None:
    clock = Clock()
    lead = manager(tmp_path, ListStudy(spec(0)), clock)
    lead.worker_time.begin(1)
    lead.next()
    lead.on_worker_start(0)
    clock.now = 3.0
    lead.on_worker_lost(0, "lost_worker", "killed")
    clock.now = 5.0

    assert lead.worker_time.shares() == TimeShares(features=3.0, waiting=2.0)
