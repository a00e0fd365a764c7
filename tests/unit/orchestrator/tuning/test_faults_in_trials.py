"""The trial manager where the machine, a worker or a callback fails."""

from collections.abc import Callable
from pathlib import Path

from list_study import Clock, ListStudy, complete, epoch, spec

from orchestrator.study.trial_spec import TrialFailure
from orchestrator.tuning.losses import DIED_AGAIN, TAKEN_AGAIN
from orchestrator.tuning.trial_manager import TrialManager
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder

Lead = Callable[..., TrialManager]


def test_a_trial_that_could_not_run_is_recorded_and_keeps_its_checkpoint(
    tmp_path: Path, manager: Lead
) -> None:
    study = ListStudy(spec(0))
    lead = manager(tmp_path, study, Clock())
    lead.next()
    lead.run.checkpoint_file(0).parent.mkdir(parents=True)
    lead.run.checkpoint_file(0).touch()
    lead.on_failure(0, TrialFailure("environment", "no split at split.json"))
    record = lead.run.record(0)
    assert record is not None
    assert (record.state, record.cause, record.error) == ("failed", "environment", "no split at split.json")
    assert lead.run.checkpoint_file(0).exists()
    assert lead.fault is None


def test_three_trials_in_a_row_that_could_not_run_stop_the_search(tmp_path: Path, manager: Lead) -> None:
    lead = manager(tmp_path, ListStudy(*(spec(number) for number in range(6))), Clock())
    failure = TrialFailure("environment", "weights are gone")
    for number in range(5):
        assert lead.fault is None
        lead.next()
        if number == 1:
            lead.on_stop(number, "pruner")
        else:
            lead.on_failure(number, failure)
    assert lead.is_over
    assert str(lead.fault) == (
        "3 trials in a row could not run, and so would all others: weights are gone. Mend that, then go on "
        f"with: orchestrate resume {tmp_path}"
    )


def test_a_trial_whose_gpu_failed_is_tried_again_in_other_processes_and_a_dead_gpu_stops_the_search(
    tmp_path: Path, manager: Lead
) -> None:
    study = ListStudy(*(spec(number) for number in range(6)))
    lead, failure = manager(tmp_path, study, Clock()), TrialFailure("environment", "dead", ends_worker=True)
    begun = []
    while not lead.is_over:
        trial = lead.next()
        assert trial is not None
        begun.append(trial.number)
        lead.on_failure(trial.number, failure)
    assert begun == [number for number in range(3) for _ in range(1 + DIED_AGAIN)]
    assert [record.cause for record in study.told] == ["environment"] * 3
    assert str(lead.fault).startswith("3 trials in a row could not run, and so would all others: dead")


def test_a_trial_whose_machines_are_taken_away_is_run_again_more_often_than_one_that_kills_its_workers(
    tmp_path: Path, manager: Lead
) -> None:
    study = ListStudy(spec(0))
    lead = manager(tmp_path, study, Clock())
    for _ in range(TAKEN_AGAIN):
        assert lead.next() is not None
        lead.on_worker_lost(0, "lost_worker", "its node has died", is_taken=True)
    for _ in range(DIED_AGAIN):
        assert lead.next() is not None
        lead.on_worker_lost(0, "lost_worker", "killed")
    assert study.told == []
    lead.next()
    lead.on_worker_lost(0, "lost_worker", "killed")
    assert [record.cause for record in study.told] == ["lost_worker"]


def test_a_trial_that_had_ended_before_its_worker_died_is_not_run_again(
    tmp_path: Path, manager: Lead
) -> None:
    study = ListStudy(spec(0))
    lead = manager(tmp_path, study, Clock())
    lead.next()
    lead.run.write_record(complete(0, 0.8))
    lead.on_worker_lost(0, "lost_worker", "its node has died", is_taken=True)
    assert [(record.state, record.value) for record in study.told] == [("complete", 0.8)]
    assert lead.next() is None


def test_a_lost_process_of_a_fold_is_a_lost_worker(tmp_path: Path, manager: Lead) -> None:
    lead = manager(tmp_path, ListStudy(spec(0)), Clock())
    lead.next()
    lead.on_failure(0, TrialFailure("lost_worker", "the fork server was killed"))
    again = lead.next()
    assert again is not None
    assert again.number == 0


def test_what_a_worker_wrote_before_its_trial_was_given_up_counts(tmp_path: Path, manager: Lead) -> None:
    study, clock = ListStudy(spec(0)), Clock()
    lead = manager(tmp_path, study, clock, deadline=100.0)
    lead.next()
    lead.run.write_record(complete(0, 0.9))
    clock.now = 200.0
    lead.end_late_trials()
    assert [record.state for record in study.told] == ["complete"]
    assert lead.run.records() == [complete(0, 0.9)]


def test_a_damaged_record_of_a_trial_that_ended_is_set_aside_and_the_trial_is_lost(
    tmp_path: Path, manager: Lead
) -> None:
    study = ListStudy(spec(0))
    lead = manager(tmp_path, study, Clock())
    lead.next()
    lead.run.record_file(0).parent.mkdir(parents=True)
    lead.run.record_file(0).write_text("{")
    lead.on_end(0)
    assert study.told[0].cause == "lost_worker"
    assert (lead.run.trial(0) / "record.json.damaged").read_text() == "{"


def test_a_callback_that_fails_is_named_once_and_the_others_are_still_called(
    tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    class Full:
        def __getattr__(self, name: str) -> Callable[..., None]:
            def fail(*arguments: object) -> None:
                raise OSError(28, "No space left on device")

            return fail

    class Seen:
        def __init__(self) -> None:
            self.names: list[str] = []

        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *arguments: self.names.append(name)

    seen, said = Seen(), list[str]()
    lead = TrialManager(
        RunFolder(tmp_path),
        make_search(fingerprint="f"),
        ListStudy(spec(0)),
        # Both answer to every name by `__getattr__`, which types cannot say.
        (Full(), seen),  # type: ignore[arg-type]
        deadline=None,
        clock=Clock(),
        say=said.append,
    )
    lead.next()
    epoch(lead, 0)
    lead.on_stop(0, "pruner")
    assert seen.names == ["on_trial_start", "on_epoch_end", "on_trial_end"]
    assert said == ["Full failed, and the search goes on: [Errno 28] No space left on device"]


def test_a_closed_terminal_does_not_end_the_search(
    tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    class Closed:
        def __getattr__(self, name: str) -> Callable[..., None]:
            return closed

    def closed(*arguments: object) -> None:
        raise OSError(5, "Input/output error")

    study = ListStudy(spec(0))
    lead = TrialManager(
        RunFolder(tmp_path),
        make_search(fingerprint="f"),
        study,
        # It answers to every name by `__getattr__`, which types cannot say.
        (Closed(),),  # type: ignore[arg-type]
        deadline=None,
        clock=Clock(),
        say=closed,
    )
    lead.next()
    lead.on_stop(0, "pruner")
    assert [record.cause for record in study.told] == ["pruner"]
