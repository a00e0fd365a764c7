"""One run for all tests of reports; none of them writes to it but `report.html` and `leaderboard.csv`."""

import pytest
from reported_run import make_reported_run

from results.run.run_folder import RunFolder


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_reported_run(tmp_path_factory.mktemp("reported"))
