"""Who is shown what a search does: the terminal and TensorBoard."""

from collections.abc import Mapping

from orchestrator.reporting.tensorboard import TensorBoardLog
from orchestrator.reporting.terminal import SearchProgress
from results.run.records import TrialRecord
from results.scores.leaderboard import settings_text
from trainables.config.trial_config import TrialConfig, flatten


class TerminalWatcher:
    """Feeds the live view."""

    def __init__(self, progress: SearchProgress) -> None:
        self.progress = progress

    def on_trial_start(self, number: int, config: TrialConfig) -> None:
        """A trial was handed out."""
        self.progress.started(number, settings_text(flatten(config.model_dump(mode="json"))))

    def on_epoch_end(
        self, number: int, epoch: int, epochs: int, value: float, scalars: Mapping[str, float]
    ) -> None:
        """All folds of a trial finished an epoch."""
        self.progress.epoch(number, epoch, epochs, value)

    def on_trial_requeued(self, number: int, reason: str) -> None:
        """A trial is put off, to be started again later."""
        self.progress.postponed(number, reason)

    def on_trial_end(self, record: TrialRecord) -> None:
        """A trial ended."""
        self.progress.finished(
            record.number, record.state, record.cause, record.value, settings_text(record.config)
        )


class TensorBoardWatcher:
    """Writes one event file a trial."""

    def __init__(self, log: TensorBoardLog) -> None:
        self.log = log

    def on_trial_start(self, number: int, config: TrialConfig) -> None:
        """Nothing is written before the first epoch."""

    def on_epoch_end(
        self, number: int, epoch: int, epochs: int, value: float, scalars: Mapping[str, float]
    ) -> None:
        """Scalars of an epoch."""
        self.log.epoch(number, epoch, scalars)

    def on_trial_requeued(self, number: int, reason: str) -> None:
        """Nothing: the curve goes on when the trial starts again."""

    def on_trial_end(self, record: TrialRecord) -> None:
        """Hyperparameters with the final score."""
        self.log.finish(record.number, record.config, record.value, record.state)
