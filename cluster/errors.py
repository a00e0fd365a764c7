"""Errors of the package `cluster`, under the project's root error.

OrchestrateError
├── ClusterError       Ray cannot be reached or started
├── ResourceError      a trial asks for more than the cluster has
├── RenderError        a cluster file that cannot be read or started, or an override that does not fit it
├── RemoteError        a machine of a cluster file cannot be logged in to, or gives no answer
└── ClusterInUseError  a search runs on the cluster that is about to be started anew
"""

from trainables.common.errors import OrchestrateError


class ClusterError(OrchestrateError):
    """Ray cannot be reached or started."""


class ResourceError(OrchestrateError):
    """A trial asks for more than the cluster has."""


class RenderError(OrchestrateError):
    """A cluster file that cannot be read or started, or an override that does not fit it."""


class RemoteError(OrchestrateError):
    """A machine of a cluster file cannot be logged in to, or does not answer as expected."""

    exit_code = 1


class ClusterInUseError(OrchestrateError):
    """A search runs on the cluster that is about to be started anew."""
