"""Storages by URL: drivers, locks, and what is done when a database does not answer."""

import errno
import json
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from list_study import Clock
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages._rdb import models
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, OperationalError

from orchestrator.study import databases, storage
from orchestrator.study.journal import RunJournal, SharedJournal
from orchestrator.study.optuna_private import OPERATION, id_of, started_trial
from orchestrator.study.patience import OutOfPatienceError, Patience
from orchestrator.study.storage import TICKET, PatientStorage, open_storage, what_was_said
from trainables.common.appending import append_whole
from trainables.common.errors import ConfigError

URL = "postgresql://me@host/db"


class Restarting(InMemoryStorage):
    """A database that does what it is asked, and whose answers to some calls are lost."""

    def __init__(self, **lost: int) -> None:
        super().__init__()
        self.lost, self.is_done_first = lost, True

    def _answer(self, name: str, act: Callable[[], Any]) -> Any:
        is_lost = self.lost.get(name, 0) > 0
        if is_lost:
            self.lost[name] -= 1
        if self.is_done_first or not is_lost:
            found = act()
        if is_lost:
            gone = OperationalError("SELECT 1", {}, sqlite3.OperationalError("server closed the connection"))
            raise StorageInternalError("An exception is raised during the commit.") from gone
        return found

    def create_new_trial(self, *given: Any, **named: Any) -> int:
        return self._answer("create", lambda: InMemoryStorage.create_new_trial(self, *given, **named))

    def set_trial_state_values(self, *given: Any, **named: Any) -> bool:
        return self._answer("state", lambda: InMemoryStorage.set_trial_state_values(self, *given, **named))

    def set_trial_user_attr(self, *given: Any, **named: Any) -> None:
        return self._answer("attr", lambda: InMemoryStorage.set_trial_user_attr(self, *given, **named))


def patient(inner: BaseStorage) -> tuple[PatientStorage, list[str]]:
    clock, said = Clock(), list[str]()

    def sleep(seconds: float) -> None:
        clock.now += seconds

    patience = Patience(1.0, clock=clock, sleep=sleep)
    patience.say = said.append
    return PatientStorage(inner, patience, "postgresql://me:s3cret@host/db"), said


@pytest.mark.parametrize("is_done_first", [True, False])
def test_what_was_done_without_an_answer_is_not_done_twice(is_done_first: bool) -> None:
    inner = Restarting(create=2, state=2, attr=2)
    inner.is_done_first = is_done_first
    storage, said = patient(inner)
    study = optuna.create_study(storage=storage)
    trial = started_trial(study, {"driver": "me"})
    trial.set_user_attr("cause", "nan")
    trial.suggest_float("x", 0.0, 1.0)
    study.tell(trial, 0.5)
    (kept,) = study.get_trials()
    assert (kept.number, kept.state, kept.value) == (0, TrialState.COMPLETE, 0.5)
    assert kept.user_attrs == {TICKET: kept.user_attrs[TICKET], "driver": "me", "cause": "nan"}
    assert said[0] == (
        "the study's storage postgresql://me@host/db does not answer (server closed the connection); the "
        "search waits up to 1 min, and looks again meanwhile"
    )


@pytest.mark.parametrize("is_done_first", [True, False])
def test_a_trial_that_the_sampler_proposes_is_made_once_although_its_answer_is_lost(
    is_done_first: bool,
) -> None:
    inner = Restarting(create=2)
    inner.is_done_first = is_done_first
    study = optuna.create_study(storage=patient(inner)[0])
    study.ask()
    assert [(kept.number, kept.state) for kept in study.get_trials()] == [(0, TrialState.RUNNING)]
    study.ask()
    assert len(study.get_trials()) == 2


@pytest.mark.parametrize("is_done_first", [True, False])
def test_a_point_is_put_in_the_queue_once_although_its_answer_is_lost(is_done_first: bool) -> None:
    inner = Restarting(create=2)
    inner.is_done_first = is_done_first
    study = optuna.create_study(storage=patient(inner)[0])
    study.enqueue_trial({"x": 0.25}, user_attrs={"recipe": "ours"})
    study.enqueue_trial({"x": 0.25}, user_attrs={"recipe": "ours"})  # the same once more is another trial
    assert [kept.system_attrs["fixed_params"] for kept in study.get_trials()] == [{"x": 0.25}] * 2


def test_a_copy_of_a_trial_has_a_ticket_of_its_own() -> None:
    inner = Restarting()
    study = optuna.create_study(storage=patient(inner)[0])
    study.tell(study.ask(), 0.5)
    inner.lost["create"] = 1
    study.add_trial(study.get_trials()[0])
    first, second = study.get_trials()
    assert (first.value, second.value) == (0.5, 0.5)
    assert first.user_attrs[TICKET] != second.user_attrs[TICKET]


