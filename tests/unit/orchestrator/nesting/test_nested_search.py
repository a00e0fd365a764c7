"""A whole search without each outer fold: its split, its predictions, its result, and what it refuses."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import space_context
from nested_run import CONFIGS, bright_patches, finish_inner, inner_searches, make_outer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cluster.background import KnownConnection
from cluster.connect import Connection
from orchestrator import open_run
from orchestrator.cli.common import short_path
from orchestrator.cli.main import main
from orchestrator.nesting import nested_search, repeats
from orchestrator.nesting.nested_search import run_nested_search
from orchestrator.nesting.outer_fold import predict_outer_fold
from orchestrator.postprocessing.test_set import open_test_part, scored_part
from orchestrator.study.method import method_of
from orchestrator.study.study import OptunaStudy
from orchestrator.tuning import session
from orchestrator.tuning.session import SearchOutcome
from orchestrator.tuning.setup import Prepared, study_place
from orchestrator.tuning.surroundings import Surroundings
from results.ensembles.ensemble import read_ensemble
from results.errors import DamagedFileError, RunError
from results.predictors.loading import open_row_predictor
from results.run.outer_fold import read_outer_fold
from results.run.run_folder import RunFolder
from results.run.test_accesses import read_accesses
from results.scores.outer_result import OuterResult, read_outer
from results.scores.outer_table import sentences, short_sentence
from search_spaces.enqueue import InitialPoint
from search_spaces.registry import space_for
from trainables.common.errors import INTERRUPTED, SplitError
from trainables.data.outer_folds import cut_outer_folds
from trainables.data.patches import select_rows
from trainables.data.split_record import TEST, read_split

FOLDS = 2


def nothing_runs(prepared):
    raise AssertionError("all inner searches are finished")


SURROUNDINGS = Surroundings(notify=lambda message: None, open_view=nothing_runs)


def parts(run: RunFolder):
    rows = select_rows(run.patch_set(), run.search().task_definition)
    split = read_split(run.split_file)
    return rows, split, cut_outer_folds(rows, split, run.search().task_definition, folds=FOLDS)


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, OuterResult]:
    run = make_outer(tmp_path_factory.mktemp("nested"))
    rows, _, outer = parts(run)
    for one in inner_searches(run, FOLDS):
        finish_inner(one)
        unseen = scored_part(rows, None, outer == one.fold - 1)
        predict_outer_fold(one.run, unseen, asked=one.trials, keep_weights=12, by="a test")
    outcome = run_nested_search(run, SURROUNDINGS, outer=FOLDS)
    assert outcome.result is not None
    return run, outcome.result


def test_no_inner_search_sees_its_outer_fold_or_the_sealed_part(nested) -> None:
    run, _ = nested
    rows, split, outer = parts(run)
    sealed = split.folds_of(rows) == TEST
    assert sealed.any()
    for one in inner_searches(run, FOLDS):
        seen = set(rows.groups[one.split.folds_of(rows) != TEST].tolist())
        assert seen
        assert not seen & set(rows.groups[sealed | (outer == one.fold - 1)].tolist())


def test_inner_searches_try_the_first_points_of_a_search_whose_file_of_them_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_outer(tmp_path)
    context = space_context.context(backbones=("intensity", "texture"))
    search = run.search().model_copy(update={"space_context": context.model_dump(mode="json")})
    run.write_search(search)
    study = OptunaStudy(
        study_place(run, search).open(is_new=True),
        space_for(search.task_definition, None),
        context,
        {},
        method_of(search),
    )
    study.enqueue([InitialPoint("ours", CONFIGS[0])])
    begun: list[Prepared] = []

    def run_each(searches, surroundings, *, request):
        for begin in searches:
            begun.append(begin.prepare(KnownConnection(Connection("", True, 1.0, 0.0, 1, ""))))
            yield SearchOutcome(begun[-1].run, begun[-1].record, (), is_interrupted=True)

    monkeypatch.setattr(nested_search, "run_each", run_each)
    said = list[str]()
    surroundings = replace(SURROUNDINGS, notify=said.append)
    assert run_nested_search(run, surroundings, outer=FOLDS).is_interrupted
    assert f"{run.initial_points_file} was gone: made again from the study" in said
    first = begun[0].study.ask()
    assert first is not None
    assert first.recipe == "ours"


def test_every_training_patient_is_in_one_outer_fold(nested) -> None:
    run, result = nested
    rows, split, outer = parts(run)
    assert ((outer == TEST) == (split.folds_of(rows) == TEST)).all()
    groups = [set(rows.groups[outer == fold].tolist()) for fold in range(FOLDS)]
    assert not groups[0] & groups[1]
    assert result.patients == sum(map(len, groups))
    assert result.images == int((outer >= 0).sum())


def test_what_is_shipped_predicts_from_stored_features_as_it_does_from_pixels(nested) -> None:
    run, _ = nested
    found = read_outer_fold(run.outer_run(1))
    assert found is not None
    fold, predictions = found
    from_pixels = open_row_predictor(run.outer_run(1), ensemble="best")(predictions.rows)
    np.testing.assert_allclose(predictions.probabilities["shipped"], from_pixels, atol=0.02)  # half precision
    assert (fold.features_computed, fold.features_again) == (0, 0)


def test_the_result_has_all_models_what_is_gained_and_what_it_took(nested) -> None:
    _, result = nested
    assert list(result.scores) == ["shipped", "incumbent", "first_point", "baseline"]
    assert result.shipped.value.low <= result.shipped.value.estimate <= result.shipped.value.high
    assert set(result.gains) == {"first_point", "baseline"}
    for score in result.scores.values():
        assert np.mean(score.by_fold) == pytest.approx(score.value.estimate)
        assert score.optimism == pytest.approx(score.inner_value - score.value.estimate)
    assert result.trials == (3, 3)
    assert "no features were computed again" in " ".join(sentences(result))


def test_beside_it_stands_what_the_search_claims_of_its_own_ensemble(nested) -> None:
    run, result = nested
    shipped = read_ensemble(run)  # built for it, since nobody had
    assert shipped.is_chosen
    assert result.plain_value == shipped.nested.interval.estimate
    assert f"on all of these patients, claims {result.plain_value:.2f}" in " ".join(sentences(result))


def test_what_lies_within_a_search_is_gone_on_with_by_the_verb_that_runs_it(nested, tmp_path: Path) -> None:
    run, _ = nested
    assert run.resume_command == f"orchestrate resume {run.path}"
    assert run.outer_run(1).resume_command == f"orchestrate nest {run.path}"
    assert run.repeat_run(2).resume_command == f"orchestrate repeat {run.path}"
    alone = RunFolder(tmp_path / "outer" / "first")  # of a task of that name
    assert alone.resume_command == f"orchestrate resume {alone.path}"


def test_tensorboard_shows_the_nested_score(nested) -> None:
    run, result = nested
    places = [path for path in run.tensorboard.rglob("events.*") if "nested" in str(path)]
    assert places
    events = EventAccumulator(str(places[0].parent)).Reload()
    for role, score in result.scores.items():
        (scalar,) = events.Scalars(f"nested/auc/{role}")
        assert scalar.value == pytest.approx(score.value.estimate, abs=1e-6)
    (tag,) = [name for name in events.Tags()["tensors"] if "nested search" in name]
    (text,) = events.Tensors(tag)
    assert "what the search ships" in text.tensor_proto.string_val[0].decode()


def test_a_look_at_an_outer_fold_is_logged_with_its_search_and_not_as_one_at_the_sealed_part(nested) -> None:
    run, _ = nested
    (look,) = read_accesses(run.outer_run(2))
    assert look.by == "a test"
    assert read_accesses(run) == []


def test_the_result_is_kept_and_returned_without_running_again(nested) -> None:
    run, result = nested
    assert read_outer(run) == result
    assert run_nested_search(run, SURROUNDINGS).result == result
    assert open_run(run.path).outer == result


def test_the_sealed_part_cannot_be_opened_through_an_inner_search(nested) -> None:
    run, _ = nested
    with pytest.raises(RunError, match="the search without outer fold 1 of 2"):
        open_test_part(run.outer_run(1), ensemble="best", trial=None, by="a test")
    with pytest.raises(RunError, match="itself a search inside outer fold 1"):
        run_nested_search(run.outer_run(1), SURROUNDINGS)


def test_another_number_of_outer_folds_says_which_are_there(nested) -> None:
    run, _ = nested
    with pytest.raises(RunError, match="go on with --outer 2"):
        run_nested_search(run, SURROUNDINGS, outer=3)


def test_no_outer_folds_are_refused_and_not_taken_for_the_usual_number(nested, capsys) -> None:
    run, _ = nested
    assert main(["nest", str(run.path), "--outer", "0"]) == 2
    assert "at least 2 outer folds, 0 asked for" in capsys.readouterr().err


def test_inner_searches_of_other_outer_folds_are_not_mixed_with_those_that_are_missing(nested) -> None:
    run, _ = nested
    first, second = inner_searches(run, FOLDS)
    with pytest.raises(RunError, match="do not fit together"):
        replace(first, split=second.split).check()


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_the_verb_prints_what_is_there(nested, capsys: pytest.CaptureFixture[str], form: str) -> None:
    run, _ = nested
    assert main(["nest", str(run.path), "--format", form]) == 0
    printed = capsys.readouterr().out
    assert form != "table" or (max(map(len, printed.splitlines())) <= 80 and "…" not in printed)
    if form == "json":
        assert json.loads(printed)["folds"] == FOLDS
    else:
        assert "shipped" in printed or "what the search ships" in printed


def test_the_leaderboard_says_the_nested_score(nested, capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = nested
    assert main(["leaderboard", str(run.path)]) == 0
    assert "run again without each of 2 outer folds" in " ".join(capsys.readouterr().out.split())


def test_a_damaged_result_says_how_to_make_it_again(tmp_path: Path) -> None:
    broken = RunFolder(tmp_path)
    broken.outer_file.write_text("{}")
    with pytest.raises(DamagedFileError, match="orchestrate nest"):
        read_outer(broken)


def copied(run: RunFolder, place: Path) -> RunFolder:
    shutil.copytree(run.path, place)
    return RunFolder(place)


def test_a_damaged_result_is_told_of_once_and_made_again_by_the_verb(
    nested, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, result = nested
    run = copied(whole, tmp_path / "copy")
    run.outer_file.write_bytes(run.outer_file.read_bytes()[:100])
    assert main(["leaderboard", str(run.path)]) == 0
    printed = capsys.readouterr()
    assert "outer.json is not the result of a nested search" in " ".join(printed.err.split())
    assert "run again without each" not in " ".join(printed.out.split())
    again = run_nested_search(run, SURROUNDINGS).result
    assert again is not None
    assert again.scores == result.scores
    assert read_outer(run) == again
    assert (run.path / "outer.json.damaged").stat().st_size == 100


def edited(change):
    def edit(run: RunFolder) -> None:
        path = run.outer_run(1).outer_predictions_file
        with np.load(path) as stored:
            arrays = dict(stored)
        np.savez_compressed(path, **{**arrays, "p_shipped": change(arrays["p_shipped"])})

    return edit


def with_predictions_of_another_fold(run: RunFolder) -> None:
    shutil.copy(run.outer_run(2).outer_predictions_file, run.outer_run(1).outer_predictions_file)


def with_all_of_another_fold(run: RunFolder) -> None:
    with_predictions_of_another_fold(run)
    shutil.copy(run.outer_run(2).outer_fold_file, run.outer_run(1).outer_fold_file)


FOLD_DAMAGES = {
    "NaN": (edited(lambda values: values * np.nan), "shipped: it holds probabilities that are not numbers"),
    "three times": (edited(lambda values: values * 3), "shipped: its probabilities do not sum to 1"),
    "fewer": (edited(lambda values: values[:10]), "shipped: its arrays do not have one entry for each image"),
    "other predictions": (with_predictions_of_another_fold, "its images are not those of outer fold 1"),
    "another fold": (with_all_of_another_fold, "it is outer fold 2, and should be 1"),
}


@pytest.mark.parametrize("damage", FOLD_DAMAGES)
def test_predictions_that_cannot_be_those_of_an_outer_fold_are_named(
    nested, tmp_path: Path, damage: str
) -> None:
    run = copied(nested[0], tmp_path / "copy")
    run.outer_file.unlink()
    harm, reason = FOLD_DAMAGES[damage]
    harm(run)
    with pytest.raises(
        DamagedFileError, match=rf"outer/1/outer_fold\.json or .*damaged: {reason}.*remove both"
    ):
        run_nested_search(run, SURROUNDINGS, outer=FOLDS)


def test_a_run_without_sealed_part_and_patients_says_what_cannot_be_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_outer(tmp_path, raw=bright_patches(has_patients=False), test_share=0.0)
    rows, _, outer = parts(run)
    for one in inner_searches(run, FOLDS):
        finish_inner(one, {1: CONFIGS[1]})
        unseen = scored_part(rows, None, outer == one.fold - 1)
        predict_outer_fold(one.run, unseen, asked=3, keep_weights=12, by="a test")
    result = run_nested_search(run, SURROUNDINGS, outer=FOLDS).result
    assert result is not None
    said = " ".join(result.caveats)
    assert "On images that no part of it has seen" in " ".join(sentences(result))
    assert "(48 images)" in " ".join(sentences(result))
    assert "on images that it has not seen" in short_sentence(result)
    for part in ("so no images are left", "Patients are unknown", "ran out of time", "first point was not"):
        assert part in said
    assert "first_point" not in result.scores


def test_too_few_patients_for_the_outer_folds_name_the_most_that_there_can_be(nested) -> None:
    run, _ = nested
    rows, split, _ = parts(run)
    few = min(
        len(set(rows.groups[(split.folds_of(rows) != TEST) & (rows.labels == label)])) for label in (0, 1)
    )
    with pytest.raises(SplitError, match=rf"has {few} of class \w+: .* use --outer {few}"):
        cut_outer_folds(rows, split, run.search().task_definition, folds=few + 1)


SPACE = """
def space(trial, context):
    trial.suggest_float("optimizer.lr", 0.1, 0.2)
    return {"model.backbone": "intensity", "classical.name": "logistic"}
