"""Ensembles know the trials that were complete when they were built, and say so when there are more."""

import warnings

import pytest
from simulated_run import make_run, trial_record
from simulated_trials import simulate

from orchestrator.api.result import SearchResult
from orchestrator.cli.main import main
from results.ensembles.build import build_ensembles
from results.ensembles.ensemble import read_ensemble
from results.ensembles.later_trials import has_later_trials, said_of_later_trials
from results.predictors.selected_model import resolve_model
from results.run.prediction_costs import ModelCost

SAID = r"ensemble best of .* was built out of the 4 trials completed by then, and 5 are complete now"


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path, simulate())


def complete_another(run, number=4):
    """End a further trial, better than all others."""
    run.write_out_of_fold(number, simulate(trials=number + 1, strength=6.0)[number])
    run.write_record(trial_record(number, value=0.99))


def test_an_ensemble_that_knows_all_trials_says_nothing(run):
    build_ensembles(run, methods=["average"], seed=0)
    assert said_of_later_trials(run) == ""
    assert not has_later_trials(run, read_ensemble(run))


def test_trials_that_ended_later_are_told_with_the_numbers(run):
    build_ensembles(run, methods=["average"], seed=0)
    run.write_record(trial_record(7, state="pruned"))
    assert said_of_later_trials(run) == ""
    complete_another(run)
    assert said_of_later_trials(run) == (
        f"ensemble best of {run.path} was built out of the 4 trials completed by then, and 5 are complete "
        f"now; build it again with: {run.command('ensemble')}"
    )
    assert said_of_later_trials(run, "average").startswith("ensemble average of ")
    build_ensembles(run, methods=["average"], seed=0)
    assert said_of_later_trials(run) == ""


def test_nothing_is_said_of_ensembles_that_are_not_there_or_were_built_of_named_trials(run):
    assert said_of_later_trials(run) == said_of_later_trials(run, "bst") == ""
    build_ensembles(run, trials=[1, 2], methods=["average"], seed=0)
    complete_another(run)
    assert has_later_trials(run, read_ensemble(run))
    assert said_of_later_trials(run) == ""
    run.write_search(run.search().model_copy(update={"recipes": ("portfolio",)}))  # its first points
    assert said_of_later_trials(run) == ""


def test_nothing_is_said_where_the_metric_of_the_search_is_not_known(run):
    build_ensembles(run, methods=["average"], seed=0)
    complete_another(run)
    run.write_search(run.search().model_copy(update={"metrics": ("nowhere:COST",)}))
    assert said_of_later_trials(run) == ""


def test_the_best_of_an_earlier_version_may_be_that_of_a_recipe(run):
    build_ensembles(run, trials=[1, 2], methods=["average"], seed=0)
    search = run.search()
    request = search.request.model_copy(update={"recipes": ("E004-ENSEMBLE",)})
    run.write_search(search.model_copy(update={"request": request}))
    assert "was built out of the trials that were named, and 4 are complete now" in said_of_later_trials(run)


def test_the_ensemble_of_a_recipe_knows_its_own_trials(run):
    build_ensembles(run, trials=[1, 2], methods=["average"], seed=0, recipe="E004-ENSEMBLE")
    run.write_search(run.search().model_copy(update={"recipes": ("E004-ENSEMBLE",)}))
    assert said_of_later_trials(run, "E004-ENSEMBLE") == ""


def test_within_a_limit_of_time_the_number_of_trials_tells(run):
    def measure(models):
        return {
            (members := tuple(sorted(one))): ModelCost(
                core_ms=9.0 if 0 in one else 1.0, megabytes=1.0, trials=members
            )
            for one in models
        }

    build_ensembles(run, methods=["average"], seed=0, measure=measure, max_ms=2.0)
    assert 0 not in read_ensemble(run).pool
    assert said_of_later_trials(run) == ""
    assert len(SearchResult(run).ensembles()) == 2
    assert read_ensemble(run).max_ms == 2.0
    complete_another(run)
    assert "answer within 2 ms, and 5 are complete now" in said_of_later_trials(run)


def test_a_result_warns_before_it_takes_such_an_ensemble_and_keeps_it(run):
    result = SearchResult(run)
    result.build_ensembles(methods=["average"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result._build_if_none(None)
    complete_another(run)
    kept = run.ensemble_file("best").read_bytes()
    with pytest.warns(UserWarning, match=SAID):
        result.thresholds()
    result._build_if_none(0)  # a trial is named
    result.is_told_of_later_trials = True
    result._build_if_none(None)
    assert run.ensemble_file("best").read_bytes() == kept
    assert resolve_model(run).chosen_from == "the 4 trials completed by then"


def test_it_is_said_before_the_sealed_part_is_opened(run, capsys, monkeypatch):
    class Opened(Exception):  # noqa: N818 - it ends the call where the part would be opened, and is no error
        pass

    def opened(*_, **__):
        raise Opened

    monkeypatch.setattr("orchestrator.postprocessing.test_set.open_test_part", opened)
    build_ensembles(run, methods=["average"], seed=0)
    complete_another(run)
    with pytest.warns(UserWarning, match=SAID), pytest.raises(Opened):
        SearchResult(run).evaluate()
    assert main(["evaluate", str(run.path)]) != 0  # and no warning of Python
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("completed by then, and 5 are complete now; build it again with: orchestrate") == 1


def test_verbs_that_take_such_an_ensemble_say_so(run, capsys):
    build_ensembles(run, methods=["average"], seed=0)
    complete_another(run)
    for words in (("thresholds", str(run.path)), ("compare", str(run.path), f"{run.path}:4")):
        assert main(list(words)) == 0
        printed = capsys.readouterr()
        said = " ".join((printed.err + printed.out).split())
        assert "built out of the 4 trials completed by then, and 5 are complete now" in said
    assert main(["thresholds", str(run.path), "--trial", "4"]) == 0
    assert "completed by then" not in capsys.readouterr().err
