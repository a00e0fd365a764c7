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
from results.ensembles.out_of_fold import out_of_fold_of
from results.predictors.selected_model import resolve_model
from search_spaces.recipes import recipe_named
from trainables.common.errors import UnknownNameError

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
    built = read_ensemble(run, ENSEMBLE)
    assert (sorted(built.trials), built.method, built.name) == ([1, 2, 3], "average", ENSEMBLE)
    assert f"{ENSEMBLE}: average of trials 1, 2, 3" in said
    shown = " ".join(capsys.readouterr().out.split())
    assert "average" in shown
    assert f"Members were chosen out of the trials of {ENSEMBLE}" in shown
    assert "* chosen" not in shown
    assert resolve_model(run, ensemble=ENSEMBLE).name == f"ensemble {ENSEMBLE}"
    assert out_of_fold_of(run, ensemble=ENSEMBLE)[1] == f"ensemble {ENSEMBLE}"


def test_an_unknown_name_is_answered_with_those_of_recipes_too(run):
    said_of(run, ("", *recipe_named(ENSEMBLE, "benign_malignant").members, ""))
    with pytest.raises(UnknownNameError, match=f"did you mean '{ENSEMBLE}'"):
        read_ensemble(run, "E004-ENSEMBL")


def test_the_best_of_the_run_stays_whatever_a_recipe_asks_for(tmp_path):
    trials = simulate(trials=4) | {4: simulate(trials=5, strength=6.0)[4]}
    run = make_run(tmp_path, trials)
    run.write_record(run.record(4).model_copy(update={"value": 0.99}))
    SearchResult(run).build_ensembles()
    kept = {file.name: file.read_bytes() for file in run.ensembles.iterdir()}
    assert 4 in read_ensemble(run).trials
    said_of(run, ("", *recipe_named(ENSEMBLE, "benign_malignant").members, ""))
    now = {file.name: file.read_bytes() for file in run.ensembles.iterdir()}
    assert now.pop(f"{ENSEMBLE}.json")
    assert now == kept


def test_what_is_opened_after_a_recipe_is_the_best_of_all_trials(tmp_path):
    trials = simulate(trials=4) | {4: simulate(trials=5, strength=6.0)[4]}
    run = make_run(tmp_path, trials)
    said_of(run, ("", *recipe_named(ENSEMBLE, "benign_malignant").members, ""))
    assert not run.ensemble_file("best").is_file()
    result = SearchResult(run)
    result._build_if_none(None)
    found = read_ensemble(run)
    assert set(found.pool) == set(range(5))
    assert 4 in found.trials
    assert read_ensemble(run, ENSEMBLE).recipe == ENSEMBLE


def test_the_ensemble_of_a_recipe_needs_no_other(run):
    said_of(run, ("", *recipe_named(ENSEMBLE, "benign_malignant").members, ""))
    SearchResult(run)._build_if_none(None, ENSEMBLE)
    assert [file.stem for file in run.ensembles.iterdir()] == [ENSEMBLE]


def test_members_without_a_complete_trial_are_named(run):
    members = recipe_named(ENSEMBLE, "benign_malignant").members
    said = said_of(run, ("", members[0], members[1], "", ""))
    assert f"no complete trial of its members {members[2]}" in said
    assert set(read_ensemble(run, ENSEMBLE).trials) <= {1, 2}


def test_a_single_member_makes_no_ensemble(run):
    members = recipe_named(ENSEMBLE, "benign_malignant").members
    said_of(run, ("", members[0], "", "", ""))
    assert not (run.path / "ensembles").exists()
