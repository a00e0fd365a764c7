"""What every pruner must do, as a class of tests: name yours and let pytest run it.

```python
from orchestrator.testing.pruner import PrunerContract

class TestMine(PrunerContract):
    pruner = "my_module:my_pruner"
```
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import pytest

from orchestrator.estimate.cost_model import TrialCost
from orchestrator.estimate.drawn_search import draw_epochs
from orchestrator.study.method import SearchMethod
from orchestrator.study.pruner import NEVER_PRUNED, Pruner
from orchestrator.study.pruners import NONE, pruner_named
from orchestrator.study.samplers import sampler_named
from orchestrator.study.study import OptunaStudy, open_study
from orchestrator.testing.sampler import curved, ended, narrow_context
from results.scores.ranking import Objectives
from search_spaces.enqueue import InitialPoint
from search_spaces.registry import Space

EPOCHS: Final = 20
FOLDS: Final = 4


class PrunerContract:
    """Tests that every pruner passes.

    Attributes:
        pruner: Name of the pruner as `--pruner` takes it, or a `Pruner`.
        stops_the_worst: It stops a trial that is far worse than many finished ones, at every epoch.
    """

    pruner: ClassVar[str | Pruner]
    stops_the_worst: ClassVar[bool] = True

    @property
    def own(self) -> Pruner:
        """The pruner."""
        return self.pruner if isinstance(self.pruner, Pruner) else pruner_named(self.pruner)

    def study(self, folder: Path, *, metric: str = "auc", trials: int = 40) -> OptunaStudy:
        """Begin a study in a folder, or go on with the one that is there."""
        method = SearchMethod(
            Objectives((metric,)),
            sampler_named("random"),
            self.own,
            seed=0,
            trials=trials,
            epochs=EPOCHS,
            folds=FOLDS,
        )
        journal = folder / "study.log"
        study = open_study(
            storage=None,
            journal=journal,
            name="contract",
            directions=method.objectives.directions,
            is_new=not journal.exists(),
        )
        return OptunaStudy(study, Space("curved", curved, ()), narrow_context(), {}, method)

    def test_it_asks_for_epochs_of_the_search_in_order(self) -> None:
        """What decides where trials are compared is a pure function of the epoch."""
        for longest in (1, 3, 20, 50):
            decides = [self.own.decides_at(epoch, longest) for epoch in range(1, longest + 1)]
            assert all(isinstance(own, bool) for own in decides)
            assert decides == [self.own.decides_at(epoch, longest) for epoch in range(1, longest + 1)]

    @pytest.mark.parametrize("metric", ["auc", "log_loss"])
    def test_the_best_trial_so_far_is_never_stopped(self, metric: str, tmp_path: Path) -> None:
        """Each trial is better than all before it, at every epoch and in every fold."""
        study = self.study(tmp_path, metric=metric)
        for number in range(12):
            level = 0.5 + number / 50
            assert run_trial(study, _curve(level, metric)) == EPOCHS

    @pytest.mark.parametrize("metric", ["auc", "log_loss"])
    def test_it_stops_the_worst_at_a_comparison_and_never_before(self, metric: str, tmp_path: Path) -> None:
        """Whether the metric is better when it is higher or lower, it stops what is worse."""
        study = self.study(tmp_path, metric=metric)
        for number in range(10):
            run_trial(study, _curve(0.8 + number / 100, metric))
        reached = run_trial(study, _curve(0.55, metric))
        assert reached == EPOCHS or self.own.decides_at(reached, EPOCHS)
        if self.stops_the_worst:
            assert reached < EPOCHS

    def test_the_first_trials_and_the_first_points_always_finish(self, tmp_path: Path) -> None:
        """They are the measure for the others, however bad they are."""
        study = self.study(tmp_path)
        for number in range(NEVER_PRUNED):
            assert run_trial(study, _curve(0.9 - number / 10, "auc")) == EPOCHS
        study.enqueue([InitialPoint("first", {"model.backbone": "vgg16"})])
        assert run_trial(study, _curve(0.3, "auc")) == EPOCHS

    def test_trials_that_stopped_by_themselves_are_no_hindrance(self, tmp_path: Path) -> None:
        """Patience ends most trials before the last comparison."""
        study = self.study(tmp_path)
        for number in range(12):
            run_trial(study, _curve(0.6 + number % 5 / 20, "auc"), last=3 + number)
        assert run_trial(study, _curve(0.95, "auc")) == EPOCHS

    def test_a_resumed_search_compares_with_what_was_there(self, tmp_path: Path) -> None:
        """A pruner keeps nothing in memory that a resumed search would miss."""
        study = self.study(tmp_path)
        for number in range(10):
            run_trial(study, _curve(0.8 + number / 100, "auc"))
        resumed = self.study(tmp_path)
        assert run_trial(resumed, _curve(0.95, "auc")) == EPOCHS
        if self.stops_the_worst:
            assert run_trial(resumed, _curve(0.55, "auc")) < EPOCHS

    def test_reports_in_between_change_nothing(self, tmp_path: Path) -> None:
        """Only what is seen at its comparisons counts: a worker reports there and may skip the rest."""
        study = self.study(tmp_path)
        spec = study.ask()
        assert spec is not None
        for epoch in range(1, EPOCHS + 1):
            if not self.own.decides_at(epoch, EPOCHS):
                assert not study.should_prune(spec.number, epoch, 0.5, [0.5] * FOLDS)
        (trial,) = study.study.get_trials(deepcopy=False)
        assert trial.intermediate_values == {}
        assert spec.compared_at == tuple(
            epoch for epoch in range(1, EPOCHS + 1) if self.own.decides_at(epoch, EPOCHS)
        )

    def test_the_plan_of_a_search_with_it_ends(self) -> None:
        """A simulated trial stops at a comparison or at its end, and the share that goes on is one."""
        assert 0.0 <= self.own.survival <= 1.0
        random = np.random.default_rng(0)
        point = TrialCost(
            backbone="vgg16",
            epochs=EPOCHS,
            patience=None,
            is_recipe=False,
            passes=(),
            epoch_seconds=1.0,
            memory_bytes=0,
        )
        for number in range(200):
            reached = draw_epochs(point, number, self.own, random, longest=EPOCHS)
            assert reached == EPOCHS or self.own.decides_at(reached, EPOCHS)
            assert number >= NEVER_PRUNED or reached == EPOCHS

    def test_without_comparisons_it_is_named_none(self) -> None:
        """One that never compares is the pruner `none`, which is the default with several metrics."""
        compares = any(self.own.decides_at(epoch, EPOCHS) for epoch in range(1, EPOCHS + 1))
        assert compares == (self.own.name != NONE)


def run_trial(study: OptunaStudy, curve: Callable[[int], Sequence[float]], *, last: int = EPOCHS) -> int:
    """Run a trial whose folds have these values at each epoch; returns the epoch at which it ended."""
    spec = study.ask()
    assert spec is not None
    metric = study.method.objectives.metrics[0]
    for epoch in range(1, last + 1):
        folds = curve(epoch)
        value = float(np.mean(folds))
        if study.should_prune(spec.number, epoch, value, folds):
            record = ended(spec, {metric: value}, "pruned")
            study.tell(record.model_copy(update={"cause": "pruner", "epochs": epoch}))
            return epoch
    study.tell(ended(spec, {metric: float(np.mean(curve(last)))}))
    return last


def _curve(level: float, metric: str) -> Callable[[int], list[float]]:
    """Values of four folds that rise to a level, or fall for a metric that is minimised."""

    def at(epoch: int) -> list[float]:
        folds = [level - 0.2 / epoch + fold / 500 for fold in range(FOLDS)]
        return folds if metric == "auc" else [1.0 - own for own in folds]

    return at
