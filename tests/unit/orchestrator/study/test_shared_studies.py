"""Several searches on one study, in SQLite and in a journal: whose a trial is, and how many there are."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import shared_studies
from optuna.trial import TrialState
from shared_studies import POINTS, driver_of, ended, last_words, numbers_in, place_of, resumed, run_all

from orchestrator.study import shared
from orchestrator.study.optuna_private import started_trial
from orchestrator.study.shared import DRIVER, facts_of
from orchestrator.study.storage import TAKEN
from orchestrator.study.study import open_study
from results.run.records import SearchRecord
from trainables.common.errors import ConfigError


@pytest.fixture(params=["sqlite:///", "journal://", "journal-open"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "journal-open":
        return f"journal://{tmp_path}/shared/study.log?lock=open"
    return f"{request.param}{tmp_path}/study.db"


def test_two_drivers_hand_out_each_number_once_and_as_many_as_asked(url: str) -> None:
    one, two = driver_of(url, "one", points=POINTS), driver_of(url, "two", points=POINTS)
    numbers = []
    while (spec := (two if len(numbers) % 2 else one).ask()) is not None:
        numbers.append(spec.number)
    assert numbers == list(range(8))
    assert one.ask() is None
    assert two.ask() is None
    assert (one.handed_out, two.handed_out, one.left, two.has_more) == (8, 8, 0, False)


def test_the_first_driver_brings_the_initial_points_and_no_other(url: str) -> None:
    one, two = driver_of(url, "one", points=POINTS), driver_of(url, "two", points=POINTS)
    recipes = [spec.recipe for spec in (two.ask(), one.ask(), two.ask()) if spec is not None]
    assert recipes == ["ours", "ours", ""]


def test_drivers_that_start_at_once_draw_different_points(url: str) -> None:
    one, two = driver_of(url, "one"), driver_of(url, "two")
    first, second = one.ask(), two.ask()
    assert first is not None
    assert second is not None
    assert first.params != second.params


def test_a_grid_of_two_drivers_tries_each_point_once_although_one_looks_while_the_other_draws(
    url: str,
) -> None:
    one, two = (driver_of(url, name, trials=50, sampler="grid") for name in ("one", "two"))
    drawn = started_trial(two.study, {DRIVER: "two"})
    drawn.suggest_categorical("optimizer.name", ("adam", "sgd"))
    first = one.ask()  # which sees one of two settings of the other trial
    assert first is not None
    drawn.suggest_float("optimizer.lr", 1e-4, 1e-1, log=True)
    found = [drawn.params, first.params]
    while (spec := one.ask()) is not None:
        found.append(spec.params)
    assert len({tuple(params.values()) for params in found}) == len(found) == 10
    assert not two.has_more


def test_a_trial_that_two_drivers_start_as_the_last_one_is_given_back_by_one(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = driver_of(url, "one", trials=1), driver_of(url, "two", trials=1)
    assert two.shared is not None
    started = shared.started_trial

    def start_after_the_other(study, attributes):
        monkeypatch.setattr(shared, "started_trial", started)
        assert one.ask() is not None  # between the look of the second driver and its start
        return started(study, attributes)

    monkeypatch.setattr(shared, "started_trial", start_after_the_other)
    assert two.ask() is None
    assert [trial.number for trial in two.shared.counted()] == [0]
    assert two.study.get_trials()[1].state is TrialState.FAIL


def test_an_interrupted_driver_takes_its_own_trials_up_and_leaves_those_of_others(url: str) -> None:
    one, two = driver_of(url, "one"), driver_of(url, "two")
    mine, theirs = [one.ask(), one.ask(), one.ask()], two.ask()
    assert theirs is not None
    records = {mine[0].number: ended(mine[0]), mine[1].number: ended(mine[1])}  # type: ignore[union-attr]
    one.tell(records[mine[0].number])  # type: ignore[union-attr]
    again, messages = resumed(url, "one", records)
    states = [trial.state.name for trial in again.study.get_trials()]
    assert states == ["COMPLETE", "COMPLETE", "RUNNING", "RUNNING"]  # the record of the second was told
    assert messages == ()
    spec = again.ask()
    assert spec is not None
    assert spec.number == 2
    assert run_all(again) == [4, 5, 6, 7]


def test_a_trial_whose_record_is_gone_is_tried_again_under_a_new_number(url: str) -> None:
    one = driver_of(url, "one", trials=3)
    specs = [one.ask() for _ in range(3)]
    records = {}
    for spec in specs:
        assert spec is not None
        records[spec.number] = ended(spec)
        one.tell(records[spec.number])
    lost = records.pop(1)
    again, messages = resumed(url, "one", records, trials=3)
    assert messages == (
        "1 trials of this run are tried again under new numbers, by whichever search asks first",
    )
    spec = again.ask()
    assert spec is not None
    assert (spec.number, json.loads(json.dumps(spec.params))) == (3, lost.params)
    assert again.ask() is None
    records[3] = ended(spec)
    again.tell(records[3])
    third, messages = resumed(url, "one", records, trials=3)  # and not at every resume
    assert (messages, third.has_more) == ((), False)


def test_a_driver_sees_the_points_that_another_one_puts_in_the_queue_again(url: str) -> None:
    one, two = driver_of(url, "one", points=POINTS[:1]), driver_of(url, "two")
    spec = one.ask()
    assert spec is not None
    assert not two.has_points()
    one.tell(ended(spec))
    resumed(url, "one", {})  # whose record is gone
    assert two.has_points()


def test_a_study_that_knows_less_than_the_records_is_refused(url: str, tmp_path: Path) -> None:
    one = driver_of(url, "one")
    spec = one.ask()
    assert spec is not None
    records = {0: ended(spec), 7: ended(spec).model_copy(update={"number": 7})}
    with pytest.raises(
        ConfigError, match="does not know trial 7 of this run any more: its database is older"
    ):
        resumed(url, "one", records)


def test_a_study_that_is_gone_is_not_made_from_the_records_of_one_driver(url: str) -> None:
    with pytest.raises(ConfigError, match=r"other searches have trials in it.* bring its database back"):
        resumed(url, "one", {})


def test_a_point_that_a_killed_driver_had_taken_and_not_noted_comes_back(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = driver_of(url, "one", points=POINTS, trials=2)
    one.study.ask()  # takes the first point, and is killed before it says whose it is
    assert [trial.user_attrs.get(DRIVER) for trial in one.study.get_trials()] == [None, None]
    monkeypatch.setattr(shared, "_LOST_AFTER", -shared._LOST_AFTER)  # long ago
    again, messages = resumed(url, "one", {}, trials=2)
    assert messages == ("1 trials that a killed search had taken and not begun are tried again",)
    found = [again.ask(), again.ask(), again.ask()]
    assert [(spec.number, spec.recipe) for spec in found if spec] == [(1, "ours"), (2, "ours")]


@pytest.fixture
def in_another_zone() -> Iterator[Callable[[str], None]]:
    """Move the clock on the wall of this process."""
    with pytest.MonkeyPatch.context() as patch:

        def move(zone: str) -> None:
            patch.setenv("TZ", zone)
            time.tzset()

        yield move
    time.tzset()


@pytest.mark.parametrize("there", ["UTC-12", "UTC+12"])
def test_a_point_that_a_driver_in_another_time_zone_has_just_taken_is_left_to_it(
    url: str, in_another_zone: Callable[[str], None], there: str
) -> None:
    in_another_zone("UTC")
    one = driver_of(url, "one", points=POINTS, trials=2)
    one.study.ask()
    in_another_zone(there)
    _, messages = resumed(url, "one", {}, trials=2)
    assert messages == ()


@pytest.mark.parametrize(("hours", "lost"), [(1, 0), (25, 0), (27, 1)])
def test_a_point_that_an_earlier_version_took_comes_back_once_it_is_old_on_every_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int, lost: int
) -> None:
    one = driver_of(f"sqlite:///{tmp_path}/study.db", "one", points=POINTS[:1])
    one.study.ask()
    (taken,) = one.study.get_trials()
    del taken.user_attrs[TAKEN]  # as it left none
    taken.datetime_start = datetime.now() - timedelta(hours=hours)
    assert one.shared is not None
    monkeypatch.setattr(one.study, "get_trials", lambda **options: [taken])
    assert one.shared.release_lost() == lost


def test_the_trials_of_a_driver_that_is_gone_for_good_are_tried_by_another(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = driver_of(url, "one", trials=2), driver_of(url, "two", trials=2)
    first, second = one.ask(), two.ask()
    assert first is not None
    assert second is not None
    two.tell(ended(second))
    assert two.ask() is None  # the other one may live
    monkeypatch.setattr(shared, "_GONE_AFTER", -shared._GONE_AFTER)  # a day later
    third = two.ask()
    assert third is not None
    assert third.number not in (first.number, second.number)
    assert third.params == first.params
    two.tell(ended(third))
    assert (two.ask(), two.handed_out) == (None, 2)
    assert not one.should_prune(first.number, 1, 0.6)
    one.tell(ended(first))  # it was frozen only: what it found stays in its records
    again, messages = resumed(url, "one", {first.number: ended(first)}, trials=2)
    assert (again.ask(), messages) == (None, ())


def test_what_others_found_is_known_once(url: str) -> None:
    one, two = driver_of(url, "one"), driver_of(url, "two")
    for value in (0.6, 0.7):
        spec = one.ask()
        assert spec is not None
        one.tell(ended(spec, value))
    assert one.ended_elsewhere() == []
    heard = two.ended_elsewhere()
    assert [(record.number, record.value) for record in heard] == [(0, 0.6), (1, 0.7)]
    assert heard[0].fold_metrics == ({"auc": 0.4}, {"auc": 0.5}, {"auc": 0.6})
    assert two.ended_elsewhere() == []


def test_what_others_found_says_by_how_much_it_keeps_what_is_required(url: str) -> None:
    one, two = (driver_of(url, name, requirements=("recall>=0.9", "brier<=0.2")) for name in ("one", "two"))
    spec = one.ask()
    assert spec is not None
    one.tell(ended(spec, 0.7).model_copy(update={"values": {"recall": 0.8, "brier": 0.15}}))
    (heard,) = two.ended_elsewhere()
    assert heard.values == {"recall": 0.8, "brier": 0.15}


def test_searches_that_differ_are_not_let_into_one_study(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    driver_of(url, "one")
    wrong = {"metrics": ["balanced_accuracy"], "space_context": {"images": "9", "sizes": "2"}}
    with pytest.raises(
        ConfigError, match="metrics is auc there and balanced_accuracy here; images of space_c"
    ):
        place_of(url, "two", **wrong).begin()


def test_a_study_of_one_search_alone_cannot_be_joined(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "_FACTS_SECONDS", 0.0)
    open_study(storage=url, journal=tmp_path / "unused", name="t/both", is_new=True)
    with pytest.raises(ConfigError, match="is of one search alone, which did not name it by --study"):
        place_of(url, "two").begin()
    with pytest.raises(ConfigError, match=r"holds a study 't/both' already; .* one study that --study names"):
        open_study(storage=url, journal=tmp_path / "unused", name="t/both", is_new=True)


def test_what_must_agree_is_told_apart(make_search) -> None:
    def facts(**fields: object) -> dict:
        record: SearchRecord = make_search(**fields)
        return facts_of(record, "a" * 64)

    same = facts(space_context={"images": 3})
    assert facts(space_context={"images": 3}) == same
    assert json.loads(json.dumps(same)) == same
    assert facts(space_context={"images": 4}) != same
    assert facts(space_context={"images": 3}, seed=5) != same
    assert facts(space_context={"images": 3}, fixed_params={"optimizer.name": "adam"}) != same
    assert facts(space_context={"images": 3}, minutes=3.0, name="second", trials=9) == same


@pytest.mark.long
def test_processes_on_one_study_neither_lose_nor_repeat_a_trial(url: str) -> None:
    command = [sys.executable, shared_studies.__file__, url]
    drivers = [
        subprocess.Popen([*command, name, "24"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for name in ("one", "two", "three")
    ]
    found = [driver.communicate(timeout=120) for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0, 0], last_words(found)
    numbers = [number for said, _ in found for number in numbers_in(said)]
    study = open_study(storage=url, journal=Path("unused"), name="t/both", is_new=False)
    complete = [trial.number for trial in study.get_trials() if trial.state is TrialState.COMPLETE]
    assert sorted(numbers) == complete
    assert len(numbers) == 24
    assert all(trial.state is not TrialState.RUNNING for trial in study.get_trials())
