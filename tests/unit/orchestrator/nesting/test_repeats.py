"""Finalists that are trained again: their splits, their scores, what goes on, and what is refused."""

import json
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import finished_run
import numpy as np
import pytest
import space_context
import torch
from nested_run import make_outer

from cluster.background import KnownConnection
from cluster.connect import Connection
from orchestrator import open_run
from orchestrator.cli.main import main
from orchestrator.nesting import repeats
from orchestrator.nesting.repeats import repeat_finalists
from orchestrator.postprocessing.comparing import compare
from orchestrator.postprocessing.test_set import open_test_part
from orchestrator.request import check_request
from orchestrator.tuning.rebuild import mend_split
from orchestrator.tuning.session import SearchOutcome
from orchestrator.tuning.surroundings import Surroundings
from results.errors import DamagedFileError, RunError
from results.run.run_folder import RunFolder
from results.run.search_request import SearchRequest
from results.scores.fold_scores import fold_areas
from results.scores.repeats import Repeats, read_repeats, repeated_predictions
from trainables.common.errors import INTERRUPTED, ConfigError
from trainables.data.patches import select_rows
from trainables.data.split_record import TEST, read_split
from trainables.data.training_data import training_data_of
from trainables.runtime.trial_runtime import TrialRuntime


def nothing_is_shown(prepared):
    raise AssertionError("the searches are replaced")


SURROUNDINGS = Surroundings(notify=lambda message: None, open_view=nothing_is_shown)


