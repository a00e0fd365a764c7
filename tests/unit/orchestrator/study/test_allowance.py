"""A trial may cost a share of what the workers have left, and what is computed costs nothing more."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from search_methods import search_method
from space_context import NARROW

from orchestrator.study.allowance import Allowance
from orchestrator.study.price import Pass, PointPrice
from orchestrator.study.study import OptunaStudy, open_study
from results.run.records import TrialRecord
from search_spaces.context import SpaceContext
from search_spaces.enqueue import InitialPoint
from search_spaces.registry import Space
from trainables.config.trial_config import TrialConfig, decode
from trainables.features.feature_use import FeatureUse

pytestmark = pytest.mark.slow

SHRINKAGES = tuple(step / 50 for step in range(50))
SECONDS = {None: 0.0, 64: 30.0, 96: 30.0, 128: 90.0}
HEAD = {"model.backbone": "texture", "classical.name": "lda"}


def a_pass(side: int | None) -> Pass:
    return Pass("texture", side or 0, 1.0, "d4-0")


def by_side(config: TrialConfig) -> PointPrice:
    side = config.input.size_px
    return PointPrice({a_pass(side): SECONDS[side]}, 0.0)


def heads(trial: Any, context: SpaceContext) -> dict[str, Any]:
    return {
        **HEAD,
        "input.size_px": trial.suggest_categorical("side", (None, 64, 96, 128)),
        "classical.shrinkage": trial.suggest_categorical("shrinkage", SHRINKAGES),
    }


def sided(side: int | None) -> TrialConfig:
    return decode({**HEAD, "input.size_px": side})


def ended(number: int, value: float, **fields: Any) -> TrialRecord:
    return TrialRecord(
        number=number,
        state="complete",
        value=value,
        config=fields.pop("config", {}),
        fingerprint="f",
        seed=0,
        finished_at=datetime(2026, 1, 1, tzinfo=UTC),
        **fields,
    )


def sides(
    journal: Path, seconds_left: float | None, trials: int, stored: tuple[Pass, ...] = ()
) -> list[int | None]:
    """Sides of the images of a search's trials; the largest images are the best."""
    allowance = Allowance(by_side, stored)
    method = search_method(trials=trials, sampler="tpe", seed=0)
    opened = open_study(storage=None, journal=journal, name="t/n", is_new=True)
    study = OptunaStudy(opened, Space("heads", heads, ()), NARROW, {}, method, allowance=allowance)
    if seconds_left is not None:
        allowance.begin(lambda: seconds_left, lambda: 2)
    found = []
    while len(found) < trials and (spec := study.ask()) is not None:
        found.append(spec.config.input.size_px)
        study.tell(ended(spec.number, (spec.config.input.size_px or 0) / 128))
    return found


def test_without_a_time_limit_a_trial_may_cost_what_it_likes(tmp_path: Path) -> None:
    assert 128 in sides(tmp_path / "study.log", None, 20)


def test_a_pass_that_stands_for_too_many_others_is_not_proposed(tmp_path: Path) -> None:
    # An eighth of what two workers have left is 50 seconds: one pass of 30, none of 90.
    assert set(sides(tmp_path / "study.log", 200.0, 40)) == {None, 64, 96}


def test_late_in_a_search_only_what_is_computed_is_proposed(tmp_path: Path) -> None:
    assert set(sides(tmp_path / "study.log", 8.0, 30)) == {None}


def test_a_stored_pass_costs_nothing(tmp_path: Path) -> None:
    assert set(sides(tmp_path / "study.log", 8.0, 30, stored=(a_pass(128),))) == {None, 128}


def test_what_nothing_cheaper_is_left_beside_is_proposed_all_the_same(tmp_path: Path) -> None:
    found = sides(tmp_path / "study.log", 8.0, 60)
    assert set(found[:40]) == {None}
    assert len(found) == 60  # of which fifty can be without a pass
    assert {64, 96} & set(found)


