"""Options that count something take a whole number of one or more."""

import argparse

import pytest

from orchestrator.cli.common import at_least_one
from orchestrator.cli.main import main


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "all", "", "²"])
def test_what_is_no_number_of_one_or_more_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"a whole number of 1 or more is needed, found .*"):
        at_least_one(text)
    assert at_least_one("12") == 12


def test_no_leaderboard_without_rows_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["leaderboard", "latest", "--top", "0"])
    assert "a whole number of 1 or more is needed" in capsys.readouterr().err
