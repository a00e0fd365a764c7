"""What a sampler is: what it is built from, and what it takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

if TYPE_CHECKING:  # names of samplers are listed without Optuna
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

    from results.scores.ranking import Direction

STARTUP_TRIALS: Final = 8  # trials that are drawn at random before a sampler has learned anything


@dataclass(frozen=True, slots=True)
class SamplingFacts:
    """What a sampler may be built from.

    Attributes:
        seed: Random seed. That of a resumed search is another one, so that a sampler with one stream of
            random numbers does not draw again what it drew at its start.
        trials: Number of trials of the search; where its time limit alone ends it, that of one without one.
        directions: Direction of each metric, the main one first.
        epochs: Largest number of epochs of a trial.
        settings: Returns every setting that points of the space have, with its range, in order of their
            first appearance; few points have all of them. Points of the space are drawn for it.
        startup_trials: Number of trials to draw at random first.
        search_seed: Seed of the search, the same after a resume, for samplers whose draws depend on the
            number of the trial (`orchestrator.study.seeded`); None takes `seed`.
        is_whole: Tells whether parameters make a point of the space, with none missing: those of a trial that
            another search of the same study has just begun may be drawn in part.
    """

    seed: int
    trials: int
    directions: "tuple[Direction, ...]"
    epochs: int
    settings: Callable[[], Mapping[str, "BaseDistribution"]]
    startup_trials: int = STARTUP_TRIALS
    search_seed: int | None = None
    is_whole: Callable[[Mapping[str, Any]], bool] = lambda params: True

    @property
    def lasting_seed(self) -> int:
        """Seed of the search, the same after a resume."""
        return self.seed if self.search_seed is None else self.search_seed


@dataclass(frozen=True, slots=True)
class Sampler:
    """A way to propose configurations.

    Requirements reach it as Optuna's constraints: a complete trial has one for each, above 0 if it is missed.

    Attributes:
        name: Name on the command line; for one of ours also the name of its file.
        build: Makes the Optuna sampler.
        about: What it does, in a phrase.
        takes_many_metrics: It can look for the trials that no other beats in all metrics.
        learns: It proposes by what trials have shown, so that a point beside the best ones may stand for one
            of its own that is known or too dear.
    """

    name: str
    build: Callable[[SamplingFacts], "BaseSampler"]
    about: str
    takes_many_metrics: bool = True
    learns: bool = True


@runtime_checkable
class FiniteSampler(Protocol):
    """A sampler that comes to an end, as a grid does."""

    def is_exhausted(self, study: "optuna.Study") -> bool:
        """Tell whether it has nothing more to propose."""
        ...
