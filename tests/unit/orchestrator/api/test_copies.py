"""What has come to a run by `nest` and `repeat` is copied to where its search copies it."""

from pathlib import Path

import pytest
from mirrored_runs import begun_run, end_trial, prefix, visible

from orchestrator.api.copies import copied_at_end
from orchestrator.api.displays import Display
from results.run.run_folder import RunFolder
from trainables.common.errors import ConfigError, MachineError


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that lies where it was made, and is copied to a folder."""
    own = begun_run(tmp_path / "runs" / "benign_malignant" / "first")
    record = own.search().model_copy(update={"task": "benign_malignant", "name": "first"})
    own.write_search(record.with_options(runs=str(tmp_path / "runs"), results=(tmp_path / "there").as_uri()))
    end_trial(own, 0)
    return own


def test_all_that_is_there_at_the_end_is_copied(run: RunFolder, tmp_path: Path) -> None:
    with copied_at_end(run, Display()):
        (run.path / "outer.json").write_text("{}")
    assert visible(tmp_path / "there" / prefix(run)) == visible(run.path)


@pytest.mark.parametrize(("error", "is_copied"), [(MachineError, True), (ConfigError, False)])
def test_what_has_run_before_a_fault_is_copied_and_nothing_where_the_request_is_refused(
    run: RunFolder, tmp_path: Path, error: type[Exception], is_copied: bool
) -> None:
    with pytest.raises(error), copied_at_end(run, Display()):
        raise error("as it is")
    assert (tmp_path / "there").exists() == is_copied


def test_a_run_from_elsewhere_gets_no_copy_that_nobody_here_has_chosen(
    run: RunFolder, tmp_path: Path
) -> None:
    moved, display = RunFolder(run.path.rename(tmp_path / "moved")), Display()
    with copied_at_end(moved, display):
        pass
    assert not (tmp_path / "there").exists()
    assert "was made elsewhere" in display.notes[0]


def test_a_copy_that_fails_is_a_warning(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("a file is in the way")
    display = Display()
    with copied_at_end(run, display):
        pass
    assert "was not copied to" in display.notes[0]
