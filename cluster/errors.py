"""Errors of the package `cluster`, under the project's root error.

OrchestrateError
├── ClusterError     Ray cannot be reached or started
├── ResourceError    a trial asks for more than the cluster has
└── RenderError      a cluster file that cannot be read, or an override that does not fit it
"""

from trainables.common.errors import OrchestrateError


class ClusterError(OrchestrateError):
    """Ray cannot be reached or started."""


class ResourceError(OrchestrateError):
    """A trial asks for more than the cluster has."""


class RenderError(OrchestrateError):
    """A cluster file that cannot be read, or an override that does not fit it."""
