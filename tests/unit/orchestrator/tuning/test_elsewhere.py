"""A run folder of somebody else chooses no host that gets a password, files or scores."""

import shutil
from pathlib import Path
from typing import Any, NoReturn

import pytest
from records import search_record

from orchestrator.api import search
from orchestrator.tuning import reopen
from orchestrator.tuning.elsewhere import SaidPlaces, check_study_storage, places_of
from results.errors import RunError
from results.run.finding import find_run
from results.run.run_folder import RunFolder
from trainables.common.errors import ConfigError

STORAGE = "postgresql://me@elsewhere/db"
RESULTS = "s3://bucket/path"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that lies where it was made, with a study, a copy and a log at other places."""
    record = search_record()
    asked: dict[str, Any] = {
        "runs": (tmp_path / "runs").resolve(),
        "study_storage": STORAGE,
        "results": RESULTS,
        "track": ("mlflow", "wandb"),
    }
    made = RunFolder(tmp_path / "runs" / record.task / record.name)
    made.write_search(record.model_copy(update={"request": record.request.model_copy(update=asked)}))
    return made


@pytest.fixture
def moved(run: RunFolder, tmp_path: Path) -> RunFolder:
    shutil.copytree(run.path, tmp_path / "handed_over")
    return RunFolder(tmp_path / "handed_over")


def test_where_it_was_made_nothing_must_be_said_again(run: RunFolder) -> None:
    check_study_storage(run, run.search(), SaidPlaces())
    places = places_of(run, run.search(), SaidPlaces())
    assert (places.results, places.track) == (RESULTS, ("mlflow", "wandb"))


def test_a_run_from_elsewhere_asks_no_storage_unless_the_user_says_it_again(
    moved: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("the storage is asked")

    monkeypatch.setattr(reopen, "study_place", never)
    refused = r"was made elsewhere, and names postgresql://me@elsewhere/db, .* add --study-storage postgres"
    with pytest.raises(ConfigError, match=refused):
        reopen.reopen_search(moved, never, lambda message: None)
    check_study_storage(moved, moved.search(), SaidPlaces(study_storage=STORAGE))
    with pytest.raises(ConfigError, match=f"this search has --study-storage {STORAGE}, and keeps it"):
        check_study_storage(moved, moved.search(), SaidPlaces(study_storage="postgresql://me@other/db"))
    with pytest.raises(ConfigError, match="the password in this URL can be read"):
        check_study_storage(moved, moved.search(), SaidPlaces(study_storage="postgresql://me:x@elsewhere/db"))


def test_a_run_from_elsewhere_is_copied_and_logged_nowhere_unless_the_user_says_so(
    moved: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("a storage or a tracker is opened")

    monkeypatch.setattr(search, "mirror_callbacks", never)
    monkeypatch.setattr(search, "tracking_callbacks", never)
    with pytest.raises(ConfigError, match=rf"made elsewhere, and names {RESULTS}.* add --results {RESULTS}$"):
        search.resume_search(moved)
    with pytest.raises(ConfigError, match=r"elsewhere.* add --track mlflow --track wandb$"):
        search.resume_search(moved, results=RESULTS)
    record = moved.search()
    said = places_of(moved, record, SaidPlaces(results=RESULTS, track=["mlflow", "wandb"]))
    assert (said.results, said.track) == (RESULTS, ("mlflow", "wandb"))
    without = places_of(moved, record, SaidPlaces(results="none", track=["none"]))
    assert (without.results, without.track) == (None, ())
    with pytest.raises(ConfigError, match=f"this search has --results {RESULTS}, and keeps it"):
        places_of(moved, record, SaidPlaces(results="s3://other"))


@pytest.mark.parametrize("place", ["ensembles", ".owner.json", "trials/0003", "trials/0004/record.json"])
def test_a_run_from_elsewhere_that_holds_a_link_is_refused(
    moved: RunFolder, tmp_path: Path, place: str
) -> None:
    (moved.path / place).parent.mkdir(parents=True, exist_ok=True)
    (moved.path / place).symlink_to(tmp_path / "precious")
    with pytest.raises(RunError, match=f"was made elsewhere, and {place} in it is a symbolic link"):
        find_run(str(moved.path), tmp_path)


def test_links_are_the_users_own_where_the_run_was_made_and_the_lock_of_a_study_is_none(
    run: RunFolder, moved: RunFolder, tmp_path: Path
) -> None:
    (run.path / "trials").symlink_to(tmp_path / "other_disk")
    (moved.path / "study.log.lock").symlink_to("study.log.some-token")
    for one in (run, moved):
        assert find_run(str(one.path), tmp_path) == one
