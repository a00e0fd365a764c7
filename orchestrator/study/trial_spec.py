"""The trial to run and the protocol of a study: free of Optuna, so that tests can use a list as a study."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from orchestrator.study.patience import Patience
from results.run.records import Cause, TrialRecord
from trainables.common.errors import ConfigError
from trainables.config.trial_config import TrialConfig

# How the record of a trial begins its remark that it was scored with less than it asked for.
TIME_WAS_UP: Final = "the time was up before"
# In the place of a recipe: the configuration was good on other sets (`orchestrator.study.experience`).
EXPERIENCE: Final = "experience"


@dataclass(frozen=True, slots=True)
class TrialSpec:
    """A trial to run.

    Attributes:
        number: Trial number, which also names the trial's folder.
        config: Checked configuration.
        params: Parameters as the sampler chose them.
        recipe: Name of the recipe that the configuration belongs to; `experience` for what was good on other
            sets, empty for a proposal of the sampler.
        compared_at: Epochs, 1-based and increasing, at which the pruner compares the trial with others.
        is_alone: No other trial may run at the same time, because this one ran out of memory once.
    """

    number: int
    config: TrialConfig
    params: dict[str, Any]
    recipe: str = ""
    compared_at: tuple[int, ...] = ()
    is_alone: bool = False


def is_first_point(recipe: str) -> bool:
    """Tell whether the recipe of a trial is that of a point to try first, and not a proposal.

    >>> is_first_point("portfolio"), is_first_point("experience"), is_first_point("")
    (True, False, False)
    """
    return recipe not in ("", EXPERIENCE)


@dataclass(frozen=True, slots=True)
class TrialFailure:
    """Failure of a trial for a reason outside its configuration.

    Attributes:
        cause: `environment` or `lost_worker`.
        reason: What failed, in one line.
        is_disk_full: No trial can keep its results until there is room where the run folder lies.
        is_machine_full: A disk of its machine is full, and not that of the run folder: other machines go on.
        is_taken: A worker was asked to end, or its machine went, so that the trial has no part in it.
        is_helpers: The worker was one that trained folds of the trial, and not the trial's own.
        ends_worker: The worker's process can run nothing more, and ends after its report.
    """

    cause: Cause
    reason: str
    is_disk_full: bool = False
    is_machine_full: bool = False
    is_taken: bool = False
    is_helpers: bool = False
    ends_worker: bool = False


class InvalidPointError(ConfigError):
    """The space proposed a point that no trial can run.

    Attributes:
        number: Number of the trial that was asked for.
        params: Parameters that the space proposed.
    """

    def __init__(self, number: int, params: dict[str, Any], message: str) -> None:
        super().__init__(message)
        self.number, self.params = number, params


class Study(Protocol):
    """Proposes trials, prunes them and learns how they ended: `OptunaStudy` in a search, a list in a test."""

    def ask(self) -> TrialSpec | None:
        """Return the next trial, or None when there is none.

        Raises:
            InvalidPointError: If the space proposes a point that cannot run.
        """
        ...

    def should_prune(self, number: int, epoch: int, value: float, fold_values: Sequence[float] = ()) -> bool:
        """Tell whether a trial is to be stopped after an epoch (1-based).

        Args:
            number: Trial number.
            epoch: Epoch, 1-based.
            value: Value of the metric.
            fold_values: Value of each fold, in fold order; empty where folds are not compared.
        """
        ...

    def tell(self, record: TrialRecord) -> None:
        """Record the result of a trial."""
        ...


@runtime_checkable
class StoredStudy(Protocol):
    """A study in a storage: it may not answer for a while, and other searches may work on it, too.

    Attributes:
        patience: Patience with the storage, and with a full disk.
    """

    patience: Patience

    def has_points(self) -> bool:
        """Tell whether a point to try first has not been handed out yet."""
        ...

    def note_alone(self, number: int) -> None:
        """Note that a running trial must run alone, also if the search is interrupted before it does."""
        ...

    def note_open(self, number: int) -> None:
        """Note that a running trial has opened its features, which other trials find from now on."""
        ...

    def has_interrupted(self) -> bool:
        """Tell whether a trial that ran when the search was interrupted waits to be run again."""
        ...

    def ended_elsewhere(self) -> Sequence[TrialRecord]:
        """Return what is known of complete trials of other searches that ended since the last call."""
        ...
