"""Several searches on one study in a real PostgreSQL and a real MariaDB, restarted while they work."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import shared_studies
import yaml
from database_server import PASSWORD as SECRET
from database_server import DatabaseServer, serving
from mariadb_server import MariadbServer
from optuna.trial import FrozenTrial, TrialState
from postgres_server import PostgresServer
from shared_studies import POINTS, driver_of, ended, last_words, numbers_in, resumed, run_all

from orchestrator.study.shared import DRIVER
from orchestrator.study.study import open_study
from results.run.run_folder import RunFolder
from results.run.storage_url import PASSWORD
from trainables.common.errors import ConfigError

pytestmark = pytest.mark.timeout(280)

KINDS: dict[str, Any] = {
    "params": [PostgresServer, pytest.param(MariadbServer, marks=pytest.mark.long)],
    "ids": ["postgresql", "mysql"],
}


@pytest.fixture(scope="module", **KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    with serving(request.param) as found:
        yield found


@pytest.fixture
def url(server: DatabaseServer, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """URL of a database of this test's own; its password is in the environment."""
    name = f"d{abs(hash(request.node.nodeid)) % 10**9}"
    server.create(name)
    monkeypatch.setenv(PASSWORD, SECRET)
    return server.url(name)


@pytest.fixture(**KINDS)
def small(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    """A server whose disk can be filled."""
    monkeypatch.setenv(PASSWORD, SECRET)
    with serving(request.param, has_small_disk=True) as found:
        yield found


def begun(url: str, name: str, trials: int) -> subprocess.Popen[str]:
    command = [sys.executable, shared_studies.__file__, url, name, str(trials)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def all_trials(url: str) -> list:
    return open_study(storage=url, journal=Path("unused"), name="t/both", is_new=False).get_trials()


@pytest.mark.long
def test_three_processes_hand_out_each_number_once_while_the_server_is_restarted(
    server: DatabaseServer, url: str
) -> None:
    names = {"one", "two", "three"}
    drivers = [begun(url, name, 120) for name in sorted(names)]  # on an empty database, at once
    for end, at_least in ((server.stop, 5), (server.crash, 15)):
        # The first answer of a storage is not waited for: each of them has had it.
        while len(found := tried(url)) < at_least or not names <= {driver_named(trial) for trial in found}:
            assert all(driver.poll() is None for driver in drivers), last_words(
                one.communicate() for one in drivers
            )
            time.sleep(0.2)
        end()
        time.sleep(1.0)
        server.start()
    printed = [driver.communicate(timeout=150) for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0, 0], last_words(printed)
    numbers = [number for said, _ in printed for number in numbers_in(said)]
    assert len(numbers) == len(set(numbers)) == 120
    states = {trial.number: trial.state for trial in all_trials(url)}
    assert {number for number, state in states.items() if state is TrialState.COMPLETE} == set(numbers)
    assert TrialState.RUNNING not in states.values()


def driver_named(trial: FrozenTrial) -> str | None:
    """Name of the driver that has begun a trial."""
    return trial.user_attrs.get(DRIVER)


def tried(url: str) -> list:
    """The trials, once the study is there."""
    try:
        return all_trials(url)
    except ConfigError:
        return []


def test_a_driver_waits_for_the_server_and_says_so(server: DatabaseServer, url: str) -> None:
    study = driver_of(url, "one", points=POINTS)
    said: list[str] = []
    study.patience.say = said.append
    first = study.ask()
    assert first is not None
    server.stop()
    back = threading.Timer(1.5, server.start)
    back.start()
    study.tell(ended(first, 0.75))
    back.join()
    second = study.ask()
    assert second is not None
    assert (second.number, second.recipe) == (1, "ours")
    assert "does not answer" in said[0]
    assert "the search waits up to 1 min" in said[0]
    assert said[1].startswith("the search goes on after")
    assert all_trials(url)[0].value == 0.75
    assert SECRET not in str(said)
    assert quote(SECRET, safe="") not in str(said)


@pytest.mark.long
def test_a_killed_driver_goes_on_with_its_own_trials(url: str) -> None:
    one, two = driver_of(url, "one", trials=6), driver_of(url, "two", trials=6)
    mine = [one.ask(), one.ask()]
    theirs = two.ask()
    assert mine[0] is not None
    assert mine[1] is not None
    assert theirs is not None
    records = {mine[0].number: ended(mine[0])}  # its record was written, and then it was killed
    again, messages = resumed(url, "one", records, trials=6)
    assert messages == ()
    spec = again.ask()
    assert spec is not None
    assert (spec.number, spec.params) == (mine[1].number, mine[1].params)
    again.tell(ended(spec))
    two.tell(ended(theirs))
    assert run_all(again) == [3, 4, 5]
    assert not two.has_more


@pytest.mark.long
def test_a_wrong_password_is_one_sentence_without_it(
    server: DatabaseServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD, "wr0ng")
    with pytest.raises(ConfigError, match=f"{server.refusal}.*; a password is read from {PASSWORD}") as error:
        driver_of(url, "one")
    assert "wr0ng" not in str(error.value)


@pytest.mark.long
def test_a_full_database_is_waited_for_and_refused_to_newcomers(small: DatabaseServer) -> None:
    for name in ("early", "late"):
        small.create(name)
    study = driver_of(small.url("early"), "one", trials=150)
    said: list[str] = []
    numbers: list[int] = []
    study.patience.say = said.append
    small.fill()
    at_work = threading.Thread(target=lambda: numbers.extend(run_all(study)))
    at_work.start()
    end = time.monotonic() + 100.0
    while not said and at_work.is_alive() and time.monotonic() < end:
        time.sleep(0.1)
    try:
        with pytest.raises(ConfigError, match=f"cannot be opened: .*({small.full})") as error:
            driver_of(small.url("late"), "two")
    finally:
        small.make_room()
        at_work.join()
    assert re.search(f"does not answer .*({small.full})", said[0])
    assert "the search waits up to 1 min" in said[0]
    assert said[-1].startswith("the search goes on after")
    assert numbers == list(range(150))
    trials = all_trials(small.url("early"))
    assert [(trial.number, trial.state) for trial in trials] == [
        (number, TrialState.COMPLETE) for number in numbers
    ]
    assert SECRET not in str(said) + str(error.value)
    assert driver_of(small.url("late"), "two").ask() is not None  # what was begun there is no obstacle


@pytest.mark.long
def test_two_searches_share_one_study_and_keep_their_own_records(url: str, tmp_path: Path) -> None:
    settings = ["--set", "model.backbone=efficientnet_lite0", "--set", "model.trained_stages=0"]
    settings += [
        "--set",
        "input.size_px=64",
        "--data",
        "phantom:patients=12",
        "--folds",
        "2",
        "--epochs",
        "2",
    ]
    command = [sys.executable, "-m", "orchestrator.cli.main"]
    runs = ["--runs", str(tmp_path / "runs")]
    for name, trials in (("first", 2), ("second", 5)):
        typed = ["search", "benign_malignant", *settings, *runs, "--name", name, "--trials", str(trials)]
        typed += ["--study-storage", url, "--study", "both", "--offline", "--address", "local", "--no-audit"]
        done = subprocess.run([*command, *typed], capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert SECRET not in done.stdout + done.stderr
    folders = {name: tmp_path / "runs/benign_malignant" / name for name in ("first", "second")}
    numbers = {name: RunFolder(folder).trial_numbers() for name, folder in folders.items()}
    assert numbers == {"first": [0, 1], "second": [2, 3, 4]}
    for folder in folders.values():
        written = yaml.safe_load((folder / "search.yaml").read_text())
        assert written["request"]["study_storage"] == url
        texts = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
        assert texts
        assert not any(SECRET.encode() in text or b"p4ss" in text for text in texts)
    shown = subprocess.run(
        [*command, "leaderboard", str(folders["second"]), "--format", "json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, PASSWORD: ""},
    )
    numbered = [row["trial"] for row in json.loads(shown.stdout) if row["trial"] is not None]
    assert sorted(numbered) == [2, 3, 4]  # beside them the row that sees no structure
