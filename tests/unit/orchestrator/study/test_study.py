from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from search_methods import search_method
from space_context import NARROW

from orchestrator.study.optuna_private import LongStudyStorage
from orchestrator.study.patience import OutOfPatienceError
from orchestrator.study.study import InvalidPointError, OptunaStudy, open_study
from results.run.records import TrialRecord
from search_spaces.context import SpaceContext
from search_spaces.enqueue import InitialPoint
from search_spaces.registry import Space
from trainables.common.errors import ConfigError


def line(trial: Any, context: SpaceContext) -> dict[str, Any]:
    return {"model.backbone": "vgg16", "optimizer.lr": trial.suggest_float("lr", 1e-4, 1e-1, log=True)}


def new_study(journal: Path, trials: int = 6, function: Any = line, **options: Any) -> OptunaStudy:
    defaults: dict[str, Any] = {
        "storage": None,
        "journal": journal,
        "name": "t/n",
        "is_new": not journal.exists(),
    }
    asked = {
        name: options.pop(name)
        for name in ("seed", "metrics", "requirements", "sampler", "pruner")
        if name in options
    }
    method = search_method(trials=trials, **asked)
    defaults["directions"] = method.objectives.directions
    return OptunaStudy(open_study(**(defaults | options)), Space("line", function, ()), NARROW, {}, method)


