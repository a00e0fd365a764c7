"""What a pruner is: when it compares trials, what it compares, and how it is built."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # names of pruners are listed without Optuna
    from optuna.pruners import BasePruner

FOLD_VALUES: Final = "fold_values:"  # user attribute of a trial, followed by the epoch, for such a pruner
NEVER_PRUNED: Final = 4  # first trials of a search that always finish, whatever the pruner
CHEAP_SECONDS: Final = 3.0  # of training in all; about what a worker takes to be handed another trial, twice
FIRST_COMPARISON: Final = 5  # epochs before the first comparison; a shorter trial is compared at its end


@dataclass(frozen=True, slots=True)
class PruningFacts:
    """What a pruner may be built from.

    Attributes:
        epochs: Largest number of epochs of a trial, at least 1.
        folds: Number of folds; 1 for a hold-out.
        minimizes: The metric is better when it is lower.
    """

    epochs: int
    folds: int
    minimizes: bool


def at_every_epoch(epoch: int, epochs: int) -> bool:
    """Compare trials at every epoch: what a pruner of the user's own does unless it says otherwise."""
    return True


@dataclass(frozen=True, slots=True)
class Pruner:
    """A rule that stops trials which are worse than others.

    The rule sees a trial at its comparisons only. Between them its worker need not wait for an answer.

    Attributes:
        name: Name on the command line; for one of ours also the name of its file.
        build: Makes the Optuna pruner. Its trials have the value of the metric as intermediate value, by
            epoch, and for a pruner that compares folds a user attribute `fold_values:EPOCH` with one value
            a fold.
        about: What it does, in a phrase.
        decides_at: Tells from an epoch (1-based) and the largest number of epochs whether trials are
            compared there.
        survival: Share of trials that outlive a comparison, in [0, 1], for `orchestrate plan`.
        fewest_folds: Number of folds that it needs; 1 for one that compares trials as wholes.
    """

    name: str
    build: Callable[[PruningFacts], "BasePruner"]
    about: str
    decides_at: Callable[[int, int], bool] = at_every_epoch
    survival: float = 1.0
    fewest_folds: int = 1

    @property
    def compares_folds(self) -> bool:
        """True if it compares trials fold by fold; it is told the value of every fold then."""
        return self.fewest_folds > 1


def is_reference(number: int, *, is_first_point: bool) -> bool:
    """Tell whether a trial is finished whatever the pruner says, as a measure for the others.

    Others are compared with it all the same. Points to try first are a reference for all others, and of the
    first few trials only two or three are at an epoch, where "the better half" is chance.

    Args:
        number: Trial number, from 0.
        is_first_point: The trial is a point that is tried before the sampler proposes any.

    >>> is_reference(3, is_first_point=False), is_reference(4, is_first_point=False)
    (True, False)
    """
    return number < NEVER_PRUNED or is_first_point


def is_cheap(epoch_seconds: float, epochs: int) -> bool:
    """Tell whether a trial is finished whatever the pruner says: its result is worth more than its seconds.

    The pruner is not asked, so it learns nothing of the trial.

    Args:
        epoch_seconds: Mean time of an epoch so far, in seconds.
        epochs: Largest number of epochs of the trial.

    >>> is_cheap(0.1, 12), is_cheap(1.0, 12)
    (True, False)
    """
    return epoch_seconds * epochs < CHEAP_SECONDS


def first_comparison(epochs: int) -> int:
    """Return the epoch of the first comparison in a search.

    Args:
        epochs: Largest number of epochs of a trial, at least 1.

    >>> first_comparison(30), first_comparison(3)
    (5, 3)
    """
    return min(FIRST_COMPARISON, epochs)


def at_doubling_epochs(epoch: int, epochs: int) -> bool:
    """Compare trials at epochs that double: the rungs of successive halving.

    Args:
        epoch: Epoch, 1-based.
        epochs: Largest number of epochs of a trial, at least 1.

    >>> [epoch for epoch in range(1, 50) if at_doubling_epochs(epoch, 50)]
    [5, 10, 20, 40]
    """
    rung = first_comparison(epochs)
    while rung < epoch:
        rung *= 2
    return rung == epoch
