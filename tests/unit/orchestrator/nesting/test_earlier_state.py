"""A nested search of an earlier state of its search: whoever reads its score says so."""

import datetime
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn, cast

import pytest
from rich.console import Console
from simulated_run import make_run, trial_record
from simulated_trials import simulate

from orchestrator.api.result import SearchResult
from orchestrator.cli.closing import close_search
from orchestrator.nesting import nested_search
from orchestrator.nesting.overtuning import measure_overtuning
from orchestrator.report.sections.procedure import PROCEDURE
from orchestrator.tuning.surroundings import Surroundings
from results.ensembles.build import build_ensembles
from results.export import manifest_draft
from results.predictors.loading import OpenedModel
from results.predictors.selected_model import digest_of_best, resolve_model
from results.run.run_folder import RunFolder
from results.scores.interval import Interval
from results.scores.outer_result import OuterCost, OuterResult, RoleScore, Stability, readable_outer
from results.scores.outer_table import sentences, short_sentence
from trainables.common.errors import INTERRUPTED

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def nothing_runs(prepared: object) -> NoReturn:
    raise AssertionError("no search runs")


SURROUNDINGS = Surroundings(notify=lambda message: None, open_view=nothing_runs)


def outer_of(asked: int) -> OuterResult:
    shipped = RoleScore(
        value=Interval(0.7, 0.6, 0.8),
        inner_value=0.75,
        optimism=0.05,
        by_fold=(0.7, 0.7),
        metrics={"auc": 0.7},
        names=("trial 0", "trial 0"),
        settings=("", ""),
    )
    return OuterResult(
        folds=2,
        trials=(asked, asked),
        asked=asked,
        metric="auc",
        patients=20,
        images=40,
        scores={"shipped": shipped, "incumbent": shipped},
        gains={},
        stability=Stability(agreement=None, by_chance=None, shared={}),
        cost=OuterCost(
            plain_seconds=1.0, nested_seconds=2.0, features_computed=0, features_again=0, features_read=0
        ),
        finished_at=NOW,
    )


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A search of four trials that was nested when it had as many."""
    made = make_run(tmp_path, simulate())
    made.write_json(made.outer_file, outer_of(len(made.records())).model_dump(mode="json"))
    return made


def complete_another(run: RunFolder) -> None:
    run.write_out_of_fold(9, run.out_of_fold(0))
    run.write_record(trial_record(9, value=0.99))


def test_the_score_of_a_search_that_has_had_more_trials_since_says_so(run: RunFolder) -> None:
    fresh = readable_outer(run)
    assert fresh is not None
    assert fresh.outdated == ""
    facts = SimpleNamespace(run=run)
    assert "had 4 trials" not in str(PROCEDURE.build(facts))
    complete_another(run)
    found = readable_outer(run)
    assert found is not None
    for said in (short_sentence(found), " ".join(sentences(found)), str(PROCEDURE.build(facts))):
        assert "The nested searches had 4 trials, and this search has 5 now" in said
        assert run.command("nest") in said


def test_the_luck_of_a_search_is_judged_with_what_is_said_of_older_ensembles(run: RunFolder) -> None:
    build_ensembles(run, methods=["average"], seed=0)
    assert measure_overtuning(run).outdated == ()
    complete_another(run)
    ensemble, nested = measure_overtuning(run).outdated
    assert ensemble.startswith("The ensemble best of ")
    assert "5 are complete now; build it again with: orchestrate ensemble" in ensemble
    assert nested.startswith("The nested searches had 4 trials")


def test_the_end_of_a_search_asks_for_what_is_outdated(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    run.write_search(run.search().with_options(outer=2))
    assert close_search(SearchResult(run), Console(quiet=True), finish=False) == 0
    complete_another(run)
    assert close_search(SearchResult(run), Console(stderr=True, width=200), finish=False) == INTERRUPTED
    assert "orchestrate nest" in capsys.readouterr().err


def test_damage_within_a_nested_search_is_seen_before_its_score_is_returned(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert nested_search.run_nested_search(run, SURROUNDINGS, outer=2).result == outer_of(4)
    inner = run.outer_run(1)
    inner.write_search(run.search())
    inner.write_out_of_fold(0, run.out_of_fold(0))
    inner.write_record(trial_record(0))
    assert nested_search.run_nested_search(run, SURROUNDINGS, outer=2).result == outer_of(4)
    inner.predictions_file(0).write_bytes(b"PK")

    def reached(*_: object) -> Iterator[None]:
        raise LookupError("the inner searches are looked at")

    monkeypatch.setattr(nested_search, "checked_space", reached)
    with pytest.raises(LookupError):
        nested_search.run_nested_search(run, SURROUNDINGS, outer=2)


def test_a_bundle_of_another_model_than_the_search_ships_says_so(run: RunFolder) -> None:
    build_ensembles(run, methods=["average"], seed=0)
    best, alone = resolve_model(run), resolve_model(run, trial=0)
    shipped, other = (
        manifest_draft._nested_search(run, cast(OpenedModel, SimpleNamespace(chosen=chosen)))
        for chosen in (best, alone)
    )
    assert shipped == readable_outer(run)
    assert other is not None
    assert other.caveats == ("This model is trial 0, which is not what the search ships by itself.",)


def test_what_the_search_ships_is_known_without_the_weights_of_its_folds(run: RunFolder) -> None:
    build_ensembles(run, methods=["average"], seed=0)
    digest = resolve_model(run).digest
    run.discard_weights(resolve_model(run).trials[0])
    assert digest_of_best(run) == digest