def trained_here(searches, surroundings, *, request):
    """Prepare each search as it is, and train its points in this process in place of Ray's workers."""
    for begin in searches:
        prepared = begin.prepare(KnownConnection(Connection("", True, 1.0, 0.0, 1, "")))
        run, search = prepared.run, prepared.record
        data = training_data_of(run.patch_set(), search.task_definition, read_split(run.split_file))
        place = TrialRuntime(Path(search.store), torch.device("cpu"), dict.fromkeys(search.backbones))
        while (spec := prepared.study.ask()) is not None:
            finished_run.finish_trial(run, spec.number, spec.config, data, place)
        yield SearchOutcome(run, search, tuple(run.records()), is_interrupted=False)


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Repeats]:
    run = make_outer(tmp_path_factory.mktemp("repeated"))
    context = space_context.context(backbones=("intensity", "texture"))
    run.write_search(run.search().model_copy(update={"space_context": context.model_dump(mode="json")}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeats, "run_each", trained_here)
        found = repeat_finalists(run, SURROUNDINGS, repeats=2, finalists=2)
    assert found is not None
    return run, found


def test_each_repeat_has_folds_and_a_seed_of_its_own_and_the_same_sealed_part(repeated) -> None:
    run, _ = repeated
    rows = select_rows(run.patch_set(), run.search().task_definition)
    cuts = [read_split(one.split_file) for one in (run, run.repeat_run(1), run.repeat_run(2))]
    sealed = [cut.folds_of(rows) == TEST for cut in cuts]
    assert sealed[0].any()
    assert all(np.array_equal(own, sealed[0]) for own in sealed)
    assert len({tuple(cut.folds_of(rows).tolist()) for cut in cuts}) == 3
    asked = [run.repeat_run(repeat).search().request for repeat in (1, 2)]
    assert [request.seed for request in asked] == [1, 2]
    assert [request.split_seed for request in asked] == [cut.seed for cut in cuts[1:]]


def test_finalists_are_the_best_and_their_scores_those_of_the_repeats(repeated) -> None:
    run, found = repeated
    ranked = sorted(run.records(), key=lambda record: (-record.value, record.number))
    assert found.numbers == tuple(record.number for record in ranked[:2])
    for place, one in enumerate(found.trials):
        assert one.searched == run.record(one.trial).value
        again = [run.repeat_run(repeat).out_of_fold(place) for repeat in (1, 2)]
        assert one.values == pytest.approx([np.mean(fold_areas(own)) for own in again])
        config, own = run.record(one.trial).config, run.repeat_run(1).record(place).config
        assert own["model.backbone"] == config["model.backbone"]
        assert own["classical.name"] == config["classical.name"]
    assert sum(found.wins.values()) == 2
    assert f"in {found.wins[found.numbers[0]]} of 2 repeats" in found.sentence()


def test_what_is_there_is_not_run_again(repeated, monkeypatch: pytest.MonkeyPatch) -> None:
    run, found = repeated
    monkeypatch.setattr(repeats, "run_each", nothing_is_shown)
    assert repeat_finalists(run, SURROUNDINGS, repeats=2, finalists=2) == found
    assert open_run(run.path).repeats == found


def test_an_interrupted_repeat_is_no_result_and_only_what_is_missing_runs(
    repeated, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, found = repeated
    begun = []

    def interrupted(searches, surroundings, *, request):
        for begin in searches:
            begun.append(begin)
            yield SearchOutcome(run, run.search(), (), is_interrupted=True)

    monkeypatch.setattr(repeats, "run_each", interrupted)
    assert repeat_finalists(run, SURROUNDINGS, repeats=3, finalists=2) is None
    assert len(begun) == 1
    assert read_repeats(run) == found


@pytest.fixture
def restored(repeated) -> Iterator[tuple[RunFolder, Repeats]]:
    """The same run, whose scores are put back afterwards."""
    run, _ = repeated
    content = run.repeats_file.read_bytes()
    yield repeated
    run.repeats_file.write_bytes(content)


def lost(run: RunFolder, repeat: int, trial: int, cause: str) -> None:
    """Let a finalist of a repeat be lost to its machine, or fail, and the scores of the repeats say so."""
    one = run.repeat_run(repeat)
    failed = {"state": "failed", "cause": cause, "value": None}
    one.write_record(one.record(trial).model_copy(update=failed))
    found = json.loads(run.repeats_file.read_text())
    found["trials"][trial]["values"][repeat - 1] = None
    run.write_json(run.repeats_file, found)


def test_a_finalist_that_was_lost_to_its_machine_is_trained_when_repeats_are_asked_for_again(
    restored, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, found = restored
    lost(run, 1, 1, "lost_worker")
    monkeypatch.setattr(repeats, "run_each", trained_here)
    again = repeat_finalists(run, SURROUNDINGS, repeats=2, finalists=2)
    assert again is not None
    assert again.trials == found.trials
    assert read_repeats(run) == again


def test_a_finalist_that_a_resume_has_trained_again_is_scored(
    restored, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, found = restored
    record = run.repeat_run(2).record(0)
    lost(run, 2, 0, "environment")
    run.repeat_run(2).write_record(record)  # `orchestrate resume RUN/repeats/2`
    monkeypatch.setattr(repeats, "run_each", nothing_is_shown)
    again = repeat_finalists(run, SURROUNDINGS, repeats=2, finalists=2)
    assert again is not None
    assert again.trials == found.trials


def test_a_finalist_that_failed_by_itself_is_an_outcome(restored, monkeypatch: pytest.MonkeyPatch) -> None:
    run, found = restored
    record = run.repeat_run(2).record(0)
    lost(run, 2, 0, "nan")
    monkeypatch.setattr(repeats, "run_each", nothing_is_shown)
    again = repeat_finalists(run, SURROUNDINGS, repeats=2, finalists=2)
    run.repeat_run(2).write_record(record)
    assert again is not None
    assert again.trials[0].values == (found.trials[0].values[0], None)


def test_the_split_of_a_repeat_is_made_again_from_that_of_the_search(repeated) -> None:
    run, _ = repeated
    one, said = run.repeat_run(2), list[str]()
    before = one.split_file.read_bytes()
    one.split_file.unlink()
    mend_split(one, one.search(), said.append)
    assert "made again from data and seed, with the digest of the first" in said[0]
    assert one.split_file.read_bytes() == before


def test_other_finalists_need_a_folder_of_their_own(repeated) -> None:
    run, _ = repeated
    with pytest.raises(RunError, match=r"holds trials \d, \d, and the finalists are \d now; move"):
        repeat_finalists(run, SURROUNDINGS, repeats=2, finalists=1)


@pytest.mark.parametrize(("asked", "what"), [({"repeats": 0}, "repeat"), ({"finalists": 0}, "finalist")])
def test_no_repeats_and_no_finalists_are_refused_and_not_taken_for_the_usual_number(repeated, asked, what):
    run, _ = repeated
    with pytest.raises(ConfigError, match=f"repeats need at least 1 {what}, found 0"):
        repeat_finalists(run, SURROUNDINGS, **asked)


def test_a_comparison_takes_the_repeats_which_did_not_choose(repeated) -> None:
    run, found = repeated
    first, second = found.trials
    compared = compare([(run, "best", first.trial), (run, "best", second.trial)])
    assert compared.repeats == 2
    assert compared.comparisons[0].difference == pytest.approx(first.mean - second.mean)
    assert [one.value for one in compared.models] == pytest.approx([first.mean, second.mean])
    assert "means over 2 repeats" in compared.notes[0]
    (third,) = {0, 1, 2} - set(found.numbers)
    plain = compare([(run, "best", first.trial), (run, "best", third)])
    assert plain.repeats == 0
    assert plain.models[0].value == pytest.approx(first.searched)


def test_damaged_scores_of_repeats_are_told_of_and_made_again_by_the_verb(
    repeated, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, found = repeated
    monkeypatch.setattr(repeats, "run_each", lambda searches, surroundings, *, request: (one for one in ()))
    content = run.repeats_file.read_bytes()
    run.repeats_file.write_bytes(content[:100])
    try:
        assert main(["leaderboard", str(run.path)]) == 0
        assert "repeats.json does not hold scores of repeats" in " ".join(capsys.readouterr().err.split())
        first, second = found.numbers
        assert compare([(run, "best", first), (run, "best", second)]).repeats == 0
        again = repeat_finalists(run, SURROUNDINGS, repeats=2, finalists=2)
        assert again is not None
        assert again.trials == found.trials
        assert (run.path / "repeats.json.damaged").read_bytes() == content[:100]
    finally:
        run.repeats_file.write_bytes(content)


def test_finalists_that_were_run_again_since_are_not_taken_for_those_that_were_repeated(repeated) -> None:
    run, found = repeated
    number = found.numbers[0]
    before = run.out_of_fold(number)
    run.write_out_of_fold(number, replace(before, probabilities=before.probabilities[:, ::-1]))
    try:
        with pytest.raises(DamagedFileError, match=rf"scores of trial {number} before it was run again"):
            read_repeats(run)
    finally:
        run.write_out_of_fold(number, before)
    assert read_repeats(run) == found


def test_the_command_prints_what_is_there(repeated, capsys: pytest.CaptureFixture[str]) -> None:
    run, found = repeated
    asked = ["repeat", str(run.path), "--repeats", "2", "--finalists", "2", "--format"]
    assert main([*asked, "json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [one["mean"] for one in printed["trials"]] == pytest.approx([one.mean for one in found.trials])
    assert main([*asked, "table"]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert "sd" in said
    assert main([*asked, "csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 2 * 3


def test_a_repeat_opens_no_test_part_and_has_no_repeats(repeated) -> None:
    run, _ = repeated
    inner = run.repeat_run(1)
    with pytest.raises(RunError, match="trains finalists of another search again"):
        open_test_part(inner, trial=0, ensemble="best", by="a test")
    with pytest.raises(RunError, match="lies within another search"):
        repeat_finalists(inner, SURROUNDINGS)


def test_a_damaged_file_is_named(repeated, tmp_path: Path) -> None:
    copy = RunFolder(tmp_path)
    assert read_repeats(copy) is None
    copy.repeats_file.write_text("{}")
    with pytest.raises(DamagedFileError, match=r"repeats\.json does not hold scores of repeats"):
        read_repeats(copy)


def test_repeats_and_a_trial_that_has_seen_other_folds_exclude_each_other(tmp_path: Path) -> None:
    request = SearchRequest(
        task="benign_malignant", data="phantom", runs=tmp_path, repeats=2, start_from="a:1"
    )
    with pytest.raises(ConfigError, match="--repeats 2 cuts the patients into other folds"):
        check_request(request)


def test_damaged_predictions_of_a_repeat_are_made_again_by_the_verb_that_their_error_names(
    restored, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, found = restored
    place = run.repeat_run(1).predictions_file(0)
    place.write_bytes(place.read_bytes()[:100])
    with pytest.raises(DamagedFileError, match=f"to run the trial again: {run.command('repeat')}"):
        repeated_predictions(run, found.numbers[0])
    monkeypatch.setattr(repeats, "run_each", trained_here)
    assert repeat_finalists(run, SURROUNDINGS) is not None
    assert len(repeated_predictions(run, found.numbers[0])) == 2


def test_repeats_of_an_earlier_state_of_the_search_say_so(restored) -> None:
    run, found = restored
    assert found.outdated == ""
    best = run.record(found.numbers[0])
    later = len(run.records())
    run.write_out_of_fold(later, run.out_of_fold(best.number))
    run.write_record(best.model_copy(update={"number": later, "value": 1.0}))
    try:
        outdated = read_repeats(run)
    finally:
        shutil.rmtree(run.trial(later))
    assert f"whose best are trials {later}, {best.number} now; to repeat those" in outdated.sentence()
    assert run.command("repeat") in outdated.sentence()


@pytest.fixture
def unrepeated(repeated, tmp_path: Path) -> RunFolder:
    """A copy of the run without its repeats."""
    run = RunFolder(tmp_path / "benign_malignant" / "copy")
    shutil.copytree(repeated[0].path, run.path, ignore=shutil.ignore_patterns("repeats", "repeats.json"))
    return run


def interrupted_in(repeat: int):
    """Train repeats as `trained_here` does, and let the user interrupt the one of this number."""

    def run_each(searches, surroundings, *, request):
        for number, outcome in enumerate(trained_here(searches, surroundings, request=request), 1):
            yield replace(outcome, is_interrupted=number == repeat)

    return run_each


def words_after_next(said: str) -> list[str]:
    (line,) = [line for line in said.splitlines() if "next:" in line]
    program, *words = shlex.split(line.partition("next:")[2])
    assert program == "orchestrate"
    return words


def test_the_command_that_is_printed_after_an_interrupt_goes_on_with_what_was_asked(
    unrepeated: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["repeat", str(unrepeated.path), "--repeats", "5", "--finalists", "2"]
    monkeypatch.setattr(repeats, "run_each", interrupted_in(2))
    assert main(asked) == INTERRUPTED
    words = words_after_next(capsys.readouterr().err)
    assert words == asked
    monkeypatch.setattr(repeats, "run_each", trained_here)
    assert main(words) == 0
    found = read_repeats(unrepeated)
    assert found is not None
    assert (found.repeats, len(found.trials)) == (5, 2)


def test_repeats_that_were_interrupted_know_how_many_were_asked_for(
    unrepeated: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeats, "run_each", interrupted_in(1))
    assert repeat_finalists(unrepeated, SURROUNDINGS, repeats=4, finalists=2) is None
    monkeypatch.setattr(repeats, "run_each", trained_here)
    found = repeat_finalists(unrepeated, SURROUNDINGS)  # as `unrepeated.repeat_run(1).resume_command` says
    assert found is not None
    assert (found.repeats, len(found.trials)) == (4, 2)
    assert repeat_finalists(unrepeated, SURROUNDINGS, repeats=2) is not None  # what is typed wins
    assert repeat_finalists(unrepeated, SURROUNDINGS) == replace_time(found, read_repeats(unrepeated))


def replace_time(found: Repeats, now: Repeats | None) -> Repeats:
    assert now is not None
    return found.model_copy(update={"finished_at": now.finished_at})


def test_repeats_of_an_earlier_version_say_how_many_finalists_they_have(
    unrepeated: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeats, "run_each", interrupted_in(1))
    assert repeat_finalists(unrepeated, SURROUNDINGS, repeats=2, finalists=2) is None
    one = unrepeated.repeat_run(1)
    place = one.search().repeat
    assert place is not None
    earlier = place.model_copy(update={"repeats": None, "finalists": None})
    one.write_search(one.search().model_copy(update={"repeat": earlier}))
    monkeypatch.setattr(repeats, "run_each", trained_here)
    found = repeat_finalists(unrepeated, SURROUNDINGS)
    assert found is not None
    assert (found.repeats, len(found.trials)) == (repeats.DEFAULT_REPEATS, 2)


def test_repeats_of_finalists_that_are_none_any_more_are_set_aside_where_the_search_goes_on(
    unrepeated: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeats, "run_each", trained_here)
    first = repeat_finalists(unrepeated, SURROUNDINGS, repeats=1, finalists=2)
    assert first is not None
    (third,) = {0, 1, 2} - set(first.numbers)
    record = unrepeated.record(third)
    assert record is not None
    unrepeated.write_record(record.model_copy(update={"value": 0.999}))
    with pytest.raises(
        RunError, match=r"and the finalists are \d, \d now; move .*repeats away to repeat these"
    ):
        repeat_finalists(unrepeated, SURROUNDINGS)
    said = list[str]()
    surroundings = replace(SURROUNDINGS, notify=said.append)
    second = repeat_finalists(unrepeated, surroundings, replaces=True)
    assert second is not None
    assert (second.repeats, second.numbers) == (1, (third, first.numbers[0]))
    assert any("what is there is kept as repeats.outdated, and these are repeated" in line for line in said)
    kept = RunFolder(unrepeated.path / "repeats.outdated" / "1").search().repeat
    assert kept is not None
    assert kept.trials == first.numbers
    earlier = json.loads((unrepeated.path / "repeats.json.outdated").read_text())
    assert [one["trial"] for one in earlier["trials"]] == list(first.numbers)


def test_outdated_repeats_that_another_process_runs_stay(
    unrepeated: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeats, "run_each", trained_here)
    assert repeat_finalists(unrepeated, SURROUNDINGS, repeats=1, finalists=2) is not None
    with (
        unrepeated.repeat_run(1).exclusive(),
        pytest.raises(RunError, match="is being searched by another process"),
    ):
        repeat_finalists(unrepeated, SURROUNDINGS, finalists=1, replaces=True)
    assert read_repeats(unrepeated) is not None
