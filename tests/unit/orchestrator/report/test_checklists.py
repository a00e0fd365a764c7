"""Checklists of reporting guidelines: their items, and what a run fills."""

import json
from pathlib import Path

import pytest

from orchestrator.cli.main import main
from orchestrator.report import evidence
from orchestrator.report.checklist import NAMES, Checklist, checklist_named, checklists_as_csv
from orchestrator.report.facts import RunFacts
from orchestrator.report.item_evidence import Evidence
from results.run.run_folder import RunFolder
from trainables.common.discovery import constants_of

ITEMS = {"claim": 44, "tripod-ai": 52, "stard-ai": 48, "metrics": 30}  # parts of items counted


@pytest.fixture(scope="module")
def filled(run: RunFolder) -> dict[str, Checklist]:
    facts = RunFacts(run)
    return {name: checklist_named(name).fill(facts) for name in NAMES}


def test_every_item_of_the_guidelines_is_there_once() -> None:
    assert set(ITEMS) == set(NAMES)
    for name, count in ITEMS.items():
        numbers = [item.number for item in checklist_named(name).items]
        assert len(numbers) == len(set(numbers)) == count
    whole = {
        name: {"".join(filter(str.isdigit, one.number)) for one in checklist_named(name).items}
        for name in NAMES
    }
    assert {name: len(numbers) for name, numbers in whole.items()} == {
        "claim": 44,
        "tripod-ai": 27,
        "stard-ai": 40,
        "metrics": 30,
    }


def test_the_weights_of_metrics_are_those_of_a_whole_score() -> None:
    weights = [item.weight for item in checklist_named("metrics").items]
    assert sum(one for one in weights if one is not None) == pytest.approx(1.0, abs=5e-4)
    assert None not in weights


def test_items_ask_for_evidence_that_is_known_and_all_of_it_is_asked_for() -> None:
    known = [one.name for one in constants_of(evidence, Evidence)]
    assert len(known) == len(set(known)) >= 35
    asked = {
        name for guideline in NAMES for item in checklist_named(guideline).items for name in item.evidence
    }
    assert asked == set(known)


def test_an_item_without_evidence_says_what_the_author_writes() -> None:
    for name in NAMES:
        for item in checklist_named(name).items:
            assert item.evidence or item.author, (name, item.number)


def test_a_filled_item_has_an_answer_with_its_file_and_nothing_missing(filled: dict[str, Checklist]) -> None:
    for checklist in filled.values():
        assert sum(checklist.counts.values()) == len(checklist.items)
        for one in checklist.items:
            assert (one.status == "filled") == (bool(one.answers) and not one.missing)
            assert (one.status == "you write this") == (not one.answers)
            assert one.answers or one.missing
            assert all(answer.text and answer.file for answer in one.answers)
        assert all(checklist.counts.values()), checklist.name


def test_named_files_are_in_the_run_folder(run: RunFolder, filled: dict[str, Checklist]) -> None:
    made_later = {"report.html", "leaderboard.csv", "data of the store", "model_card.md of an export"}
    files = {
        file
        for checklist in filled.values()
        for one in checklist.items
        for answer in one.answers
        for file in answer.file.split(", ")
    }
    assert [file for file in files - made_later if not (run.path / file).exists()] == []


def test_what_was_not_done_is_named_as_missing(filled: dict[str, Checklist]) -> None:
    testing = next(one for one in filled["claim"].items if one.item.number == "32")
    assert testing.status == "you write this"
    assert "open the sealed test part, once: orchestrate evaluate RUN" in testing.missing


def test_checklists_are_printed_as_json_and_csv(
    run: RunFolder, filled: dict[str, Checklist], capsys, tmp_path: Path
) -> None:
    out = str(tmp_path / "page.html")
    words = ["report", str(run.path), "--out", out, "--checklist", "claim", "--checklist", "metrics"]
    assert main([*words, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["checklists"]
    assert list(found) == ["claim", "metrics"]
    assert len(found["claim"]["items"]) == 44
    assert found["claim"] == json.loads(json.dumps(filled["claim"].as_json()))
    assert checklists_as_csv([filled["metrics"]]).count("\nmetrics,") == 30
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "you write this" in printed