@pytest.mark.parametrize(("is_alone", "taken"), [(True, [0, 1]), (False, [1, 2])])
def test_a_point_whose_start_was_not_answered_is_taken_where_nobody_else_can_have_taken_it(
    is_alone: bool, taken: list[int]
) -> None:
    inner = Restarting()
    study = optuna.create_study(
        storage=PatientStorage(inner, patient(inner)[0].patience, URL, is_alone=is_alone)
    )
    for x in (0.1, 0.2, 0.3):
        study.enqueue_trial({"x": x})
    inner.lost["state"] = 1
    assert [study.ask().number for _ in range(2)] == taken


def test_a_database_that_stays_away_ends_the_wait() -> None:
    inner = Restarting(create=10_000)
    inner.is_done_first = False
    storage, _ = patient(inner)
    study = optuna.create_study(storage=storage)
    with pytest.raises(
        OutOfPatienceError, match=r"postgresql://me@host/db does not answer .* did not come back"
    ):
        study.ask()


def test_trials_are_read_again_when_the_connection_is_lost_while_they_are_read(tmp_path: Path) -> None:
    """Optuna takes the lost connection for too long a query and asks once more, on the same connection."""
    place = open_storage(f"sqlite:///{tmp_path}/s.db", Patience(0.0))
    assert isinstance(place, PatientStorage)
    study = optuna.create_study(storage=place)
    study.tell(study.ask(), 0.5)
    # The engine is private to Optuna's cached storage: a connection can be broken there alone.
    engine, lost = place.inner._backend.engine, ["first"]  # type: ignore[attr-defined]

    @event.listens_for(engine, "do_execute")
    def lose(cursor: Any, statement: str, parameters: Any, context: Any) -> None:
        if lost and "FROM trials" in statement:
            lost.clear()
            raise sqlite3.OperationalError("server closed the connection unexpectedly")

    @event.listens_for(engine, "handle_error")
    def notice(context: Any) -> None:
        context.is_disconnect = True

    storage, said = patient(place.inner)
    (study_id,) = [found._study_id for found in storage.get_all_studies()]
    assert [trial.value for trial in storage.get_all_trials(study_id)] == [0.5]
    assert lost == []
    assert "postgresql://me@host/db does not answer (the connection was lost)" in said[0]


def test_a_point_that_two_searches_find_waiting_is_taken_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, read = f"sqlite:///{tmp_path}/study.db", models.TrialModel.find_or_raise_by_id

    def read_slowly(*given: Any, **more: Any) -> Any:
        found = read(*given, **more)
        time.sleep(0.3)  # in which the other search reads, too
        return found

    study = optuna.create_study(storage=open_storage(url, Patience()), study_name="s")
    study.enqueue_trial({"x": 1.0})
    (waiting,) = study.get_trials()
    searches = [open_storage(url, Patience()) for _ in range(2)]
    monkeypatch.setattr(models.TrialModel, "find_or_raise_by_id", read_slowly)
    with ThreadPoolExecutor(2) as both:
        taken = both.map(lambda one: one.set_trial_state_values(id_of(waiting), TrialState.RUNNING), searches)
        assert sorted(taken) == [False, True]


def test_an_error_that_does_not_pass_is_raised_at_once() -> None:
    class Refusing(InMemoryStorage):
        def create_new_trial(self, *given: Any, **named: Any) -> int:
            broken = IntegrityError("INSERT", {}, sqlite3.IntegrityError("duplicate key"))
            raise StorageInternalError("An exception is raised during the commit.") from broken

    storage, said = patient(Refusing())
    study = optuna.create_study(storage=storage)
    with pytest.raises(StorageInternalError):
        study.ask()
    assert said == []
    with pytest.raises(KeyError):
        storage.get_study_id_from_name("none")


def test_the_words_of_the_database_are_shown_and_not_what_optuna_guesses() -> None:
    study = optuna.create_study(storage=Restarting(create=1))
    with pytest.raises(StorageInternalError) as error:
        study.ask()
    assert what_was_said(error.value) == "server closed the connection"
    assert what_was_said(StorageInternalError("no cause")) == "no cause"


def test_every_call_of_optuna_passes_through() -> None:
    asked = {name for name in dir(BaseStorage) if not name.startswith("_")}
    own = {name for name in vars(PatientStorage) if not name.startswith("_")}
    assert BaseStorage.__abstractmethods__ <= own
    assert own <= asked
    storage, _ = patient(InMemoryStorage())
    study = optuna.create_study(storage=storage, study_name="a", directions=["minimize"])
    study.enqueue_trial({"x": 0.25})
    study.set_user_attr("facts", {"a": 1})
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    again = optuna.load_study(storage=storage, study_name="a")
    assert again.trials[0].params == {"x": 0.25}
    assert (len(again.trials), again.user_attrs) == (3, {"facts": {"a": 1}})
    assert again.best_value == min(trial.value for trial in study.trials if trial.value is not None)
    optuna.delete_study(storage=storage, study_name="a")
    assert storage.get_all_studies() == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("journal://", "is named journal:///FOLDER/FILE"),
        ("journal:///shared/", "is named journal:///FOLDER/FILE"),
        ("journal:///shared/a.log?mode=open", "is named journal:///FOLDER/FILE"),
        ("journal:///shared/a.log?lock=flock", "the lock of a journal is symlink or open, found 'flock'"),
    ],
)
def test_a_journal_that_cannot_be_understood_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_storage(url, Patience())


