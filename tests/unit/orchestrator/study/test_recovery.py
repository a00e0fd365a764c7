"""Whatever happens to the storage of a study: finished trials keep their numbers, and nothing is lost."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
from search_methods import search_method
from space_context import NARROW

from orchestrator.study.journal import mend
from orchestrator.study.recovery import Recovery, StudyPlace, TrialSource
from orchestrator.study.study import MissingStudyError, OptunaStudy
from orchestrator.study.trial_spec import EXPERIENCE
from results.run.records import TrialRecord
from search_spaces.context import SpaceContext
from search_spaces.enqueue import InitialPoint
from search_spaces.registry import Space
from trainables.config.trial_config import flatten

POINTS = tuple(
    InitialPoint("ours", {"model.backbone": "vgg16", "optimizer.lr": rate, "optimizer.name": "adam"})
    for rate in (0.002, 0.003)
)


def space(trial: Any, context: SpaceContext) -> dict[str, Any]:
    name = trial.suggest_categorical("optimizer.name", ("adam", "sgd"))
    rate = trial.suggest_float("optimizer.lr", 1e-4, 1e-1, log=True)
    return {"model.backbone": "vgg16", "optimizer.name": name, "optimizer.lr": rate}


METHOD = search_method(trials=8)
SOURCE = TrialSource(Space("space", space, ()), NARROW, {}, METHOD.objectives, POINTS)


def place(folder: Path, storage: str | None = None) -> StudyPlace:
    return StudyPlace(storage, folder / "study.log", "t/n", METHOD.objectives.directions)


def handing_out(study: optuna.Study) -> OptunaStudy:
    return OptunaStudy(study, SOURCE.space, NARROW, {}, METHOD)


def ended(spec: Any, state: Any = "complete", cause: Any = None) -> TrialRecord:
    return TrialRecord(
        number=spec.number,
        state=state,
        cause=cause,
        value=0.5 + spec.number / 100,
        epochs=5,
        config=flatten(spec.config.model_dump(mode="json")),
        params=json.loads(json.dumps(spec.params)),
        recipe=spec.recipe,
        fingerprint="f",
        seed=0,
        finished_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def begun(where: StudyPlace, count: int = 6, running: int = 2) -> dict[int, TrialRecord]:
    """Search: two initial points, then proposals; the last few trials still run. Returns the records."""
    study = handing_out(where.open(is_new=True))
    study.enqueue(POINTS)
    specs = [study.ask() for _ in range(count)]
    records = {}
    for number, spec in enumerate(specs[: count - running]):
        states: tuple[Any, Any] = ("pruned", "pruner") if number == 3 else ("complete", None)
        records[number] = ended(spec, *states)
        study.tell(records[number])
    return records


def resumed(where: StudyPlace, records: dict[int, TrialRecord]) -> tuple[Recovery, OptunaStudy]:
    recovery = where.recovered(records, SOURCE)
    study = handing_out(recovery.study)
    study.adopt(records)
    return recovery, study


def rest(study: OptunaStudy) -> list[int]:
    """Numbers of all trials that are still handed out."""
    found = []
    while (spec := study.ask()) is not None:
        found.append(spec.number)
        study.tell(ended(spec))
    return found


def check_whole(recovery: Recovery, records: dict[int, TrialRecord]) -> None:
    """The study holds every record under its number, with parameters, state and value."""
    for number, record in records.items():
        trial = recovery.study.get_trials(deepcopy=False)[number]
        assert trial.number == number
        assert trial.params == record.params
        assert trial.state.name == {"complete": "COMPLETE", "pruned": "PRUNED"}[record.state]
        if record.state == "complete":
            assert trial.value == record.value


def test_a_whole_study_is_left_as_it_is(tmp_path: Path) -> None:
    records = begun(place(tmp_path))
    before = (tmp_path / "study.log").read_bytes()
    recovery, study = resumed(place(tmp_path), records)
    assert (recovery.messages, recovery.run_again) == ((), 0)
    assert (tmp_path / "study.log").read_bytes() == before
    check_whole(recovery, records)
    assert rest(study) == [4, 5, 6, 7]


def gone(path: Path) -> None:
    path.unlink()


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def only_half(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: len(lines) // 2]))


def only_the_study(path: Path) -> None:
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])


def half_a_line(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def no_last_newline(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def trailing_zeros(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(4096))


def only_zeros(path: Path) -> None:
    path.write_bytes(bytes(4096))


def damaged_in_the_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = b"\x00" * 40
    path.write_bytes(content)


def another_operation(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[len(lines) // 2] = b'{"op_code": 77, "worker_id": "x"}\n'
    path.write_bytes(b"".join(lines))


def a_number_for_a_line(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[len(lines) // 2] = b"7\n"
    path.write_bytes(b"".join(lines))


DAMAGE = (
    gone,
    emptied,
    only_half,
    only_the_study,
    half_a_line,
    no_last_newline,
    trailing_zeros,
    only_zeros,
    damaged_in_the_middle,
    another_operation,
    a_number_for_a_line,
)


@pytest.mark.parametrize("harm", DAMAGE)
def test_finished_trials_keep_their_numbers_whatever_happens_to_the_journal(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    records = begun(place(tmp_path))
    harm(tmp_path / "study.log")
    recovery, study = resumed(place(tmp_path), records)
    check_whole(recovery, records)
    handed_out = rest(study)
    assert set(handed_out).isdisjoint(records)
    assert len(handed_out) == METHOD.trials - len(records)
    # And once more: what was mended is whole.
    again, study = resumed(place(tmp_path), records | dict.fromkeys((), records[0]))
    check_whole(again, records)


def test_what_is_cut_off_a_journal_is_kept_beside_it(tmp_path: Path) -> None:
    begun(place(tmp_path))
    path = tmp_path / "study.log"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code": 4, "wor')
    cut = mend(path)
    assert cut == tmp_path / "study.log.damaged"
    assert cut.read_bytes() == b'{"op_code": 4, "wor'
    assert path.read_bytes() == whole
    path.write_bytes(whole + b"hello")
    assert mend(path) == tmp_path / "study.log.damaged.2"
    assert mend(path) is None


def test_a_last_line_without_its_newline_is_kept(tmp_path: Path) -> None:
    begun(place(tmp_path))
    path = tmp_path / "study.log"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert mend(path) is None
    assert path.read_bytes() == whole


def test_a_study_that_is_missing_is_never_created_in_silence(tmp_path: Path) -> None:
    with pytest.raises(MissingStudyError, match=r"study\.log holds no study 't/n'"):
        place(tmp_path).open(is_new=False)
    recovery = place(tmp_path).recovered({}, SOURCE)
    assert recovery.messages == (
        f"{tmp_path / 'study.log'} holds no study 't/n'; the study is made anew from 0 records",
    )


def test_initial_points_that_had_not_run_are_not_lost_with_the_study(tmp_path: Path) -> None:
    begun(place(tmp_path), count=1, running=1)
    (tmp_path / "study.log").unlink()
    (tmp_path / "other").mkdir()
    record = begun(place(tmp_path / "other"), count=4)[0].model_copy(update={"number": 2})
    study = handing_out(place(tmp_path).recovered({2: record}, SOURCE).study)
    specs = [study.ask(), study.ask()]
    assert [(spec.number, spec.recipe, spec.config.optimizer.lr) for spec in specs if spec] == [
        (0, "ours", 0.002),
        (1, "ours", 0.003),
    ]


def test_points_that_have_run_are_known_as_such_when_the_study_was_lost(tmp_path: Path) -> None:
    records = begun(place(tmp_path))
    before = [trial.user_attrs for trial in place(tmp_path).open(is_new=False).get_trials()[:4]]
    records[3] = records[3].model_copy(update={"recipe": EXPERIENCE})  # a proposal all the same
    (tmp_path / "study.log").unlink()
    recovery, _ = resumed(place(tmp_path), records)
    assert [trial.user_attrs for trial in recovery.study.get_trials()[:4]] == before
    assert before[0]["settings"]["optimizer.lr"] == 0.002
    assert "settings" not in before[3]


def test_initial_points_are_not_lost_with_a_study_that_has_just_begun(tmp_path: Path) -> None:
    begun(place(tmp_path), count=0, running=0)
    only_the_study(tmp_path / "study.log")
    study = handing_out(place(tmp_path).recovered({}, SOURCE).study)
    assert [spec.recipe for _ in range(3) if (spec := study.ask()) is not None] == ["ours", "ours", ""]


def test_a_trial_whose_record_is_gone_is_run_again_with_the_same_settings(tmp_path: Path) -> None:
    records = begun(place(tmp_path))
    lost = records.pop(2)
    first = records.pop(0)
    recovery, study = resumed(place(tmp_path), records)
    assert recovery.run_again == 2
    check_whole(recovery, records)
    specs = {spec.number: spec for _ in range(4) if (spec := study.ask()) is not None}
    assert specs[2].params == lost.params
    assert (specs[0].recipe, specs[0].params) == ("ours", first.params)
    study.tell(ended(specs[2]))
    assert recovery.study.get_trials(deepcopy=False)[2].state.name == "COMPLETE"
    assert (tmp_path / "study.log.replaced").exists()


def test_a_record_wins_over_another_trial_of_its_number(tmp_path: Path) -> None:
    records = begun(place(tmp_path))
    changed = records[2].model_copy(update={"params": {"optimizer.name": "sgd", "optimizer.lr": 0.05}})
    recovery, _ = resumed(place(tmp_path), records | {2: changed})
    check_whole(recovery, records | {2: changed})


def test_a_database_is_brought_up_to_date_as_a_journal_is(tmp_path: Path) -> None:
    where = place(tmp_path, f"sqlite:///{tmp_path}/study.db")
    records = begun(where)
    lost = records.pop(1)
    recovery, study = resumed(where, records)
    check_whole(recovery, records)
    assert recovery.run_again == 1
    assert 1 in rest(study)
    (tmp_path / "study.db").unlink()
    recovery, study = resumed(where, records | {1: lost})
    check_whole(recovery, records | {1: lost})
    assert set(rest(study)).isdisjoint(records)


def test_parameters_that_the_space_no_longer_has_do_not_lose_the_trial(tmp_path: Path) -> None:
    records = begun(place(tmp_path))
    (tmp_path / "study.log").unlink()

    def smaller(trial: Any, context: SpaceContext) -> dict[str, Any]:
        return {"model.backbone": "vgg16", "optimizer.lr": trial.suggest_float("optimizer.lr", 0.5, 0.6)}

    source = TrialSource(Space("smaller", smaller, ()), NARROW, {}, METHOD.objectives)
    trials = place(tmp_path).recovered(records, source).study.get_trials(deepcopy=False)
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE", "COMPLETE", "PRUNED"]
    assert trials[2].value == records[2].value


def test_a_fault_of_the_machine_says_nothing_about_a_configuration(tmp_path: Path) -> None:
    study = handing_out(place(tmp_path).open(is_new=True))
    spec = study.ask()
    record = ended(spec, "failed", "environment")
    study.tell(record)
    assert study.study.trials[0].state.name == "FAIL"
    (tmp_path / "study.log").unlink()
    assert place(tmp_path).recovered({0: record}, SOURCE).study.trials[0].state.name == "FAIL"


def test_the_end_of_a_trial_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = handing_out(place(tmp_path).open(is_new=True))
    spec = study.ask()
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    monkeypatch.setattr("orchestrator.study.journal._FLUSH_SECONDS", 1e9)
    study.should_prune(0, 5, 0.4)
    assert synced == []
    study.tell(ended(spec))
    assert len(synced) == 1