def test_where_all_is_too_dear_the_sampler_still_decides(tmp_path: Path) -> None:
    def dear(config: TrialConfig) -> PointPrice:
        return PointPrice({}, 600.0)

    def proposed(name: str, allowance: Allowance) -> list[float]:
        opened = open_study(storage=None, journal=tmp_path / name, name="t/n", is_new=True)
        method = search_method(trials=20, sampler="tpe", seed=0)
        study = OptunaStudy(opened, Space("heads", heads, ()), NARROW, {}, method, allowance=allowance)
        found = []
        while len(found) < 20 and (spec := study.ask()) is not None:
            found.append(spec.config.classical.shrinkage)
            study.tell(ended(spec.number, 1.0 - abs(float(spec.config.classical.shrinkage) - 0.5)))
        return found

    limited = Allowance(dear)
    limited.begin(lambda: 60.0, lambda: 2)
    assert proposed("limited", limited) == proposed("free", Allowance())


def test_a_pass_is_paid_for_once() -> None:
    allowance = Allowance(by_side)
    assert allowance.cost(sided(96)) == 30.0
    allowance.hand_out(sided(96))
    assert (allowance.cost(sided(96)), allowance.cost(sided(64))) == (0.0, 30.0)


def test_a_pass_that_another_worker_makes_costs_as_much_as_waiting_for_it() -> None:
    allowance = Allowance(by_side)
    allowance.begin(lambda: 1000.0, lambda: 2)
    allowance.begin_trial(0, sided(96))
    allowance.begin_trial(1, sided(96))  # waits for the first, and makes nothing
    assert allowance.awaits(sided(96))
    assert not allowance.awaits(sided(64))
    assert allowance.cost(sided(96)) == 30.0
    allowance.open_trial(0)  # both still run
    assert not allowance.awaits(sided(96))
    assert allowance.cost(sided(96)) == 0.0


def test_a_pass_that_never_ended_is_not_made() -> None:
    """Out of memory in its pass: the trial that waited for it makes it, and then nobody has made it."""
    allowance = Allowance(by_side)
    allowance.begin(lambda: 1000.0, lambda: 2)
    allowance.begin_trial(0, sided(96))
    allowance.begin_trial(1, sided(96))
    allowance.end_trial(0)
    assert allowance.awaits(sided(96))  # for the second one
    allowance.postpone_trial(1)  # it is to run alone, after all others
    assert not allowance.awaits(sided(96))
    assert allowance.cost(sided(96)) == 30.0
    allowance.open_trial(1)
    allowance.end_trial(1)
    assert allowance.cost(sided(96)) == 0.0


def sized(trial: Any, context: SpaceContext) -> dict[str, Any]:
    return {**HEAD, "input.size_px": trial.suggest_categorical("input.size_px", (None, 96))}


@pytest.mark.parametrize("opens", [True, False])
def test_a_study_knows_which_passes_its_trials_have_made(tmp_path: Path, opens: bool) -> None:
    def opened(journal: Path) -> tuple[OptunaStudy, Allowance]:
        allowance = Allowance(by_side)
        allowance.begin(lambda: 1000.0, lambda: 2)
        method = search_method(trials=9, sampler="tpe", seed=0)
        stored = open_study(storage=None, journal=journal, name="t/n", is_new=not journal.exists())
        space = Space("sized", sized, ())
        return OptunaStudy(stored, space, NARROW, {}, method, allowance=allowance), allowance

    study, allowance = opened(tmp_path / "study.log")
    study.enqueue([InitialPoint("first", {**HEAD, "input.size_px": 96})])
    assert study.ask() is not None
    assert allowance.awaits(sided(96))
    use = None
    if opens:
        study.note_open(0)
        assert not allowance.awaits(sided(96))
        use = FeatureUse("stored views", "top", 1, 1, 2)
    assert study.ask() is not None  # the sampler has seen the running trial, and proposes the other side
    study.tell(ended(0, 0.5).model_copy(update={"state": "failed", "cause": "exception", "prefix": use}))
    expected = 0.0 if opens else 30.0
    assert study.ask() is not None
    assert allowance.cost(sided(96)) == expected
    resumed, known = opened(tmp_path / "study.log")
    assert resumed.ask() is not None
    assert known.cost(sided(96)) == expected


