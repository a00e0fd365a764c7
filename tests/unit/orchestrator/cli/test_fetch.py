"""`orchestrate fetch` from a cluster, over what this machine has: nothing that was made here is lost."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from cluster_jobs import held
from fake_ssh import FakeMachine, make_fake_machine
from simulated_run import make_run
from simulated_trials import simulate

from cluster.errors import RemoteError
from cluster.ssh import Login
from orchestrator.cli.main import main
from results.run.run_folder import RunFolder

pytestmark = [pytest.mark.usefixtures("rsync"), pytest.mark.slow]
HIDDEN = (".lock", ".owner.json", ".store_limit", ".mark-0123", "outer/1/.store_limit", ".rsync-partial/a")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # where no cluster is noted
    found = make_fake_machine(tmp_path, monkeypatch)
    found.install()
    found.cluster_file()
    return found


@pytest.fixture
def there(machine: FakeMachine) -> RunFolder:
    """A run on the head of a pretended cluster."""
    runs = machine.home / "orchestrate/runs"
    runs.mkdir()
    run = make_run(runs, simulate())
    run.study_file.write_text("over there")
    return run


@pytest.fixture
def here(machine: FakeMachine, there: RunFolder) -> RunFolder:
    """The place of the run on this machine, where nothing is yet."""
    return RunFolder(machine.folder / "runs" / there.path.parent.name / there.path.name)


def fetch(run: RunFolder, code: int = 0) -> None:
    assert main(["fetch", "my.yaml", run.path.name]) == code


def add_trial(run: RunFolder, number: int, **settings: object) -> None:
    """End one more trial, which is like the first one but for some settings."""
    shutil.copytree(run.trial(0), run.trial(number))
    record = json.loads(run.record_file(0).read_text())
    record |= {"number": number, "config": {**record["config"], **settings}}
    run.record_file(number).write_text(json.dumps(record))


def content(run: RunFolder) -> dict[str, bytes]:
    files = (path for path in run.path.rglob("*") if path.is_file())
    return {path.relative_to(run.path).as_posix(): path.read_bytes() for path in files}


def test_what_is_about_the_machine_of_a_search_stays_there(there: RunFolder, here: RunFolder) -> None:
    for name in HIDDEN:
        (there.path / name).parent.mkdir(parents=True, exist_ok=True)
        (there.path / name).write_text("of the head")
    fetch(there)
    assert content(here) == {name: told for name, told in content(there).items() if name not in HIDDEN}
    assert here.path.stat().st_mode & 0o077 == there.path.stat().st_mode & 0o077
    (here.path / ".store_limit").write_text("of here")
    fetch(there)
    assert (here.path / ".store_limit").read_text() == "of here"
    assert not here.owner_file.exists()


def test_no_opening_of_the_test_part_is_lost(there: RunFolder, here: RunFolder) -> None:
    there.openings_file.write_text("first\n")
    fetch(there)
    assert here.openings_file.read_text() == "first\n"
    with here.openings_file.open("a") as log:
        log.write("here\n")
    fetch(there)
    assert here.openings_file.read_text() == "first\nhere\n"
    there.openings_file.write_text("first\nover there\n")
    fetch(there)
    assert here.openings_file.read_text() == "first\nhere\nover there\n"
    assert there.openings_file.read_text() == "first\nover there\n"


def test_a_run_that_is_searched_here_is_left_as_it_is(
    there: RunFolder, here: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(there)
    there.study_file.write_text("later, over there")
    with held(here, "orchestrate", "resume", here.path.name):
        before = content(here)
        fetch(there, code=2)
        assert {**content(here), ".owner.json": b""} == {**before, ".owner.json": b""}
    assert "is being searched by another process" in capsys.readouterr().err
    fetch(there)
    assert here.study_file.read_text() == "later, over there"


def test_a_run_that_has_gone_on_here_keeps_all_that_it_has(there: RunFolder, here: RunFolder) -> None:
    fetch(there)
    add_trial(here, 90)
    for path in (here.study_file, here.search_file):
        path.write_text(path.read_text() + "\n# here")
    for path in (there.study_file, there.path / "leaderboard.csv"):
        path.write_text("later, over there")
    before = content(here)
    fetch(there)
    assert content(here) == {**before, ".lock": b"", "leaderboard.csv": b"later, over there"}


def test_a_run_that_has_gone_on_there_is_completed(there: RunFolder, here: RunFolder) -> None:
    fetch(there)
    add_trial(there, 90)
    there.study_file.write_text("later, over there")
    (here.ensembles / "mine.json").parent.mkdir()
    (here.ensembles / "mine.json").write_text("{}")
    for run, minute in ((there, 1), (here, 2)):  # made again on both sides, here after there
        run.leaderboard_file.write_text(f"minute {minute}")
        os.utime(run.leaderboard_file, (60.0 * minute, 60.0 * minute))
    fetch(there)
    assert {name: told for name, told in content(here).items() if not name.startswith(".")} == {
        **content(there),
        "ensembles/mine.json": b"{}",
        "leaderboard.csv": b"minute 2",
    }


@pytest.mark.parametrize("number", [90, 91])
def test_runs_that_have_gone_on_apart_are_not_mixed(
    number: int, there: RunFolder, here: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(there)
    add_trial(there, 90, seed=1)
    add_trial(here, number, seed=2)
    before = content(here)
    fetch(there, code=2)
    assert content(here) | {".lock": b""} == before | {".lock": b""}
    assert "have gone on apart" in capsys.readouterr().err


def test_a_trial_that_was_run_again_over_there_comes(there: RunFolder, here: RunFolder) -> None:
    record = json.loads(there.record_file(0).read_text())
    there.record_file(0).write_text(json.dumps({**record, "state": "failed", "cause": "environment"}))
    fetch(there)
    there.record_file(0).write_text(json.dumps(record))
    fetch(there)
    assert here.record_file(0).read_bytes() == there.record_file(0).read_bytes()


@pytest.mark.parametrize("calls", [0, 1, 2])
def test_a_first_copy_that_was_cut_is_no_run_and_can_be_said_again(
    calls: int, there: RunFolder, here: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = Login.fetch, calls

    def breaks(self: Login, source: str, target: Path, **options: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            (target / ".study.log.Xy12Zz").write_text("half of it")  # as an rsync that was killed leaves it
            raise RemoteError("the network is gone")
        real(self, source, target, **options)

    monkeypatch.setattr(Login, "fetch", breaks)
    fetch(there, code=1)
    assert not here.search_file.exists()
    assert calls < 2 or not any("record.json" in name for name in content(here)), "records come last"
    monkeypatch.setattr(Login, "fetch", real)
    fetch(there)
    assert {name: told for name, told in content(here).items() if ".study" not in name} == content(there)
    assert here.search() == there.search()


def test_a_copy_that_was_cut_is_of_its_search_alone(
    there: RunFolder, here: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = Login.fetch

    def breaks(self: Login, source: str, target: Path, **options: Any) -> None:
        if target == here.path or target == Path("runs") / there.path.parent.name / there.path.name:
            raise RemoteError("the network is gone")
        real(self, source, target, **options)

    monkeypatch.setattr(Login, "fetch", breaks)
    fetch(there, code=1)
    monkeypatch.setattr(Login, "fetch", real)
    search = there.search()
    there.write_search(search.model_copy(update={"started_at": search.started_at.replace(year=2020)}))
    fetch(there, code=2)
    assert "holds another run, which is left as it is" in capsys.readouterr().err
