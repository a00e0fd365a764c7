"""The table of `make chaos`: what was not injected, or less often than was asked for, is never good."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.chaos import __main__ as chaos
from benchmarks.chaos.ledger import Outcome, are_good, as_json, as_markdown, not_run

WHOLE = Outcome("SIGHUP of the driver", 1, 1, 1)
SHORT = Outcome("SIGKILL of the driver", asked=20, injected=3, survived=3)
ABSENT = not_run("database restarted", 2, "initdb is not here")


@pytest.mark.parametrize(
    "outcome",
    [
        SHORT,
        ABSENT,
        Outcome("nothing asked, nothing done", asked=0, injected=0, survived=0),
        Outcome("one not survived", 2, 2, 1),
        Outcome("lost", 1, 1, 1, lost=1),
        Outcome("repeated", 1, 1, 1, repeated=1),
        Outcome("something wrong", 1, 1, 1, faults=("trial 3 is gone",)),
    ],
)
def test_an_outcome_that_is_empty_short_or_wrong_is_not_good(outcome: Outcome) -> None:
    assert not outcome.is_good
    assert not are_good([WHOLE, outcome])


def test_what_was_injected_as_often_as_asked_and_survived_is_good() -> None:
    assert WHOLE.is_good
    assert Outcome("SIGKILL of a worker", 20, 21, 21).is_good  # two workers were met at once
    assert are_good([WHOLE, WHOLE])


def test_no_outcomes_are_not_good() -> None:
    assert not are_good([])


def test_the_table_adds_up_and_says_what_went_wrong() -> None:
    rows = [
        Outcome("SIGKILL of the driver", 20, 20, 19, lost=1, faults=("trial 3 is gone",), note="at random"),
        WHOLE,
    ]
    table = as_markdown(rows).splitlines()
    assert table[2] == "| SIGKILL of the driver | 20 | 19 | 1 | 0 | at random; trial 3 is gone |"
    assert table[-1] == "| all | 21 | 20 | 1 | 0 | |"
    found = as_json(rows, seed=3)
    assert found["seed"] == 3
    assert found["is_good"] is False
    assert [row["is_good"] for row in found["outcomes"]] == [False, True]


def test_the_table_says_what_was_not_injected() -> None:
    table = as_markdown([SHORT, ABSENT, WHOLE]).splitlines()
    assert table[2] == "| SIGKILL of the driver | 3 | 3 | 0 | 0 | **only 3, 20 asked for** |"
    assert table[3] == "| database restarted | 0 | 0 | 0 | 0 | **not run, 2 asked for**; initdb is not here |"
    assert table[-1] == "| all | 4 | 4 | 0 | 0 | **23 asked for** |"


@pytest.mark.parametrize(("outcomes", "code"), [([WHOLE], 0), ([WHOLE, SHORT], 1), ([ABSENT], 1), ([], 1)])
def test_the_exit_code_says_whether_all_was_tried(
    outcomes: Sequence[Outcome],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(chaos, "_run", lambda *args, **options: list(outcomes))
    monkeypatch.setattr(sys, "argv", ["chaos", "--keep", str(tmp_path), "--json", str(tmp_path / "a.json")])
    assert chaos.main() == code
    assert json.loads((tmp_path / "a.json").read_text())["is_good"] is (code == 0)
    printed = capsys.readouterr().out
    assert all(own.fault in printed for own in outcomes)
