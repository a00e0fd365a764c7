"""The table of a search in a notebook: what it shows, how often it is drawn, and that texts are escaped."""

from collections import deque

import pytest
from list_study import Clock
from simulated_run import search_record, trial_record

from orchestrator.reporting.notebook import SECONDS_BETWEEN, NotebookTable
from orchestrator.reporting.worker_time import WorkerTime
from trainables.config.trial_config import decode

CONFIG = decode({"model.backbone": "efficientnet_lite0"})


class Drawn:
    def __init__(self) -> None:
        self.clock, self.shown = Clock(), list[str]()
        self.table = NotebookTable(self.shown.append, self.clock)
        self.table.begin(search_record(), [])

    def wait(self) -> None:
        self.clock.now += SECONDS_BETWEEN


@pytest.fixture
def drawn() -> Drawn:
    return Drawn()


def test_it_shows_running_and_ended_trials_and_the_best(drawn: Drawn) -> None:
    drawn.table.on_trial_start(0, CONFIG)
    assert "preparing" in drawn.shown[-1]
    drawn.wait()
    drawn.table.on_epoch_end(0, 2, 30, 0.612, {})
    assert "2/30" in drawn.shown[-1]
    assert "0.612" in drawn.shown[-1]
    drawn.wait()
    drawn.table.on_trial_end(trial_record(0, value=0.71))
    assert "1 of 4 trials ended; 0 running; best: trial 0 with auc 0.710" in drawn.shown[-1]
    assert "font-weight:bold" in drawn.shown[-1]


def test_trials_of_earlier_sessions_are_there_from_the_start(drawn: Drawn) -> None:
    drawn.table.begin(
        search_record(), [trial_record(0, value=0.8), trial_record(1, state="failed", value=None)]
    )
    assert "2 of 4 trials ended; 0 running; best: trial 0 with auc 0.800" in drawn.table.as_html()


def test_of_many_trials_the_latest_and_the_best_are_kept(drawn: Drawn) -> None:
    for number in range(40):
        drawn.table.on_trial_end(trial_record(number, value=0.9 if number in (5, 6) else 0.6))
    assert "40 of 4 trials ended; 0 running; best: trial 5 with auc 0.900" in drawn.table.as_html()
    assert drawn.table.as_html().count("<tr") == 11
    kept = [one for one in vars(drawn.table).values() if isinstance(one, list | dict | deque)]
    assert max(map(len, kept)) == 10


def test_it_is_drawn_at_intervals_and_at_the_end(drawn: Drawn) -> None:
    for epoch in range(50):
        drawn.table.on_epoch_end(0, epoch, 50, 0.5, {})
    assert len(drawn.shown) <= 1
    with drawn.table:
        drawn.table.on_trial_end(trial_record(0, value=0.7))
    assert drawn.shown[-1].count("<tr") == 2
    assert "ended; 1 of 4 trials ended" in drawn.shown[-1]


def test_it_says_what_the_time_of_the_workers_goes_into(drawn: Drawn) -> None:
    assert "time:" not in drawn.table.as_html()
    clock = Clock()
    worker_time = WorkerTime(clock)
    drawn.table.begin(search_record(), [], worker_time)
    worker_time.begin(2)
    worker_time.started(0)
    clock.now += 75
    worker_time.opened(0, opening_seconds=30.0, waited_seconds=15.0)
    said = "time: busy 40 % of 2:30 worker time (features 10 %, training 30 %)"
    assert said in drawn.table.as_html()
    with drawn.table:
        drawn.table.on_trial_end(trial_record(0, value=0.7))
    assert said in drawn.shown[-1]


def test_an_interrupted_search_says_so(drawn: Drawn) -> None:
    with drawn.table:
        drawn.table.on_trial_start(0, CONFIG)
        drawn.table.interrupted()
    assert "interrupted; 0 of 4 trials ended" in drawn.shown[-1]
    assert "preparing" not in drawn.shown[-1]


def test_a_trial_that_is_run_again_is_a_remark(drawn: Drawn) -> None:
    drawn.table.on_trial_start(0, CONFIG)
    drawn.wait()
    drawn.table.on_trial_requeued(0, "its worker died")
    assert "trial 0: its worker died" in drawn.shown[-1]
    assert "preparing" not in drawn.shown[-1]


def test_texts_of_data_and_trials_are_escaped() -> None:
    shown = list[str]()
    table = NotebookTable(shown.append, Clock())
    table.note("<script>")
    table.begin(search_record(source="<img>"), [trial_record(0).model_copy(update={"cause": "<b>"})])
    table.interrupted()
    with table:
        pass
    assert "<script>" not in "".join(shown)
    assert "<img>" not in shown[-1]
    assert "(<b>)" not in shown[-1]
