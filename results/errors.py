"""Errors of the package `results`, under the project's root error.

OrchestrateError
├── RunError        a run folder that is missing, in use, or not as expected
│   ├── DamagedFileError    a file of a run that does not hold what it should
│   └── RecordExistsError   a trial that has a record already
├── ScoreError      a score that the data are too few for
├── EnsembleError   an ensemble that cannot be built from the available trials
│   └── OutdatedEnsembleError   an ensemble of trials that have been run again since
└── ExportError     a bundle that cannot be written, or that disagrees with its source
    ├── TooSlowError        a model that takes longer for an image than is allowed
    └── ModelChangedError   a lower precision, or a student, that changes a model by more than is allowed
"""

from trainables.common.errors import OrchestrateError


class RunError(OrchestrateError):
    """A run folder that is missing, in use, or not as expected."""


class ScoreError(OrchestrateError):
    """A score that the data are too few for."""


class DamagedFileError(RunError):
    """A file of a run that does not hold what it should; the message names it."""


class RecordExistsError(RunError):
    """A trial that has a record already, which is kept."""


class EnsembleError(OrchestrateError):
    """An ensemble that cannot be built from the available trials."""


class OutdatedEnsembleError(EnsembleError):
    """An ensemble of trials that have been run again since it was built."""


class ExportError(OrchestrateError):
    """A bundle that cannot be written, or that disagrees with its source."""


class ModelChangedError(ExportError):
    """A lower precision, or a student, that changes a model by more than is allowed."""


class TooSlowError(ExportError):
    """A model that takes longer for an image than is allowed.

    Args:
        message: Sentence for the user.
        named: Name of the model.
        core_ms: Its time of an image on one core, in milliseconds.
    """

    def __init__(self, message: str, named: str, core_ms: float) -> None:
        super().__init__(message)
        self.named, self.core_ms = named, core_ms
