"""What every sampler must do, as a class of tests: name yours and let pytest run it.

```python
from orchestrator.testing.sampler import SamplerContract

class TestMine(SamplerContract):
    sampler = "my_module:my_sampler"
```
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import pytest

from orchestrator.study.method import SearchMethod
from orchestrator.study.pruners import pruner_named
from orchestrator.study.sampler import Sampler
from orchestrator.study.samplers import sampler_named
from orchestrator.study.study import OptunaStudy, open_study
from orchestrator.study.trial_spec import TrialSpec
from results.run.records import TrialRecord
from results.scores.ranking import Objectives, parse_requirement
from search_spaces.classical_models import table_classifier
from search_spaces.context import SpaceContext
from search_spaces.enqueue import InitialPoint
from search_spaces.image_classifier import image_classifier
from search_spaces.registry import Space
from trainables.config.trial_config import flatten
from trainables.models.registry import DEFAULT_BACKBONES, backbone_named
from trainables.models.table import TABLE

_EPOCHS: Final = 20
State = Literal["complete", "pruned", "failed"]


def curved(trial: Any, context: SpaceContext) -> dict[str, Any]:
    """A space with a condition and with numbers of every kind, whose best point is known: see `height`."""
    name = trial.suggest_categorical("optimizer.name", ("adam", "sgd"))
    settings = {
        "model.backbone": "scratch4",
        "optimizer.name": name,
        "optimizer.lr": trial.suggest_float(f"optimizer.lr@{name}", 1e-4, 1e-1, log=True),
        "optimizer.weight_decay": trial.suggest_categorical(
            "optimizer.weight_decay", (0.0, 1e-4, 1e-3, 1e-2)
        ),
        "model.head.dropout": trial.suggest_float("model.head.dropout", 0.0, 0.8),
        "training.batch_size": trial.suggest_int("training.batch_size", 8, 64, step=8),
    }
    if name == "sgd":
        settings["optimizer.momentum"] = trial.suggest_float("optimizer.momentum", 0.0, 0.9)
    return settings


def height(spec: TrialSpec) -> float:
    """Return a smooth score in (0, 1) of a point of `curved`, best for Adam with a rate of 0.003."""
    settings = flatten(spec.config.model_dump())
    far = abs(math.log10(settings["optimizer.lr"]) + 2.5) + abs(settings["model.head.dropout"] - 0.3)
    return 0.95 - 0.15 * min(far, 4.0) - (0.1 if settings["optimizer.name"] == "sgd" else 0.0)


def narrow_context() -> SpaceContext:
    """Return the facts for a space that asks for none."""
    return SpaceContext(
        backbones=("scratch4",),
        from_scratch=frozenset({"scratch4"}),
        fine_tunes={},
        flattens={},
        levels={},
        adapts_channels=frozenset(),
        augmentations=(),
        sizes_px={},
        epochs=_EPOCHS,
        images=100,
    )


def wide_context(*, is_table: bool = False) -> SpaceContext:
    """Return the facts of a machine that affords every backbone that a search tries by itself."""
    names = (TABLE.name,) if is_table else DEFAULT_BACKBONES
    levels = {name: () if is_table else backbone_named(name).cut_names for name in names}
    return SpaceContext(
        backbones=names,
        from_scratch=frozenset(
            name for name in names if not is_table and not backbone_named(name).has_imagenet_weights
        ),
        fine_tunes={name: own[:2] for name, own in levels.items()},
        flattens=levels,
        levels=levels,
        adapts_channels=frozenset(),
        augmentations=("none", "flips", "d4", "rotate"),
        sizes_px=dict.fromkeys(names, 150),
        epochs=_EPOCHS,
        images=100,
    )


def real_spaces() -> Mapping[str, tuple[Space, SpaceContext]]:
    """Return the spaces of our tasks by name, each with facts: they have conditions throughout."""
    image = Space("image_classifier", image_classifier, ())
    table = Space("table_classifier", table_classifier, ())
    return {image.name: (image, wide_context()), table.name: (table, wide_context(is_table=True))}


@dataclass(slots=True)
class TriedSearch:
    """A search without training: trials end at once, with the score that a function gives them.

    Attributes:
        study: The study, in a journal file.
        score: Function from a trial to its values by metric, the main one first.
    """

    study: OptunaStudy
    score: Callable[[TrialSpec], Mapping[str, float]]

    def run(self, count: int, *, crashes: Callable[[TrialSpec], bool] | None = None) -> list[TrialSpec]:
        """Run up to some trials one after the other; returns them."""
        ran: list[TrialSpec] = []
        while len(ran) < count and (spec := self.study.ask()) is not None:
            ran.append(spec)
            is_crash = crashes is not None and crashes(spec)
            self.study.tell(ended(spec, {} if is_crash else self.score(spec)))
        return ran


def ended(spec: TrialSpec, values: Mapping[str, float], state: State | None = None) -> TrialRecord:
    """Return the record of a trial that ended with some values; without values it has crashed."""
    return TrialRecord(
        number=spec.number,
        state=state or ("complete" if values else "failed"),
        cause=None if values else "nan",
        value=next(iter(values.values()), None),
        values=dict(values),
        epochs=_EPOCHS if values else 0,
        config=flatten(spec.config.model_dump(mode="json")),
        params=dict(spec.params),
        recipe=spec.recipe,
        fingerprint="none",
        seed=0,
        finished_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


class SamplerContract:
    """Tests that every sampler passes.

    Attributes:
        sampler: Name of the sampler as `--sampler` takes it, or a `Sampler`.
        beats_chance: It learns, so that its later points are better than its first ones.
        trials: Number of trials that it is given to show that, at least 30.
    """

    sampler: ClassVar[str | Sampler]
    beats_chance: ClassVar[bool] = True
    trials: ClassVar[int] = 60

    def search(
        self,
        folder: Path,
        *,
        trials: int = 30,
        seed: int = 0,
        space: tuple[Space, SpaceContext] | None = None,
        metrics: tuple[str, ...] = ("auc",),
        requirements: tuple[str, ...] = (),
        score: Callable[[TrialSpec], Mapping[str, float]] | None = None,
    ) -> TriedSearch:
        """Begin a search in a folder, or go on with the one that is there."""
        sampler = self.sampler if isinstance(self.sampler, Sampler) else sampler_named(self.sampler)
        method = SearchMethod(
            Objectives(metrics, tuple(map(parse_requirement, requirements))),
            sampler,
            pruner_named("none"),
            seed=seed,
            trials=trials,
            epochs=_EPOCHS,
            folds=4,
        )
        journal = folder / "study.log"
        study = open_study(
            storage=None,
            journal=journal,
            name="contract",
            directions=method.objectives.directions,
            is_new=not journal.exists(),
        )
        own, context = space or (Space("curved", curved, ()), narrow_context())
        return TriedSearch(
            OptunaStudy(study, own, context, {}, method), score or (lambda spec: {metrics[0]: height(spec)})
        )

    @pytest.mark.parametrize("name", sorted(real_spaces()))
    def test_points_of_the_real_spaces_are_valid_and_differ(self, name: str, tmp_path: Path) -> None:
        """Every proposal of a conditional space can run, whatever was learned, and they are not all alike."""
        search = self.search(
            tmp_path, space=real_spaces()[name], score=lambda spec: {"auc": 0.5 + spec.number % 7 / 20}
        )
        ran = search.run(14)  # a point that cannot run would raise
        assert len(ran) == 14
        assert len({str(spec.config) for spec in ran}) > 7  # generations of a small space repeat points

    def test_the_same_seed_proposes_the_same_points_and_another_seed_others(self, tmp_path: Path) -> None:
        """A search on one worker can be repeated."""
        found = []
        for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
            (tmp_path / folder).mkdir()
            found.append([spec.params for spec in self.search(tmp_path / folder, seed=seed).run(16)])
        assert found[0] == found[1] != found[2]

    def test_a_resumed_search_goes_on_and_does_not_begin_anew(self, tmp_path: Path) -> None:
        """What a search has tried it knows after a resume."""
        first = self.search(tmp_path).run(14)
        later = self.search(tmp_path).run(16)
        assert [spec.number for spec in (*first, *later)] == list(range(30))
        before = [str(spec.params) for spec in first]
        assert sum(str(spec.params) in before for spec in later) < len(later) // 2  # crossing may repeat some

    @pytest.mark.parametrize("metric", ["auc", "log_loss"])
    def test_it_finds_good_points_whichever_way_is_better(self, metric: str, tmp_path: Path) -> None:
        """With a metric that is minimised, too, it looks where that is better."""

        def score(spec: TrialSpec) -> dict[str, float]:
            return {metric: height(spec) if metric == "auc" else 1.0 - height(spec)}

        early, late = [], []
        for seed in range(2):
            folder = tmp_path / str(seed)
            folder.mkdir()
            ran = self.search(folder, trials=self.trials, seed=seed, metrics=(metric,), score=score).run(
                self.trials
            )
            heights = [height(spec) for spec in ran]
            early += heights[:8]
            late += heights[-10:]
        assert max(early + late) > 0.75
        if self.beats_chance:
            assert sum(late) / len(late) > sum(early) / len(early) + 0.03

    def test_it_learns_to_stay_away_from_what_crashes(self, tmp_path: Path) -> None:
        """Trials that crash are told as pruned ones without a value."""

        def crashes(spec: TrialSpec) -> bool:
            return bool(spec.config.optimizer.lr > 0.01)

        ran = self.search(tmp_path, trials=self.trials).run(self.trials, crashes=crashes)
        assert sum(map(crashes, ran[:15])) >= 2
        if self.beats_chance:
            assert sum(map(crashes, ran[-15:])) <= sum(map(crashes, ran[:15]))

    def test_first_points_with_other_settings_are_no_hindrance(self, tmp_path: Path) -> None:
        """Recipes may lie outside of the space and have few of its settings."""
        search = self.search(tmp_path)
        point = {"model.backbone": "vgg16", "optimizer.name": "rmsprop", "optimizer.lr": 0.5}
        search.study.enqueue([InitialPoint("outside", point)])
        ran = search.run(20)
        assert [spec.recipe for spec in ran] == ["outside"] + [""] * 19

    def test_several_trials_at_once_are_not_the_same(self, tmp_path: Path) -> None:
        """Points are asked for while others run."""
        search = self.search(tmp_path)
        search.run(12)
        asked = [search.study.ask() for _ in range(6)]
        assert len({str(spec.params) for spec in asked if spec}) == 6

    def test_it_takes_several_metrics_or_says_that_it_does_not(self, tmp_path: Path) -> None:
        """One that takes one metric only is refused in a sentence before a search begins."""
        sampler = self.sampler if isinstance(self.sampler, Sampler) else sampler_named(self.sampler)
        if not sampler.takes_many_metrics:
            return

        def score(spec: TrialSpec) -> dict[str, float]:
            return {"auc": height(spec), "log_loss": float(spec.config.model.head.dropout)}

        search = self.search(tmp_path, trials=24, metrics=("auc", "log_loss"), score=score)
        ran = search.run(24, crashes=lambda spec: spec.number % 5 == 4)
        assert len(ran) == 24
        assert len(search.study.study.best_trials) >= 1
        assert len(self.search(tmp_path, trials=30, metrics=("auc", "log_loss"), score=score).run(6)) == 6

    def test_it_takes_requirements(self, tmp_path: Path) -> None:
        """A complete trial says by how much it misses each requirement."""

        def score(spec: TrialSpec) -> dict[str, float]:
            return {"auc": height(spec), "recall": 1.0 - float(spec.config.model.head.dropout)}

        search = self.search(tmp_path, trials=24, requirements=("recall>=0.5",), score=score)
        ran = search.run(24)
        told = search.study.study.get_trials(deepcopy=False)
        missed = [trial.constraints["recall"] for trial in told]
        assert missed == pytest.approx([0.5 - score(spec)["recall"] for spec in ran])