def test_a_trial_that_has_as_much_to_do_itself_does_not_wait() -> None:
    def both(config: TrialConfig) -> PointPrice:
        own = by_side(config).passes
        return PointPrice({**own, a_pass(96): 30.0}, 0.0)

    allowance = Allowance(both)
    allowance.begin(lambda: 1000.0, lambda: 2)
    allowance.begin_trial(0, sided(96))
    assert allowance.awaits(sided(None))
    assert not allowance.awaits(sided(64))  # 30 s of its own beside 30 s of the other


def test_a_single_worker_waits_for_nobody() -> None:
    allowance = Allowance(by_side)
    allowance.begin(lambda: 1000.0, lambda: 1)
    allowance.begin_trial(0, sided(96))
    assert not allowance.awaits(sided(96))
    assert allowance.cost(sided(96)) == 0.0


def test_first_points_wait_for_a_pass_that_another_trial_makes(tmp_path: Path) -> None:
    def asked(name: str, workers: int, trials: int = 9) -> list[str]:
        """Names of the first points as they were handed out, while the first of them runs until the end."""
        allowance = Allowance(by_side)
        allowance.begin(lambda: 1000.0, lambda: workers)
        method = search_method(trials=trials, sampler="tpe", seed=0)
        opened = open_study(storage=None, journal=tmp_path / name, name="t/n", is_new=True)
        study = OptunaStudy(opened, Space("heads", heads, ()), NARROW, {}, method, allowance=allowance)
        sides = {"first": 96, "same": 96, "none": None, "other": 64}
        study.enqueue([InitialPoint(own, {**HEAD, "input.size_px": side}) for own, side in sides.items()])
        found = []
        for place in range(trials):
            spec = study.ask()
            assert spec is not None
            found.append(spec.recipe)
            if spec.recipe != "first":
                study.tell(ended(spec.number, 0.5))
            if place == 4:
                study.tell(ended(0, 0.5))
        assert study.ask() is None
        return found

    in_order = ["first", "same", "none", "other"]
    assert asked("one", 1) == [*in_order, *[""] * 5]
    found = asked("two", 2)
    assert found[:2] == ["first", ""]
    assert [own for own in found if own] == in_order
    assert asked("few", 2, trials=4) == in_order  # where nothing else can be tried, they come all the same


@pytest.mark.parametrize(
    ("workers", "left", "limit"), [(1, 80.0, 10.0), (8, 80.0, 64.0), (2, -5.0, 0.0), (0, 80.0, 10.0)]
)
def test_the_limit_is_an_eighth_of_what_workers_have_left_and_a_trial_can_end(
    workers: int, left: float, limit: float
) -> None:
    allowance = Allowance(by_side)
    assert allowance.limit == math.inf
    allowance.begin(lambda: left, lambda: workers)
    assert allowance.limit == limit


def test_what_heads_took_is_learned_without_the_start_of_their_workers() -> None:
    """A worker's first trial opens data and builds nets, which takes seconds that its head does not."""
    allowance = Allowance(by_side)
    for number, seconds in enumerate((4.0, 8.0)):
        allowance.learn(ended(number, 0.7, config=HEAD, wall_seconds=28.0, epochs=1, epoch_seconds=seconds))
    assert allowance.cost(sided(None)) == pytest.approx(6.0)
    assert allowance.cost(decode({**HEAD, "classical.name": "logistic"})) == pytest.approx(6.0)


