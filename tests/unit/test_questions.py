"""What a benchmark of the statistics prints and writes."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.questions import Row, ask


def _coins(sets: int) -> Iterator[Row]:
    yield {"data": "fair", "covers": 0.5, "width": 1 / sets}
    yield {"data": "loaded", "covers": 1.0}


def _promises(sets: int) -> Iterator[Row]:
    yield {"data": "all", "promised": f"{sets} sets"}


_COLUMNS = {"data": "data set", "covers": "covers the truth", "width": "width", "promised": "promised"}


def test_every_question_is_asked_with_empty_cells_for_what_it_does_not_measure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "rows.json"
    monkeypatch.setattr(sys, "argv", ["coins", "--json", str(file)])
    ask("Coins.", {"coins": _coins, "promises": _promises}, _COLUMNS, sets=8)
    assert capsys.readouterr().out.splitlines() == [
        "| question | data set | covers the truth | width | promised |",
        "| --- | --- | --- | --- | --- |",
        "| coins | fair | 0.500 | 0.125 |  |",
        "| coins | loaded | 1.000 |  |  |",
        "| promises | all |  |  | 8 sets |",
    ]
    assert json.loads(file.read_text())[1] == {"question": "coins", "data": "loaded", "covers": 1.0}


def test_one_question_is_asked_with_as_many_sets_as_wanted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["coins", "--only", "coins", "--sets", "4"])
    ask("Coins.", {"coins": _coins, "promises": _promises}, _COLUMNS, sets=8)
    assert [line.split(" | ")[3] for line in capsys.readouterr().out.splitlines()[2:]] == ["0.250", ""]
