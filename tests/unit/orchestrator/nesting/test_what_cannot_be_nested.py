"""Searches that are not nested, each with the reason."""

from pathlib import Path

import pytest
import simulated_run
from nested_run import make_outer
from simulated_trials import simulate

from orchestrator import SearchRequest
from orchestrator.nesting.nested_search import run_nested_search
from orchestrator.request import check_request
from orchestrator.tuning.surroundings import Surroundings
from results.errors import RunError
from results.run.records import RepeatPlace
from trainables.common.errors import ConfigError, SplitError


def nothing_runs(prepared):
    raise AssertionError("a search that is not nested has no inner ones")


SURROUNDINGS = Surroundings(notify=lambda message: None, open_view=nothing_runs)


def test_a_naive_split_cannot_be_nested(tmp_path: Path) -> None:
    run = make_outer(tmp_path, is_naive=True)
    with pytest.raises(SplitError, match="nothing can be claimed for new patients"):
        run_nested_search(run, SURROUNDINGS)


def test_a_repeat_and_a_search_of_a_shared_study_are_not_nested(tmp_path: Path) -> None:
    run = simulated_run.make_run(tmp_path, simulate(trials=2))
    search = run.search()
    place = RepeatPlace(run="/runs/idc/first", repeat=1, trials=(0, 1))
    run.write_search(search.model_copy(update={"repeat": place}))
    with pytest.raises(RunError, match=r"trains finalists of another search again, .* them: /runs/idc/first"):
        run_nested_search(run, SURROUNDINGS)
    asked = search.request.model_copy(update={"study": "many"})
    run.write_search(search.model_copy(update={"driver": "abc", "request": asked}))
    with pytest.raises(RunError, match="shares the study benign_malignant/many with other searches, and has"):
        run_nested_search(run, SURROUNDINGS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"naive_split": True}, "nothing could be claimed for new ones"),
        ({"start_from": "earlier:3"}, "the trial of --start-from has seen them"),
        ({"type_from": "earlier"}, "the trial of --type-from has seen them"),
    ],
)
def test_a_search_that_cannot_be_nested_is_refused_before_it_runs(tmp_path, options, message) -> None:
    request = SearchRequest(task="benign_malignant", runs=tmp_path, outer=3, **options)
    with pytest.raises(ConfigError, match=message):
        check_request(request)


def test_a_search_of_pruned_trials_only_has_nothing_to_nest(tmp_path: Path) -> None:
    run = simulated_run.make_run(tmp_path, simulate(trials=2), state="pruned")
    with pytest.raises(RunError, match="repeats a search that has a result"):
        run_nested_search(run, SURROUNDINGS)
