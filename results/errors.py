"""Errors of the package `results`, under the project's root error.

OrchestrateError
├── RunError        a run folder that is missing, in use, or not as expected
├── ScoreError      a score that the data are too few for
├── EnsembleError   an ensemble that cannot be built from the available trials
└── ExportError     a bundle that cannot be written, or that disagrees with its source
"""

from trainables.common.errors import OrchestrateError


class RunError(OrchestrateError):
    """A run folder that is missing, in use, or not as expected."""


class ScoreError(OrchestrateError):
    """A score that the data are too few for."""


class EnsembleError(OrchestrateError):
    """An ensemble that cannot be built from the available trials."""


class ExportError(OrchestrateError):
    """A bundle that cannot be written, or that disagrees with its source."""