def test_a_search_that_goes_on_knows_what_heads_took_before(tmp_path: Path) -> None:
    method = search_method(trials=4, sampler="tpe", seed=0)
    journal = tmp_path / "study.log"
    space, records = Space("heads", heads, ()), dict[int, TrialRecord]()
    first = OptunaStudy(
        open_study(storage=None, journal=journal, name="t/n", is_new=True),
        space,
        NARROW,
        {},
        method,
        allowance=Allowance(by_side),
    )
    for number, seconds in enumerate((4.0, 8.0)):
        assert first.ask() is not None
        records[number] = ended(number, 0.7, config=HEAD, epochs=1, epoch_seconds=seconds)
    first.tell(records[0])  # and the driver was killed before the second could be told
    allowance = Allowance(by_side)
    opened = open_study(storage=None, journal=journal, name="t/n", is_new=False)
    again = OptunaStudy(opened, space, NARROW, {}, method, allowance=allowance)
    assert again.adopt(records) == 0
    assert allowance.cost(sided(None)) == pytest.approx(6.0)  # each of the two once


def test_heads_on_what_is_computed_come_before_each_first_point_that_takes_long(tmp_path: Path) -> None:
    def asked(sampler: str, *, seconds: float = 200.0, trials: int = 40) -> list[tuple[str, int | None]]:
        allowance = Allowance(by_side)
        allowance.begin(lambda: seconds, lambda: 2)
        method = search_method(trials=trials, sampler=sampler, seed=0)
        journal = tmp_path / f"{sampler}-{seconds}-{trials}.log"
        opened = open_study(storage=None, journal=journal, name="t/n", is_new=True)
        study = OptunaStudy(opened, Space("heads", heads, ()), NARROW, {}, method, allowance=allowance)
        sides = {"a": None, "b": None, "c": None, "d": None, "long": 96, "longer": 64}
        study.enqueue(
            [
                InitialPoint(own, {**HEAD, "input.size_px": side, "classical.shrinkage": place / 50})
                for place, (own, side) in enumerate(sides.items())
            ]
        )
        found = []
        for _ in range(18):
            spec = study.ask()
            assert spec is not None
            found.append((spec.recipe, spec.config.input.size_px))
            study.tell(ended(spec.number, 0.5))
        return found

    cheap = [(name, None) for name in "abcd"]
    found = asked("tpe")
    assert found[:11] == [*cheap, *[("", None)] * 6, ("long", 96)]
    assert [recipe for recipe, _ in found[11:]] == ["", "", "", "", "", "", "longer"]
    assert {side for _, side in found[11:17]} <= {None, 96}  # the pass of 64 is not made yet
    # A search that learns nothing has nothing to put before them, and one that is short keeps its points.
    first = [*"abcd", "long", "longer"]
    assert [recipe for recipe, _ in asked("random")[:6]] == first
    assert [recipe for recipe, _ in asked("tpe", trials=18)][-6:].count("longer") == 1
    # What takes an eighth of a trial's share is not long.
    assert [recipe for recipe, _ in asked("tpe", seconds=2000.0)[:6]] == first


def test_what_heads_took_is_learned_of_trained_ones_too() -> None:
    allowance = Allowance(by_side)
    for trained, seconds in ((0, 6.0), (1, 90.0)):
        config = {"model.backbone": "texture", "model.trained_stages": trained}
        allowance.learn(
            ended(0, 0.5, config=config, epochs=1, epoch_seconds=seconds / 30).model_copy(
                update={"cause": "time_budget"}
            )
        )
    assert allowance.cost(decode({"model.backbone": "texture"})) == 6.0


def test_what_trained_heads_took_corrects_the_guess_of_others() -> None:
    """A head of fifty times the weights is taken to be as much slower than guessed as the first small one."""

    def guessed(config: TrialConfig) -> PointPrice:
        return PointPrice({}, 0.0, 1280, head=0.5 * math.prod(config.model.head.hidden))

    allowance = Allowance(guessed)
    small, large = ({"model.backbone": "texture", "model.head.hidden": hidden} for hidden in ([2], [100]))
    assert allowance.cost(decode(large)) == 50.0
    allowance.learn(ended(0, 0.5, config=small, epochs=20, epoch_seconds=0.1))
    assert allowance.cost(decode(large)) == 100.0
    allowance.learn(ended(1, 0.5, config=large, epochs=25, epoch_seconds=1.0))
    assert allowance.cost(decode(small)) == pytest.approx(27.0 / 51.0)


