"""Errors of the results room, under the project's root.

OrchestrateError
├── RunError        a run folder that is missing, in use, or not what it should be
├── EnsembleError   an ensemble that cannot be built from the trials at hand
└── ExportError     a bundle that cannot be written, or that disagrees with its source
"""

from trainables.common.errors import OrchestrateError


class RunError(OrchestrateError):
    """A run folder that is missing, in use, or not what it should be."""


class EnsembleError(OrchestrateError):
    """An ensemble that cannot be built from the trials at hand."""


class ExportError(OrchestrateError):
    """A bundle that cannot be written, or that disagrees with its source."""
