"""What the trial manager shows its callbacks, and how one of them ends a search."""

from collections.abc import Callable, Mapping
from pathlib import Path

from list_study import Clock, ListStudy, complete, epoch, spec

from orchestrator.callbacks import Callback, StopSearch
from orchestrator.tuning.trial_manager import TrialManager
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from trainables.config.trial_config import TrialConfig

Lead = Callable[..., TrialManager]


def test_every_callback_is_shown_everything(tmp_path: Path, manager: Lead) -> None:
    seen: list[str] = []

    class Everything(Callback):
        def on_search_start(self, run: RunFolder, record: SearchRecord) -> None:
            seen.append(f"search {record.name}")

        def on_trial_start(self, number: int, config: TrialConfig) -> None:
            seen.append(f"started {number}")

        def on_epoch_end(
            self, number: int, epoch: int, epochs: int, value: float, scalars: Mapping[str, float]
        ) -> None:
            seen.append(f"epoch {epoch} of {epochs}")

        def on_trial_requeued(self, number: int, reason: str) -> None:
            seen.append(f"postponed {number}: {reason}")

        def on_trial_end(self, record: TrialRecord) -> None:
            seen.append(f"finished {record.state}")

    lead = manager(tmp_path, ListStudy(spec(0)), Clock())
    lead.callbacks = (Everything(),)
    lead.on_search_start()
    lead.next()
    lead.on_worker_lost(0, "lost_worker", "killed")
    lead.next()
    epoch(lead, 0)
    lead.on_stop(0, "pruner")
    assert seen == [
        "search first",
        "started 0",
        "postponed 0: its worker died; it is run again",
        "started 0",
        "epoch 1 of 30",
        "finished pruned",
    ]


def test_a_callback_that_raises_stop_search_ends_it_after_the_others_have_seen_the_event(
    tmp_path: Path, manager: Lead
) -> None:
    seen: list[int] = []

    class Stops(Callback):
        def on_trial_end(self, record: TrialRecord) -> None:
            raise StopSearch

    class Follows(Callback):
        def on_trial_end(self, record: TrialRecord) -> None:
            seen.append(record.number)

    lead = manager(tmp_path, ListStudy(spec(0), spec(1)), Clock())
    lead.callbacks = (Stops(), Follows())
    lead.next()
    assert not lead.is_stop_asked
    lead.on_stop(0, "pruner")
    assert seen == [0]
    assert lead.is_stop_asked
    assert lead.is_over
    assert lead.next() is None
    assert lead.fault is None
    assert [record.number for record in lead.run.records()] == [0]


def test_a_callback_that_overrides_nothing_is_shown_everything(tmp_path: Path, manager: Lead) -> None:
    lead = manager(tmp_path, ListStudy(spec(0)), Clock())
    lead.callbacks, said = (Callback(),), list[str]()
    lead.say = said.append
    lead.on_search_start()
    lead.next()
    epoch(lead, 0)
    lead.on_worker_lost(0, "lost_worker", "killed")
    lead.next()
    lead.on_stop(0, "pruner")
    assert said == []


def test_what_ended_while_the_search_was_stopped_is_shown_and_the_rest_is_cut_short(
    tmp_path: Path, manager: Lead
) -> None:
    seen = list[int]()

    class Follows(Callback):
        def on_trial_end(self, record: TrialRecord) -> None:
            seen.append(record.number)

    study = ListStudy(spec(0), spec(1), spec(2))
    lead = manager(tmp_path, study, Clock())
    lead.callbacks = (Follows(),)
    for _ in range(3):
        lead.next()
    lead.run.add_record(complete(0, 0.8))
    lead.on_end(0)
    lead.is_stopping = True
    lead.run.add_record(complete(2, 0.7))  # its worker had no time to report it
    lead.show_ended()
    assert (seen, [*lead.running]) == ([0, 2], [1])
    assert [record.number for record in study.told] == [0]  # a resume tells the other
