"""Errors of the cluster room, under the project's root.

OrchestrateError
├── ClusterError     Ray cannot be reached or started
├── ResourceError    a trial asks for what the cluster does not have
└── RenderError      a cluster file that cannot be read, or an override that does not fit it
"""

from trainables.common.errors import OrchestrateError


class ClusterError(OrchestrateError):
    """Ray cannot be reached or started."""


class ResourceError(OrchestrateError):
    """A trial asks for what the cluster does not have."""


class RenderError(OrchestrateError):
    """A cluster file that cannot be read, or an override that does not fit it."""
