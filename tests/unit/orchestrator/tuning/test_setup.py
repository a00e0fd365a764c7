from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.tuning import setup
from results.errors import RunError
from results.run.run_folder import RunFolder
from results.run.search_request import SearchRequest


def test_a_search_that_made_the_folder_first_wins_and_the_other_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "first")

    def others(*arguments: object) -> SimpleNamespace:
        run.path.mkdir()
        (run.path / "search.yaml").write_text("theirs")
        return SimpleNamespace(split=None, initial_points=(), space=None)

    monkeypatch.setattr(setup, "check_request", lambda request: run)
    monkeypatch.setattr(setup, "run_preflight", others)
    monkeypatch.setattr(setup, "_search_record", lambda *arguments: None)
    with pytest.raises(
        RunError, match=r"another search has made .*first meanwhile; give this one another --name"
    ):
        # The connector is never called, since the preflight is replaced; so it returns no connection.
        setup.prepare_search(SearchRequest(task="idc"), lambda: None, print)  # type: ignore[arg-type,return-value]
    assert (run.path / "search.yaml").read_text() == "theirs"