"""


def with_context(run: RunFolder, **changes) -> None:
    context = space_context.context(backbones=("intensity", "texture"))
    facts = {"space_context": context.model_dump(mode="json")}
    run.write_search(run.search().with_options(trials=3, **changes).model_copy(update=facts))


def test_the_space_of_a_moved_run_is_said_again_to_nest_and_repeat_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "space_of_a_moved_run.py").write_text(SPACE)
    name = "space_of_a_moved_run:space"
    run = make_outer(tmp_path)
    with_context(run, space=name, runs=tmp_path / "elsewhere")
    inner = inner_searches(run, FOLDS)[0]
    finish_inner(inner, {1: CONFIGS[1]})  # one that goes on, of which the same is asked
    begun = []

    def run_each(searches, surroundings, *, request):
        for begin in searches:
            begun.append(begin.prepare(KnownConnection(Connection("", True, 1.0, 0.0, 1, ""))))
            yield SearchOutcome(begun[-1].run, begun[-1].record, (), is_interrupted=len(begun) == 2)

    monkeypatch.setattr(nested_search, "run_each", run_each)
    monkeypatch.setattr(nested_search, "predict_outer_fold", lambda *_, **__: fold_that_was_predicted())
    monkeypatch.setattr(repeats, "run_each", run_each)
    for verb in ("nest", "repeat"):
        assert main([verb, str(run.path)]) == 2
        assert f"add --space {name}" in " ".join(capsys.readouterr().err.split())
    assert begun == []
    assert main(["nest", str(run.path), "--outer", "2", "--space", name]) == INTERRUPTED
    assert [one.run for one in begun] == [run.outer_run(1), run.outer_run(2)]
    assert f"next: orchestrate nest {short_path(run.path)} --outer 2 --space {name}" in " ".join(
        capsys.readouterr().err.split()
    )
    begun.clear()
    assert main(["repeat", str(run.path), "--repeats", "2", "--space", name]) == INTERRUPTED
    assert [one.run for one in begun] == [run.repeat_run(1), run.repeat_run(2)]
    begun.clear()
    assert main(["repeat", str(run.path), "--space", name]) == INTERRUPTED  # both go on
    assert len(begun) == 2


def fold_that_was_predicted() -> SimpleNamespace:
    return SimpleNamespace(models={"shipped": SimpleNamespace(name="best", inner_value=0.5)}, complete=1)


def test_inner_searches_have_the_time_of_the_search_and_not_that_of_a_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_outer(tmp_path)
    with_context(run, minutes=60.0)
    references = []
    monkeypatch.setattr(session, "keep_reference", lambda *own, **options: references.append((own, options)))
    assert not session.resume_search(run, SURROUNDINGS, minutes=10.0).is_interrupted
    assert run.search().request.minutes == 60.0
    assert inner_searches(run, FOLDS)[0].search_record().request.minutes == 60.0
    ((given, options),) = references
    assert given[1].request.minutes == 10.0
    assert options["is_last"]  # no trial is left to run
    monkeypatch.setattr(session, "keep_reference", Mock(side_effect=KeyboardInterrupt))
    assert not session.resume_search(run, SURROUNDINGS).is_interrupted  # it ends the reference alone
