"""An ensemble among the recipes of a search combines the trials of its own members, and names the missing."""

import io

import pytest
from rich.console import Console
from simulated_run import make_run
from simulated_trials import simulate

from orchestrator.api.result import SearchResult
from orchestrator.cli.closing import show_recipes
from orchestrator.reporting.console import Sections
from results.ensembles.ensemble import read_ensemble
from search_spaces.recipes import recipe_named

ENSEMBLE = "E004-ENSEMBLE"


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path, simulate(trials=5))


def said_of(run, recipes):
    """What is said when the trials of a run are those of some recipes, in order."""
    for record, recipe in zip(run.records(), recipes, strict=True):
        run.write_record(record.model_copy(update={"recipe": recipe}))
    run.write_search(run.search().model_copy(update={"recipes": (ENSEMBLE,)}))
    text = io.StringIO()
    show_recipes(SearchResult(run), Console(file=text, width=80), Sections("table"))
    return " ".join(text.getvalue().split())


def test_only_the_members_are_combined_whatever_others_score(run, capsys):
    members = recipe_named(ENSEMBLE, "benign_malignant").members
    said = said_of(run, ("", *members, "E001-6"))
    assert len(members) == 3
    assert sorted(read_ensemble(run, "average").trials) == [1, 2, 3]
    assert f"{ENSEMBLE}: average of trials 1, 2, 3" in said
    assert "average" in capsys.readouterr().out


def test_members_without_a_complete_trial_are_named(run):
    members = recipe_named(ENSEMBLE, "benign_malignant").members
    said = said_of(run, ("", members[0], members[1], "", ""))
    assert f"no complete trial of its members {members[2]}" in said
    assert set(read_ensemble(run, "average").trials) <= {1, 2}


def test_a_single_member_makes_no_ensemble(run):
    members = recipe_named(ENSEMBLE, "benign_malignant").members
    said_of(run, ("", members[0], "", "", ""))
    assert not (run.path / "ensembles").exists()
