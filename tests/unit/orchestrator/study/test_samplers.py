import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial
from records import search_record

from orchestrator.study import optuna_private
from orchestrator.study import window as windows
from orchestrator.study.journal import RunJournal
from orchestrator.study.method import method_of
from orchestrator.study.optuna_private import (
    EndedTrial,
    LongStudyStorage,
    QuickTPESampler,
    as_read,
    open_trial,
)
from orchestrator.study.patience import Patience
from orchestrator.study.sampler import SamplingFacts
from orchestrator.study.samplers import sampler_named
from orchestrator.study.seeded import seed_of_trial
from orchestrator.study.window import BoundedSampler, window
from results.scores.ranking import Direction

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def tpe(seed: int) -> Any:
    facts = SamplingFacts(seed, trials=24, directions=("maximize",), epochs=20, settings=dict)
    return sampler_named("tpe").build(facts)


def study_of(values: list[float | None]) -> optuna.Study:
    """A study whose trials ended with these values; None was pruned."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for value in values:
        trial = study.ask()
        trial.suggest_float("x", 0.0, 1.0)
        if value is None:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, value)
    return study


def test_the_window_holds_the_best_the_newest_and_those_that_run() -> None:
    study = study_of([0.9, 0.1, None, 0.8, 0.2, None, 0.3])
    study.ask()
    kept = [trial.number for trial in window(study.trials, best=2, recent=2)]
    assert kept == [0, 3, 5, 6, 7]


def test_of_many_trials_that_run_the_newest_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "RUNNING", 3)
    study = study_of([0.9, 0.1, None, 0.8, 0.2, None, 0.3])
    for _ in range(5):
        study.ask()
    kept = [trial.number for trial in window(study.trials, best=1, recent=1)]
    assert kept == [0, 6, 9, 10, 11]


def test_a_short_study_is_seen_whole() -> None:
    study = study_of([0.9, 0.1, None])
    assert window(study.trials, best=2, recent=2) == study.trials


def test_the_sampler_sees_no_more_than_its_window(monkeypatch: pytest.MonkeyPatch) -> None:
    study, seen = study_of([0.5] * 150), list[int]()
    study.sampler = sampler = tpe(0)
    inner = sampler._sampler.sample_relative

    def watch(view: Any, trial: Any, space: Any) -> Any:
        seen.append(len(view._get_trials(deepcopy=False)))
        return inner(view, trial, space)

    monkeypatch.setattr(sampler._sampler, "sample_relative", watch)
    study.ask().suggest_float("x", 0.0, 1.0)
    assert seen == [windows.BEST + windows.RECENT + 1]  # the trial that is drawn is running


def test_a_short_study_is_sampled_as_by_optunas_own() -> None:
    drawn, ours = list[list[float]](), tpe(3)
    for is_ours in (True, False):
        study, found = study_of([number / 40 for number in range(40)]), list[float]()
        for number in range(40, 45):
            seed = seed_of_trial(3, number)
            plain = optuna.samplers.TPESampler(seed=seed, n_startup_trials=8, multivariate=True, group=True)
            study.sampler = ours if is_ours else plain
            found.append(study.ask().suggest_float("x", 0.0, 1.0))
        drawn.append(found)
    assert drawn[0] == drawn[1]


def conditional(trial: optuna.Trial) -> float:
    """Draw from a space whose settings depend on each other; returns a value."""
    kind = trial.suggest_categorical("kind", ["net", "head", "table", "deep"])
    value = trial.suggest_float("lr", 1e-5, 1.0, log=True)
    if kind == "net":
        value += trial.suggest_int("layers", 1, 5) + trial.suggest_float("dropout", 0.0, 0.7, step=0.1)
    if kind == "deep":
        value += trial.suggest_int("unfrozen", 1, 9) - trial.suggest_float("decay by depth", 0.1, 1.0)
    if kind != "table":
        value -= trial.suggest_float("decay", 0.0, 1.0) * (trial.suggest_categorical("norm", [True, False]))
    return value


@pytest.mark.parametrize("directions", [("maximize",), ("maximize", "minimize")])
def test_the_quick_estimator_proposes_what_optunas_own_does(
    directions: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optuna_private.tpe, "_split_trials", optuna_private._split_each_time)
    study = optuna.create_study(directions=list(directions), sampler=optuna.samplers.RandomSampler(seed=1))
    random = np.random.default_rng(0)
    for number in range(90):
        trial = study.ask()
        value = conditional(trial)
        is_deep = trial.params["kind"] == "deep"  # settings that pruned trials alone have
        if (is_deep or number % 5 == 0) and len(directions) == 1:
            trial.report(value, 3)
            study.tell(trial, state=TrialState.PRUNED)
        elif number < 80:
            if number % 7 == 0:
                trial.set_constraint("sensitivity", float(random.normal()))
            study.tell(trial, [value] + [float(random.normal())] * (len(directions) - 1))

    def proposed(sampler: optuna.samplers.BaseSampler) -> list[dict[str, Any]]:
        study.sampler = BoundedSampler(sampler, directions)
        found = []
        for _ in range(6):
            trial = study.ask()
            conditional(trial)
            found.append(trial.params)
            study.tell(trial, state=TrialState.FAIL)
        return found

    plain = optuna.samplers.TPESampler(
        seed=5, n_startup_trials=8, multivariate=True, group=True, constant_liar=True
    )
    expected = proposed(plain)
    assert len({str(params) for params in expected}) == 6
    assert proposed(QuickTPESampler(seed=5, startup_trials=8)) == expected


@pytest.mark.parametrize("name", ["tpe", "random", "gp", "cmaes", "nsga2", "grid"])
def test_a_search_that_was_killed_anywhere_proposes_what_it_would_have(name: str, tmp_path: Path) -> None:
    def settings() -> dict[str, Any]:
        floats = {own: optuna.distributions.FloatDistribution(0.0, 1.0) for own in ("x", "y")}
        return {"kind": optuna.distributions.CategoricalDistribution(("a", "b")), **floats}

    def search(path: Path, killed_at: set[tuple[int, int]]) -> list[dict[str, Any]]:
        """Run 24 trials; at (trial, settings drawn) the process ends and another one takes over."""
        storage = JournalStorage(RunJournal(path))
        study = optuna.create_study(direction="maximize", storage=storage, study_name="one")
        trial: optuna.Trial | None = None
        while True:
            facts = SamplingFacts(
                7 + len(study.trials), 24, ("maximize",), 20, settings, search_seed=7
            )  # as `SearchMethod` makes them
            study.sampler = sampler_named(name).build(facts)
            while len(study.trials) < 24 or trial is not None:
                trial = trial or study.ask()
                for place, (own, values) in enumerate(settings().items()):
                    if (trial.number, place) in killed_at:
                        killed_at.remove((trial.number, place))
                        break
                    trial._suggest(own, values)
                else:
                    study.tell(trial, trial.params["x"] - abs(trial.params["y"] - 0.3))
                    trial = None
                    continue
                break
            else:
                return [own.params for own in study.trials]
            study = optuna.load_study(storage=JournalStorage(RunJournal(path)), study_name="one")
            (left,) = study.get_trials(states=(TrialState.RUNNING,))
            trial = open_trial(study, left)

    undisturbed = search(tmp_path / "a.log", set())
    assert len({json.dumps(params) for params in undisturbed}) > 8
    assert search(tmp_path / "b.log", {(0, 1), (3, 0), (11, 2), (12, 1), (20, 0), (23, 2)}) == undisturbed


NUMBERS = {name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in ("x", "y")}


def evolution() -> optuna.Study:
    """A study that an evolution strategy of two numbers searches from its third trial on."""
    facts = SamplingFacts(7, 60, ("maximize",), 20, lambda: dict(NUMBERS), startup_trials=2)
    study = study_of([])
    study.sampler = sampler_named("cmaes").build(facts)
    return study


def ran(study: optuna.Study, count: int, **fixed: float) -> None:
    """Run trials, of which `fixed` are values that another proposal gives them."""
    for _ in range(count):
        if fixed:
            study.enqueue_trial(fixed)
        trial = study.ask()
        for name, own in NUMBERS.items():
            trial._suggest(name, own)
        study.tell(trial, -((trial.params["x"] - 0.3) ** 2))


def generation_of(study: optuna.Study) -> int:
    """Generation from which the strategy draws the next point."""
    assert study.ask().relative_params
    strategy: Any = study.sampler
    return int(strategy._sampler._strategy.generation)


def test_an_evolution_strategy_learns_from_what_it_drew_alone() -> None:
    study = evolution()
    ran(study, 20, x=0.8)  # another proposal, which the strategy did not draw, takes the place of its own
    assert generation_of(study) == 0
    ran(study, 20)
    assert generation_of(study) > 0


def test_an_evolution_strategy_learns_from_trials_of_versions_that_left_no_note_of_its_draws() -> None:
    study = evolution()
    ran(study, 20)
    earlier = evolution()
    for trial in study.get_trials():
        trial.system_attrs = {key: own for key, own in trial.system_attrs.items() if key != "cmaes:drawn"}
        earlier.add_trial(trial)
    assert generation_of(earlier) == generation_of(study) > 0


def test_an_evolution_strategy_draws_other_points_for_a_trial_that_takes_none() -> None:
    def drawn() -> list[dict[str, Any]]:
        study = evolution()
        ran(study, 4)
        first = study.ask().relative_params
        trial = study.get_trials()[-1]
        return [first, *(study.sampler.sample_relative(study, trial, dict(NUMBERS)) for _ in range(3))]

    found = drawn()
    assert len({tuple(own.values()) for own in found}) == 4
    assert drawn() == found


def test_the_journal_is_one_that_optuna_reads(tmp_path: Path) -> None:
    storage = JournalStorage(RunJournal(tmp_path / "study.log"))
    study = optuna.create_study(storage=storage, study_name="s", direction="maximize")
    for value in (0.1, 0.7):
        trial = study.ask()
        trial.suggest_float("x", 0.0, 1.0)
        study.tell(trial, value)
    assert all(json.loads(line) for line in (tmp_path / "study.log").read_text().splitlines())
    again = JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
    assert optuna.load_study(storage=again, study_name="s").best_value == 0.7


def test_the_window_of_several_metrics_holds_the_front_and_what_keeps_the_requirements() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    for number, values in enumerate(
        [(0.9, 0.9), (0.5, 0.1), (0.4, 0.5), (0.95, 0.05), (0.3, 0.3), (0.2, 0.2)]
    ):
        trial = study.ask()
        trial.set_constraint("recall", 0.5 if number == 3 else -0.1)
        study.tell(trial, values)
    kept = [
        trial.number for trial in window(study.trials, best=2, recent=1, directions=("maximize", "minimize"))
    ]
    assert kept == [0, 1, 5]


def test_every_setting_of_a_conditional_space_is_shown_to_samplers_for_fixed_ones() -> None:
    from orchestrator.study.drawn_points import settings_of
    from orchestrator.testing.sampler import real_spaces

    space, context = real_spaces()["image_classifier"]
    found = settings_of(space, context, {})
    assert len(found) > 45
    assert "optimizer.name" not in settings_of(space, context, {"optimizer.name": "adam"})


def test_choices_of_increasing_numbers_are_numbers_and_others_stay() -> None:
    from optuna.distributions import CategoricalDistribution

    from orchestrator.study.whole_space import coded

    own = coded(CategoricalDistribution((0.0, 0.2, 0.5)))
    assert (own.encode(0.2), own.decode(2)) == (1, 0.5)
    for choices in ((False, True), ("same", 1.0, 1.5), (2, 1, 3)):
        kept = CategoricalDistribution(choices)
        assert coded(kept).seen is kept


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_window_that_grows_with_its_study_is_that_of_all_its_trials(
    direction: Direction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "RUNNING", 9)
    random, growing = np.random.default_rng(0), windows.GrowingWindow(direction)
    trials: list[FrozenTrial] = []
    for number in range(400):
        trial = create_trial(state=TrialState.RUNNING)
        trial.number = number
        trials.append(trial)
        running = [own for own in trials if own.state is TrialState.RUNNING]
        for ended in running[: int(random.integers(0, 3))]:
            ended.state = TrialState.COMPLETE if random.random() < 0.6 else TrialState.PRUNED
            if ended.state is TrialState.COMPLETE:
                ended.values = [float(random.integers(0, 20))]
                ended.system_attrs = {"constraints:f2": float(random.integers(-1, 2))}
        if number % 7 == 0:
            assert growing.of(trials) == window(trials, directions=(direction,))


def test_trials_that_run_are_seen_with_their_settings_and_decode_no_notes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study, seen = study_of([0.5] * 20), list[FrozenTrial]()
    study.sampler = sampler = tpe(0)
    running = study.ask()
    drawn = running.suggest_float("x", 0.0, 1.0)
    assert any(name.startswith("tpe:relative_params") for name in study.trials[20].system_attrs)
    inner = sampler._sampler.sample_relative

    def sample_relative(view: Any, trial: FrozenTrial, search_space: dict[str, Any]) -> Any:
        seen.extend(view.get_trials(states=(TrialState.RUNNING,)))
        return inner(view, trial, search_space)

    monkeypatch.setattr(sampler._sampler, "sample_relative", sample_relative)
    study.ask().suggest_float("x", 0.0, 1.0)
    assert seen[0].number == 20
    assert seen[0].params == {"x": drawn}
    assert not seen[0].system_attrs
    assert study.trials[20].system_attrs


def test_trials_that_have_ended_share_ranges_and_forget_notes_and_the_journal_keeps_both(
    tmp_path: Path,
) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    journal = tmp_path / "study.log"
    own = LongStudyStorage(RunJournal(journal, Patience()))
    study = optuna.create_study(storage=own, study_name="s", sampler=tpe(0), direction="maximize")
    drawn = []
    for _ in range(12):
        trial = study.ask()
        drawn.append((trial.suggest_float("x", 0.0, 1.0), trial.suggest_categorical("kind", ("a", "b"))))
        study.tell(trial, drawn[-1][0])
    seen = study.get_trials(deepcopy=False)
    assert [(trial.params["x"], trial.params["kind"]) for trial in seen] == drawn
    assert len({id(trial._distributions) for trial in seen}) == 1
    assert all(isinstance(trial, EndedTrial) for trial in seen)
    assert not any("tpe:relative_params:0" in trial.system_attrs for trial in seen)
    whole = optuna.load_study(storage=JournalStorage(JournalFileBackend(str(journal))), study_name="s")
    assert [trial.params for trial in whole.trials] == [trial.params for trial in seen]
    assert [trial.distributions for trial in whole.trials] == [trial.distributions for trial in seen]
    assert "tpe:relative_params:0" in whole.trials[-1].system_attrs


def test_a_packed_trial_is_the_trial_that_it_was_and_a_copy_is_an_ordinary_one(tmp_path: Path) -> None:
    own = LongStudyStorage(RunJournal(tmp_path / "study.log", Patience()))
    study = optuna.create_study(storage=own, study_name="s", direction="maximize")
    for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL):
        trial = study.ask()
        drawn = trial.suggest_float("x", 0.0, 1.0)
        trial.suggest_int("depth", 1, 9)
        trial.report(0.25, 3)
        trial.set_user_attr("state", state.name)
        trial.set_constraint("recall", 0.1)
        before = own.get_trial(trial._trial_id)
        study.tell(trial, drawn if state is TrialState.COMPLETE else None, state)
        packed = study.get_trials(deepcopy=False)[-1]
        assert isinstance(packed, EndedTrial)
        for name in (
            "number",
            "params",
            "distributions",
            "user_attrs",
            "system_attrs",
            "intermediate_values",
        ):
            assert getattr(packed, name) == getattr(before, name), name
        assert packed.constraints == {"recall": 0.1}
        assert packed.last_step == 3
        assert packed.duration is not None
    for packed in study.get_trials(deepcopy=False):
        for whole in (copy.copy(packed), copy.deepcopy(packed), pickle.loads(pickle.dumps(packed))):
            assert type(whole) is FrozenTrial
            assert whole == packed
            assert packed == whole
        study.add_trial(packed)
    first, again = study.trials[0], study.trials[3]
    assert (first.params, first.values, first.state) == (again.params, again.values, again.state)


def test_a_sampler_reads_trials_that_are_unpacked(tmp_path: Path) -> None:
    own = LongStudyStorage(RunJournal(tmp_path / "study.log", Patience()))
    study = optuna.create_study(storage=own, study_name="s", sampler=tpe(0), direction="maximize")
    for _ in range(3):
        study.ask().suggest_float("x", 0.0, 1.0)
    study.tell(0, 0.5)
    kept = study.get_trials(deepcopy=False)
    read = [as_read(trial) for trial in kept]
    assert [type(trial) for trial in read] == [FrozenTrial] * 3
    assert read == kept
    assert read[0].params is read[0].params
    assert kept[0].params is not kept[0].params


def test_a_journal_keeps_no_place_of_a_line_that_was_read_and_reads_all_again(tmp_path: Path) -> None:
    journal = RunJournal(tmp_path / "study.log", Patience())
    own = LongStudyStorage(journal)
    study = optuna.create_study(storage=own, study_name="s", direction="maximize")
    kept = []
    for _ in range(30):
        study.tell(study.ask(), 0.5)
        kept.append(len(journal._log_number_offset))
    assert max(kept) < 10
    lines = (tmp_path / "study.log").read_text().splitlines()
    assert [*journal.read_logs(0)] == [json.loads(line) for line in lines]
    assert [*journal.read_logs(len(lines) - 2)] == [json.loads(line) for line in lines[-2:]]
    assert len(LongStudyStorage(journal).get_all_trials(0)) == 30


@pytest.mark.parametrize(
    ("trials", "minutes", "expected"), [(20_000, 3.0, None), (None, 3.0, 24), (None, None, None)]
)
def test_a_sampler_plans_by_what_is_asked_for_and_under_a_time_limit_alone_by_the_usual_number(
    trials: int | None, minutes: float | None, expected: int | None
) -> None:
    method = method_of(search_record(sampler="nsga2", trials=trials, minutes=minutes))
    assert method.expected_trials == expected
    assert method.trials == (trials or (10_000 if minutes else 24))
