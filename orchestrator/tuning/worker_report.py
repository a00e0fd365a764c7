"""What a worker reports to the driver after a step of a trial."""

import dataclasses

from orchestrator.study.trial_spec import TrialFailure
from trainables.features.feature_use import FeatureUse
from trainables.runtime.memory import MemoryUse
from trainables.validation.epoch_selection import EpochReport


@dataclasses.dataclass(frozen=True, slots=True)
class WorkerReport:
    """Report of a worker after a step. It is not a plain dictionary, since Tune flattens those on the way.

    Attributes:
        opened: Use of stored features, in the step that opened the trial; None in later steps.
        epochs: Epochs that were finished in the step, in order; one at which trials are compared is the last.
        is_end: The trial has ended; its record is written, unless there is a failure.
        memory: Peak memory of the trial so far; None if it cannot be measured.
        device: Name of the device in torch, such as `cuda:0`.
        failure: Failure that is none of the configuration's, for the manager to deal with; None without one.
        epoch_seconds: Mean time of an epoch in this worker so far, in seconds; None before the first.
        needs_depot: The worker does not see the run folder, and waits for the depot of the run.
        waits_for: What keeps a trial that has ended from writing its results; empty where nothing does.
        waits_elsewhere: It is a disk of another machine than that of the run folder.
        helpers: Number of other workers that train folds of the trial.
    """

    opened: FeatureUse | None = None
    epochs: tuple[EpochReport, ...] = ()
    is_end: bool = False
    memory: MemoryUse | None = None
    device: str = "cpu"
    failure: TrialFailure | None = None
    epoch_seconds: float | None = None
    needs_depot: bool = False
    waits_for: str = ""
    waits_elsewhere: bool = False
    helpers: int = 0

    def on_machine(self, host: str) -> "WorkerReport":
        """Return the same report as that of another machine, which the reason of a failure names."""
        failure = self.failure
        if failure is not None:
            failure = dataclasses.replace(failure, reason=f"{failure.reason} (on {host})")
        return dataclasses.replace(self, failure=failure, waits_elsewhere=bool(self.waits_for))
