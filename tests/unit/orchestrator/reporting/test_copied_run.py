"""A copy of a run at a storage is brought back whole, and where two machines go on nothing is lost."""

import datetime
from pathlib import Path

import pytest
from mirrored_runs import begun_run, end_trial, ended, prefix, visible

from orchestrator.cli.fetch import refuse_another
from orchestrator.reporting.copied_run import fetch_copy, named_copy
from orchestrator.reporting.mirror import MirrorCallback
from orchestrator.reporting.place import Place
from results.errors import RunError
from results.run.run_folder import RunFolder
from trainables.common.errors import MachineError


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run of two trials, all of which is at the place."""
    own = begun_run(tmp_path / "here")
    own.study_file.write_text("two")
    for number in range(2):
        end_trial(own, number)
    return own


@pytest.fixture
def place(tmp_path: Path, run: RunFolder) -> Place:
    found = Place((tmp_path / "there").as_uri())
    MirrorCallback(found).on_search_end(ended(run))
    return found


def test_a_copy_that_was_interrupted_is_no_run_and_can_be_completed(
    run: RunFolder, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, left, read = tmp_path / "fetched", 4, Place.read

    def breaks(self: Place, name: str, path: Path) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError("the network is gone")
        read(self, name, path)

    monkeypatch.setattr(Place, "read", breaks)
    with pytest.raises(MachineError, match="the network is gone; say it again"):
        fetch_copy(place, prefix(run), target)
    with pytest.raises(RunError, match="is not a run folder"):
        RunFolder(target).search()
    began = run.search().started_at.isoformat()
    refuse_another(target, began)
    with pytest.raises(RunError, match="holds another run"):
        refuse_another(target, "2020-01-01T00:00:00+00:00")
    left = 100
    fetch_copy(place, prefix(run), target)
    assert visible(target) == visible(run.path)


def test_a_machine_that_has_fewer_trials_removes_none_of_another_one(
    run: RunFolder, place: Place, tmp_path: Path
) -> None:
    lost = begun_run(tmp_path / "lost")
    end_trial(lost, 0)
    MirrorCallback(place).on_search_end(ended(lost))
    own = tmp_path / "there" / prefix(run)
    assert (own / "trials/0001/record.json").read_bytes() == run.record_file(1).read_bytes()
    assert (own / "study.log").read_text() == "two"  # nor what it never had


def test_files_of_a_run_that_is_here_already_stay_as_they_are(
    run: RunFolder, place: Place, tmp_path: Path
) -> None:
    end_trial(run, 2)  # it has gone on since
    run.study_file.write_text("three")
    (run.path / "split.json").unlink()
    fetch_copy(place, prefix(run), run.path)
    assert run.study_file.read_text() == "three"
    assert (run.path / "split.json").read_text() == "{}"
    # Where the copy has gone on, all but the trials that are here comes from it.
    behind = begun_run(tmp_path / "behind")
    behind.study_file.write_text("one")
    end_trial(behind, 0)
    fetch_copy(place, prefix(run), behind.path)
    assert behind.study_file.read_text() == "two"
    assert [record.number for record in behind.records()] == [0, 1]


def test_records_of_other_things_than_trials_make_no_copy_newer(
    run: RunFolder, place: Place, tmp_path: Path
) -> None:
    for folder in ("baseline", "outer/1/trials/0007", "repeats/2/trials/0009"):
        (run.path / folder).mkdir(parents=True)
        (run.path / folder / "record.json").write_text("{}")
    MirrorCallback(place).on_search_end(ended(run))
    run.study_file.write_text("later")
    fetch_copy(place, prefix(run), run.path)
    assert run.study_file.read_text() == "later"
    end_trial(run, 2)
    fetch_copy(place, prefix(run), run.path)  # which has gone on, and not apart
    assert run.study_file.read_text() == "later"


def test_no_opening_of_the_test_part_is_lost(run: RunFolder, place: Place, tmp_path: Path) -> None:
    run.openings_file.write_text("first\nover there\n")
    MirrorCallback(place).on_search_end(ended(run))
    behind = begun_run(tmp_path / "behind")
    end_trial(behind, 0)
    behind.openings_file.write_text("first\nhere\n")
    fetch_copy(place, prefix(run), behind.path)
    assert behind.openings_file.read_text().splitlines() == ["first", "here", "over there"]
    end_trial(behind, 2)  # it has gone on, and nothing but a look is new over there
    later = tmp_path / "there" / prefix(run) / "test_openings.jsonl"
    later.write_text("first\nover there\nlater\n")
    fetch_copy(place, prefix(run), behind.path)
    assert behind.openings_file.read_text().splitlines() == ["first", "here", "over there", "later"]


def test_a_copy_that_was_interrupted_in_its_first_file_can_be_said_again(
    run: RunFolder, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, read = tmp_path / "fetched", Place.read

    def breaks(self: Place, name: str, path: Path) -> None:
        path.write_text("task: beni")
        raise OSError("the network is gone")

    monkeypatch.setattr(Place, "read", breaks)
    with pytest.raises(MachineError, match="the network is gone"):
        fetch_copy(place, prefix(run), target)
    monkeypatch.setattr(Place, "read", read)
    refuse_another(target, run.search().started_at.isoformat())
    fetch_copy(place, prefix(run), target)
    assert visible(target) == visible(run.path)


def test_what_an_interrupted_copy_has_left_does_not_replace_what_came_later(
    run: RunFolder, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind, read = begun_run(tmp_path / "behind"), Place.read
    end_trial(behind, 0)

    def breaks(self: Place, name: str, path: Path) -> None:
        if not name.endswith("search.yaml"):
            raise OSError("the network is gone")
        read(self, name, path)

    monkeypatch.setattr(Place, "read", breaks)
    with pytest.raises(MachineError, match="the network is gone"):
        fetch_copy(place, prefix(run), behind.path)
    monkeypatch.setattr(Place, "read", read)
    end_trial(behind, 1)
    behind.write_search(behind.search().with_options(trials=99))
    fetch_copy(place, prefix(run), behind.path)
    assert behind.search().request.trials == 99
    assert not list(behind.path.rglob(".*.part"))


def test_folders_whose_names_lead_elsewhere_are_no_runs(
    run: RunFolder, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Place.folders
    monkeypatch.setattr(Place, "folders", lambda self, *below: ["..", ".", *real(self, *below)])
    assert named_copy(place, "latest").name == prefix(run)
    with pytest.raises(RunError, match=r"no run '\.\./here'"):
        named_copy(place, "../here")


def test_runs_that_have_gone_on_apart_are_not_mixed(run: RunFolder, place: Place, tmp_path: Path) -> None:
    apart = begun_run(tmp_path / "apart")
    end_trial(apart, 5)
    with pytest.raises(RunError, match="have gone on apart"):
        fetch_copy(place, prefix(run), apart.path)
    with run.exclusive(), pytest.raises(RunError, match="is being searched by another process"):
        fetch_copy(place, prefix(run), run.path)


def fail_trial(run: RunFolder, number: int) -> None:
    """Write what a trial leaves that a fault has ended, an hour before those that are complete."""
    record = end_trial(run, number)
    run.predictions_file(number).unlink()
    early = record.finished_at - datetime.timedelta(hours=1)
    run.write_record(
        record.model_copy(
            update={"state": "failed", "value": None, "cause": "exception", "finished_at": early}
        )
    )


def test_a_trial_that_was_run_again_elsewhere_comes_whole(
    run: RunFolder, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind, read = begun_run(tmp_path / "behind"), Place.read
    end_trial(behind, 0)
    fail_trial(behind, 1)
    (behind.trial(1) / "left.txt").write_text("of the run that failed")
    before = visible(behind.path)

    def breaks(self: Place, name: str, path: Path) -> None:
        if name.endswith("oof.npz"):
            raise OSError("the network is gone")
        read(self, name, path)

    monkeypatch.setattr(Place, "read", breaks)
    with pytest.raises(MachineError, match="the network is gone"):
        fetch_copy(place, prefix(run), behind.path)
    assert visible(behind.path) == before
    monkeypatch.setattr(Place, "read", read)
    fetch_copy(place, prefix(run), behind.path)
    assert visible(behind.path) == visible(run.path)


def test_a_trial_that_was_run_again_here_stays_and_nothing_of_its_first_run_comes_beside_it(
    run: RunFolder, tmp_path: Path
) -> None:
    early = begun_run(tmp_path / "early")
    end_trial(early, 0)
    fail_trial(early, 1)
    (early.trial(1) / "left.txt").write_text("of the run that failed")
    place = Place((tmp_path / "copy").as_uri())
    MirrorCallback(place).on_search_end(ended(early))
    before = visible(run.path)
    fetch_copy(place, prefix(run), run.path)
    assert visible(run.path) == before
    end_trial(early, 2)  # over there a trial is new as well
    MirrorCallback(place).on_search_end(ended(early))
    with pytest.raises(RunError, match="have gone on apart"):
        fetch_copy(place, prefix(run), run.path)


def test_a_machine_whose_trial_has_failed_replaces_none_that_was_run_again_elsewhere(
    run: RunFolder, place: Place, tmp_path: Path
) -> None:
    behind = begun_run(tmp_path / "behind")
    end_trial(behind, 0)
    fail_trial(behind, 1)
    there = tmp_path / "there" / prefix(run)
    before = visible(there / "trials/0001")
    MirrorCallback(place).on_search_end(ended(behind))
    assert visible(there / "trials/0001") == before
    callback = MirrorCallback(place)  # once it has run it again itself, its own is the newer one
    callback.on_search_start(behind, behind.search())
    behind.record_file(1).unlink()  # as a resume sets it aside
    callback.on_trial_end(end_trial(behind, 1))
    callback.on_search_end(ended(behind))
    assert visible(there / "trials/0001") == visible(behind.trial(1))


def test_a_file_that_is_being_written_there_is_left_out(run: RunFolder, place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "there" / prefix(run)
    (folder / "study.log.part").write_text("half of it")
    fetch_copy(place, prefix(run), tmp_path / "fetched")
    assert not list((tmp_path / "fetched").rglob("*.part"))
    assert visible(tmp_path / "fetched") == visible(run.path)