def record(number: int, state: str = "complete", value: float | None = 0.5, cause: Any = None) -> TrialRecord:
    return TrialRecord(
        number=number,
        state=state,
        cause=cause,
        value=value,
        config={},
        fingerprint="f",
        seed=0,
        finished_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_as_many_trials_as_asked_are_handed_out(tmp_path: Path) -> None:
    study = new_study(tmp_path / "study.log", trials=3)
    numbers = [proposal.number for proposal in (study.ask() for _ in range(3)) if proposal]
    assert numbers == [0, 1, 2]
    assert study.ask() is None


def test_the_same_seed_proposes_the_same_trials_to_one_worker(tmp_path: Path) -> None:
    def rates(name: str, seed: int) -> list[float]:
        study = new_study(tmp_path / name, trials=12, seed=seed)
        found = []
        while (proposal := study.ask()) is not None:
            found.append(proposal.config.optimizer.lr)
            study.tell(record(proposal.number, value=-abs(proposal.config.optimizer.lr - 0.01)))
        return found

    assert rates("a", 1) == rates("b", 1) != rates("c", 2)


def test_the_worse_of_two_trials_is_pruned_at_the_same_epoch(tmp_path: Path) -> None:
    study = new_study(tmp_path / "study.log")
    for _ in range(6):
        study.ask()
    assert [study.should_prune(4, epoch, 0.9) for epoch in range(1, 8)] == [False] * 7
    assert [study.should_prune(5, epoch, 0.1) for epoch in range(1, 6)] == [False] * 4 + [True]


def test_the_first_trials_and_the_first_points_are_never_pruned(tmp_path: Path) -> None:
    study = new_study(tmp_path / "study.log")
    for _ in range(5):
        study.ask()
    study.study.enqueue_trial({"lr": 0.01}, user_attrs={"recipe": "ours"})
    study.ask()
    for number, value in ((4, 0.9), (0, 0.1), (5, 0.1)):
        assert not any(study.should_prune(number, epoch, value) for epoch in range(1, 8))


@pytest.mark.parametrize("cause", ["nan", "exception", "out_of_memory", "lost_worker"])
def test_a_failure_is_told_as_pruned_with_its_true_cause(tmp_path: Path, cause: str) -> None:
    study = new_study(tmp_path / "study.log")
    study.ask()
    study.tell(record(0, state="failed", value=None, cause=cause))
    trial = study.study.trials[0]
    assert trial.state.name == "PRUNED"
    assert trial.user_attrs == {"state": "failed", "cause": cause, "unopened": True}


def test_the_sampler_learns_to_stay_away_from_what_crashes(tmp_path: Path) -> None:
    study = new_study(tmp_path / "study.log", trials=60)
    crashes = []
    while (proposal := study.ask()) is not None:
        does_crash = proposal.config.optimizer.lr > 0.003
        crashes.append(does_crash)
        if does_crash:
            study.tell(record(proposal.number, state="failed", value=None, cause="nan"))
        else:
            study.tell(record(proposal.number, value=0.9 - proposal.config.optimizer.lr))
    assert sum(crashes[:15]) >= 4
    assert sum(crashes[-30:]) <= 3


def test_an_interrupted_trial_is_run_again_under_its_own_number(tmp_path: Path) -> None:
    first = new_study(tmp_path / "study.log", trials=3)
    rates = [proposal.config.optimizer.lr for proposal in (first.ask(), first.ask()) if proposal]
    first.tell(record(0))
    resumed = new_study(tmp_path / "study.log", trials=3)
    assert resumed.adopt({0: record(0)}) == 1
    again = resumed.ask()
    assert again is not None
    assert (again.number, again.config.optimizer.lr) == (1, rates[1])
    last = resumed.ask()
    assert last is not None
    assert last.number == 2
    assert resumed.ask() is None


def test_a_first_point_that_was_interrupted_still_waits_until_it_is_run_again(tmp_path: Path) -> None:
    first = new_study(tmp_path / "study.log", trials=3)
    first.enqueue([InitialPoint("ours", {"model.backbone": "vgg16"})])
    first.ask()
    assert not first.has_points()
    resumed = new_study(tmp_path / "study.log", trials=3)
    assert not resumed.has_interrupted()
    resumed.adopt({})
    assert resumed.has_points()
    assert resumed.has_interrupted()
    resumed.ask()
    assert not resumed.has_points()
    assert not resumed.has_interrupted()


def test_a_trial_that_must_run_alone_is_known_as_such_when_the_search_goes_on(tmp_path: Path) -> None:
    first = new_study(tmp_path / "study.log", trials=3)
    specs = [first.ask(), first.ask()]
    assert [own.is_alone for own in specs if own is not None] == [False, False]
    first.note_alone(1)
    resumed = new_study(tmp_path / "study.log", trials=3)
    resumed.adopt({})
    again = [resumed.ask(), resumed.ask(), resumed.ask()]
    assert [(own.number, own.is_alone) for own in again if own is not None] == [
        (0, False),
        (1, True),
        (2, False),
    ]


def test_a_trial_that_was_recorded_but_not_told_is_told_and_not_run_again(tmp_path: Path) -> None:
    new_study(tmp_path / "study.log", trials=1).ask()
    resumed = new_study(tmp_path / "study.log", trials=1)
    assert resumed.adopt({0: record(0, value=0.7)}) == 0
    assert resumed.ask() is None
    assert resumed.study.best_value == 0.7


def test_a_resumed_trial_may_report_its_epochs_again(tmp_path: Path) -> None:
    first = new_study(tmp_path / "study.log")
    first.ask()
    first.should_prune(0, 1, 0.6)
    resumed = new_study(tmp_path / "study.log")
    resumed.adopt({})
    resumed.ask()
    assert not resumed.should_prune(0, 1, 0.6)


def test_a_point_that_cannot_run_says_which_one_it_is(tmp_path: Path) -> None:
    def wrong(trial: Any, context: SpaceContext) -> dict[str, Any]:
        return {"model.backbone": "vgg16", "training.epochs": trial.suggest_int("epochs", -3, -1)}

    with pytest.raises(InvalidPointError, match=r"training\.epochs") as caught:
        new_study(tmp_path / "study.log", function=wrong).ask()
    assert caught.value.number == 0
    assert set(caught.value.params) == {"epochs"}


def test_a_study_that_minimises_is_refused(tmp_path: Path) -> None:
    import optuna

    storage = f"sqlite:///{tmp_path}/study.db"
    optuna.create_study(storage=storage, study_name="t/n", direction="minimize")
    with pytest.raises(ConfigError, match="minimizes its values; this search maximizes them"):
        new_study(tmp_path / "unused", storage=storage, is_new=False)


def test_a_storage_that_cannot_be_opened_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the Optuna storage nonsense://x cannot be opened"):
        new_study(tmp_path / "unused", storage="nonsense://x")


def test_a_new_search_does_not_go_on_with_an_old_study(tmp_path: Path) -> None:
    new_study(tmp_path / "study.log")
    with pytest.raises(ConfigError, match="holds a study 't/n' already"):
        new_study(tmp_path / "study.log", is_new=True)


def test_a_resumed_search_does_not_draw_again_what_it_drew_at_its_start(tmp_path: Path) -> None:
    def rates(count: int) -> list[float]:
        study = new_study(tmp_path / "study.log", trials=8)
        found = []
        for _ in range(count):
            proposal = study.ask()
            assert proposal is not None
            found.append(proposal.config.optimizer.lr)
            study.tell(record(proposal.number))
        return found

    assert set(rates(4)).isdisjoint(rates(4))


def test_trials_that_are_never_pruned_are_a_measure_for_the_others(tmp_path: Path) -> None:
    study = new_study(tmp_path / "study.log")
    for _ in range(5):
        study.ask()
    for number in range(4):
        for epoch in range(1, 21):
            assert not study.should_prune(number, epoch, 0.9)
    assert [study.should_prune(4, epoch, 0.2) for epoch in range(1, 6)] == [False] * 4 + [True]


def test_a_storage_that_does_not_come_back_is_no_fault_of_the_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = new_study(tmp_path / "study.log")

    def away(*arguments: object) -> None:
        raise OutOfPatienceError("the storage did not come back")

    monkeypatch.setattr(search.study._storage, "set_trial_param", away)
    with pytest.raises(OutOfPatienceError, match="did not come back"):
        search.ask()


def test_a_space_that_fails_on_a_point_says_which_one_it_is(tmp_path: Path) -> None:
    def broken(trial: Any, context: SpaceContext) -> dict[str, Any]:
        return {"model.backbone": {}[trial.suggest_int("x", 0, 1)]}

    with pytest.raises(InvalidPointError, match="space line failed: KeyError"):
        new_study(tmp_path / "study.log", function=broken).ask()


def test_several_metrics_are_told_in_their_order_and_crashes_without_values(tmp_path: Path) -> None:
    study = new_study(tmp_path / "study.log", metrics=("auc", "log_loss"), pruner="none")
    for _ in range(3):
        study.ask()
    study.tell(record(0, value=0.7).model_copy(update={"values": {"log_loss": 0.4, "auc": 0.7}}))
    study.tell(record(1, value=0.6).model_copy(update={"state": "failed", "cause": "nan", "epochs": 3}))
    study.tell(record(2, value=0.6))  # its log loss is not known
    told = study.study.get_trials(deepcopy=False)
    assert [trial.state.name for trial in told] == ["COMPLETE", "PRUNED", "PRUNED"]
    assert told[0].values == [0.7, 0.4]
    assert [direction.name for direction in study.study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert not study.should_prune(2, 5, 0.1)


def test_what_a_trial_misses_of_a_requirement_is_a_constraint(tmp_path: Path) -> None:
    study = new_study(tmp_path / "study.log", requirements=("recall>=0.9",))
    study.ask()
    study.tell(record(0, value=0.7).model_copy(update={"values": {"recall": 0.7}}))
    assert study.study.get_trials(deepcopy=False)[0].constraints == {"recall": pytest.approx(0.2)}


def test_the_worse_trial_is_pruned_where_lower_is_better(tmp_path: Path) -> None:
    study = new_study(tmp_path / "study.log", metrics=("log_loss",))
    for _ in range(6):
        study.ask()
    assert not study.should_prune(4, 5, 0.3)
    assert study.should_prune(5, 5, 0.9)


def test_a_grid_ends_the_search_when_every_point_was_tried(tmp_path: Path) -> None:
    def small(trial: Any, context: SpaceContext) -> dict[str, Any]:
        name = trial.suggest_categorical("name", ("adam", "sgd"))
        settings = {"model.backbone": "vgg16", "optimizer.name": name}
        if name == "sgd":
            settings["optimizer.momentum"] = trial.suggest_float("momentum", 0.0, 0.8)
        return settings

    study, found = new_study(tmp_path / "study.log", trials=50, function=small, sampler="grid"), []
    while (proposal := study.ask()) is not None:
        found.append(tuple(proposal.params.values()))
        study.tell(record(proposal.number))
    assert len(found) == len(set(found)) == 6
    assert not study.has_more
    assert not new_study(tmp_path / "study.log", trials=50, function=small, sampler="grid").has_more


def test_a_function_that_makes_no_sampler_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wrong_one.py").write_text("def nothing(facts):\n    return 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        ConfigError, match="--sampler wrong_one:nothing must return an Optuna BaseSampler, found int"
    ):
        new_study(tmp_path / "study.log", sampler="wrong_one:nothing")


def test_trials_that_wait_or_run_are_found_without_a_look_at_those_that_have_ended(tmp_path: Path) -> None:
    study = new_study(tmp_path / "study.log", trials=12).study
    storage, number = study._storage, study._study_id
    assert isinstance(storage, LongStudyStorage)
    for step in range(12):
        if step % 4 == 0:
            study.enqueue_trial({"lr": 1e-3})
        trial = study.ask()
        if step % 5:
            study.tell(trial, 0.5)
        for states in (
            (TrialState.WAITING,),
            (TrialState.RUNNING,),
            (TrialState.RUNNING, TrialState.WAITING),
        ):
            wanted = [own.number for own in study.get_trials() if own.state in states]
            found = storage.get_all_trials(number, deepcopy=False, states=states)
            assert [own.number for own in found] == wanted
            assert [own.number for own in study.get_trials(states=states)] == wanted
    study.tell(0, 0.5)
    storage.get_all_trials(number, deepcopy=False, states=(TrialState.WAITING,))
    assert len(storage._ended[number]) == 5
    complete = storage.get_all_trials(number, deepcopy=False, states=(TrialState.COMPLETE,))
    assert len(complete) == sum(own.state is TrialState.COMPLETE for own in study.get_trials()) == 10