def test_a_driver_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pymysql", None)
    with pytest.raises(ConfigError, match=r"pip install 'breast-image-orchestrator\[mysql\]'"):
        open_storage("mysql://me@host/db", Patience())
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"pip install 'breast-image-orchestrator\[postgresql\]'"):
        open_storage("postgresql://me@host/db", Patience())


@pytest.mark.parametrize("lock", ["symlink", "open"])
def test_half_a_line_of_a_killed_search_does_not_stop_the_others(tmp_path: Path, lock: str) -> None:
    path = tmp_path / "study.log"
    study = optuna.create_study(storage=JournalStorage(SharedJournal(path, lock)), study_name="a")
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"' + b"x" * 9000)  # longer than a block
    study.ask()
    lines = path.read_bytes().splitlines()
    assert path.read_bytes().startswith(whole)
    assert [json.loads(line)["op_code"] for line in lines][-1] == 4
    again = optuna.load_study(storage=JournalStorage(JournalFileBackend(str(path))), study_name="a")
    assert len(again.trials) == 1
    assert not list(tmp_path.glob("*.lock*"))


@pytest.mark.parametrize("number", [errno.EIO, errno.EBADF, errno.ESTALE])
@pytest.mark.parametrize("is_written", [True, False])
def test_a_file_server_that_forgot_the_open_journal_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_written: bool
) -> None:
    said, left = list[str](), {4, 6}  # that make a trial and that end it: each is lost once
    patience = Patience(1.0, sleep=lambda seconds: None)
    patience.say = said.append
    opened = open_storage(f"journal://{tmp_path}/study.log", patience)
    study = optuna.create_study(storage=opened, study_name="a")

    def forgotten(file: Any, text: bytes, *, is_synced: bool) -> None:
        operation = json.loads(text)[OPERATION]
        is_lost = operation in left
        if is_written or not is_lost:
            append_whole(file, text, is_synced=is_synced)
        if is_lost:
            left.remove(operation)
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr("orchestrator.study.journal.append_whole", forgotten)
    study.tell(started_trial(study, {}), 0.5)
    assert left == set()
    assert len(said) == 4
    assert os.strerror(number) in said[0]
    found = [(one.number, one.state, one.value) for one in opened.get_all_trials(study._study_id)]
    assert found == [(0, TrialState.COMPLETE, 0.5)]


def test_what_does_not_fit_on_the_disk_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a real full disk: a file that may not grow beyond a few kilobytes more."""
    import resource
    import signal

    path, said, clock = tmp_path / "study.log", list[str](), Clock()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def sleep(seconds: float) -> None:
        clock.now += seconds
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)  # room again

    patience = Patience(clock=clock, sleep=sleep)
    patience.say = said.append
    journal = RunJournal(path, patience)
    study = optuna.create_study(storage=JournalStorage(journal), study_name="a")
    monkeypatch.setattr("trainables.common.files._FULL", (27,))  # EFBIG stands for a full disk
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, limits[1]))
        study.set_user_attr("facts", "y" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert said[0].startswith("File too large")
    lines = path.read_bytes().splitlines()
    assert [len(json.loads(line).get("user_attr", {}).get("facts", "")) for line in lines][-1] == 5000
    assert len(lines) == 2  # and no half of it before


@pytest.mark.parametrize(
    ("said", "is_tried_again"), [("table studies already exists", True), ("disk I/O", False)]
)
def test_a_database_whose_tables_another_search_makes_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, is_tried_again: bool
) -> None:
    opened, tries = databases.RDBStorage, []

    def second_best(*arguments: Any, **options: Any) -> Any:
        tries.append(arguments)
        if len(tries) == 1:
            raise OperationalError("CREATE TABLE studies", {}, Exception(said))
        return opened(*arguments, **options)

    monkeypatch.setattr(databases, "RDBStorage", second_best)
    if is_tried_again:
        storage.open_storage(f"sqlite:///{tmp_path}/s.db", Patience(0.0))
        assert len(tries) == 2
    else:
        with pytest.raises(OperationalError, match=said):
            storage.open_storage(f"sqlite:///{tmp_path}/s.db", Patience(0.0))
        assert len(tries) == 1
