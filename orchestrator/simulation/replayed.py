"""A replayed search: how it is to run, and what came of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.study.allowance import BRIEF_BETWEEN
from orchestrator.study.pruners import DEFAULT
from results.run.records import Termination
from search_spaces.learned import TriedElsewhere
from trainables.common.errors import ConfigError

Ends = Callable[[Sequence["ReplayedTrial"]], bool]


@dataclass(frozen=True, slots=True)
class ReplayedSearch:
    """How a search is replayed; the names are those of the options of a search where it has them.

    Attributes:
        trials: Largest number of trials, from 1.
        seed: Seed of the sampler, at least 0.
        sampler: Any sampler of a search, or `MODULE:FUNCTION` of your own.
        pruner: Any pruner of a search, or `MODULE:FUNCTION` of your own.
        workers: Number of trials at once, from 1.
        first: Configurations that are tried before the sampler proposes any, as indices in the table.
        held: Dotted setting -> value, of settings that are held fixed, as by `--set`.
        ranges: Name of a parameter -> smallest and largest value, where other sets have narrowed the space.
        tried: What was tried on other sets, of which the search takes what looks promising.
        minutes: Time limit by the table's clock, in minutes; None for none.
        has_allowance: With a time limit, a trial may take a share of the time that is left, and brief ones
            come before it, as in a search. False leaves the limit alone.
        brief_between: Proposals that must be brief before each trial that is not; 0 for none.
        trial_seconds: What each trial takes besides its passes and epochs, in seconds: its hand-over, the
            building of its model, its record.
        terminator: End the search when it has little left to gain, as by `--terminator`.
        ends: A rule of your own: told all ended trials after each end; no trial starts once it says True.

    Raises:
        ConfigError: If `trials`, `workers` or `minutes` is too small, or `seed`, `trial_seconds` or
            `brief_between` below 0.

    >>> ReplayedSearch(trials=0)
    Traceback (most recent call last):
    ...
    trainables.common.errors.ConfigError: a replayed search needs trials from 1, found 0
    """

    trials: int = 24
    seed: int = 0
    sampler: str = "tpe"
    pruner: str = DEFAULT
    workers: int = 1
    first: Sequence[int] = ()
    held: Mapping[str, Any] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    tried: Sequence[TriedElsewhere] = ()
    minutes: float | None = None
    has_allowance: bool = True
    brief_between: int = BRIEF_BETWEEN
    trial_seconds: float = 0.0
    terminator: bool = False
    ends: Ends | None = None

    def __post_init__(self) -> None:
        least = {"trials": 1, "workers": 1, "seed": 0, "trial_seconds": 0, "brief_between": 0}
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise ConfigError(
                    f"a replayed search needs {name} from {smallest}, found {getattr(self, name)}"
                )
        if self.minutes is not None and self.minutes <= 0:
            raise ConfigError(f"a replayed search needs minutes above 0, found {self.minutes}")

    @property
    def deadline(self) -> float | None:
        """Seconds after its start at which the search is out of time; None for never."""
        return None if self.minutes is None else 60.0 * self.minutes


@dataclass(frozen=True, slots=True)
class ReplayedTrial:
    """A trial of a replayed search.

    Attributes:
        number: Number of the trial, from 0.
        configuration: Index of the configuration in the table.
        distance: How far it lies from what the sampler proposed, 0 if it is just that; see
            `search_spaces.distance.distance`.
        started: Seconds since the start of the search.
        ended: Seconds since the start of the search.
        opening_seconds: Part of it in which it made passes through frozen nets, or waited for those of
            others.
        epochs: Epochs that it ran.
        value: AUC at its end, mean over folds, in [0, 1]; None if it was stopped or failed.
    """

    number: int
    configuration: int
    distance: float
    started: float
    ended: float
    opening_seconds: float
    epochs: int
    value: float | None


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of a replayed search.

    Attributes:
        trials: Its trials in the order in which they ended.
        merits: Merit of each configuration on this set, see `orchestrator.simulation.portfolio.merits`.
        terminated: Why it ended before its trials and its time; None if it did not.
    """

    trials: tuple[ReplayedTrial, ...]
    merits: tuple[float, ...]
    terminated: Termination | None = None

    def regret_after(self, trials: int) -> float:
        """Return 1 minus the merit of the best of the first trials that ended, in [0, 1].

        Args:
            trials: Number of trials; with more than there are, all count. Without any, the regret is 1.
        """
        ended = [own for own in self.trials[:trials] if own.value is not None]
        return 1.0 - max((self.merits[own.configuration] for own in ended), default=0.0)

    def regret_at(self, seconds: float) -> float:
        """Return the regret of what had ended after some seconds of the table's clock, in [0, 1]."""
        return self.regret_after(sum(own.ended <= seconds for own in self.trials))

    @property
    def regret(self) -> float:
        """Regret of all trials, in [0, 1]."""
        return self.regret_after(len(self.trials))

    @property
    def seconds(self) -> float:
        """Seconds of the table's clock from the start of the search to the end of its last trial."""
        return max((own.ended for own in self.trials), default=0.0)

    @property
    def busy_seconds(self) -> float:
        """Seconds of all workers together that trials took."""
        return sum(own.ended - own.started for own in self.trials)