@pytest.mark.parametrize(
    ("state", "cause", "seconds"),
    [
        ("complete", None, 36.0),  # its patience ran out, which is a part of what such heads take
        ("complete", "time_budget", 90.0),
        ("pruned", "time_budget", 90.0),
        ("pruned", "pruner", 90.0),
    ],
)
def test_a_trained_head_that_was_cut_is_taken_to_need_all_its_epochs(
    state: str, cause: str | None, seconds: float
) -> None:
    """Guessed to take 20 s, it has trained for 36 s of the 90 s that all its 30 epochs take."""
    allowance = Allowance(lambda config: PointPrice({}, 0.0, 1280, head=20.0))
    settings = {"model.backbone": "texture", "training.epochs": 30}
    cut = ended(0, 0.5, config=settings, epochs=12, epoch_seconds=3.0, wall_seconds=9.0)
    allowance.learn(cut.model_copy(update={"state": state, "cause": cause}))
    assert allowance.cost(decode(settings)) == pytest.approx(seconds)
    allowance.learn(ended(1, 0.5, config=settings, wall_seconds=99.0))  # without an epoch
    assert allowance.cost(decode(settings)) == pytest.approx(seconds)


def test_a_head_takes_longer_on_more_columns_than_those_that_were_tried() -> None:
    def wide(config: TrialConfig) -> PointPrice:
        """A map of fifty columns for each pixel of the side."""
        return PointPrice({}, 0.0, 50 * (config.input.size_px or 0))

    def head(columns: int, **settings: Any) -> TrialConfig:
        own = {name.replace("__", "."): value for name, value in settings.items()}
        return decode({**HEAD, "input.size_px": columns // 50, **own})

    def learn(seconds: float, columns: int, **settings: Any) -> None:
        own = {name.replace("__", "."): value for name, value in settings.items()}
        config = {**HEAD, "input.size_px": columns // 50, **own}
        allowance.learn(ended(0, 0.7, config=config, epochs=1, epoch_seconds=seconds))

    allowance = Allowance(wide)
    assert allowance.cost(head(60_000)) == 0.0  # nothing was tried yet
    learn(2.0, 1_500)
    assert allowance.cost(head(60_000)) == pytest.approx(80.0)
    assert allowance.cost(head(800)) == pytest.approx(2.0 * 1_000 / 1_500)
    learn(30.0, 30_000)
    assert allowance.cost(head(60_000)) == pytest.approx(60.0)
    assert allowance.cost(head(1_500)) == pytest.approx(2.0)
    # Another head is taken to cost what others cost until it was tried, the same unscaled what it costs.
    assert allowance.cost(head(1_500, classical__name="logistic")) == pytest.approx(2.0)
    learn(1.0, 60_000, classical__name="ridge")
    learn(99.0, 60_000, classical__name="logistic")
    assert allowance.cost(head(60_000, classical__name="linear_svm")) == pytest.approx(60.0)
    assert allowance.cost(head(60_000, classical__name="ridge", classical__standardize=False)) == 1.0
    assert allowance.cost(decode({"model.backbone": "texture"})) == 0.0  # no trained head was tried
    assert allowance.cost(head(60_000, classical__name="logistic", classical__pca=16)) == 0.0
    learn(1.0, 1_500, classical__pca=16)  # components cost the rows up to some thousand columns
    assert allowance.cost(head(9_000, classical__pca=16)) == pytest.approx(1.0)
    assert allowance.cost(head(60_000, classical__pca=16)) == pytest.approx(6.0)
