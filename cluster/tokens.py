"""Whether the Rays that a cluster file starts ask for a token: without one, who reaches a port runs code."""

from collections.abc import Sequence
from typing import Final

from cluster.cluster_file import ClusterFile
from cluster.finding import Finding
from cluster.start_commands import TOKEN_MODE, RayStart

_TOKEN: Final = f"{TOKEN_MODE}=token"
_TOKEN_FILE: Final = ".ray/auth_token"
_TOKEN_ELSEWHERE: Final = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_SETUP: Final = ("setup_commands", "head_setup_commands")


def check_tokens(file: ClusterFile) -> list[Finding]:
    """Check that every Ray that a file starts asks for the token, and that every machine has it.

    Args:
        file: The cluster file.

    Returns:
        What is broken or to be noted; nothing if all is well.
    """
    found = []
    for key, starts in (
        ("head_start_ray_commands", file.head_starts),
        ("worker_start_ray_commands", file.worker_starts),
    ):
        open_ones = sum(not start.asks_for_token for start in starts)
        if open_ones:
            which = "`ray start`" if len(starts) == 1 else f"{open_ones} of {len(starts)} `ray start`"
            detail = (
                f"{key}: {which} without {_TOKEN}; Ray would let in whoever reaches its port: put it before "
                "each `ray start`"
            )
            found.append(Finding("file", "token", "broken", detail))
    if not any(start.asks_for_token for start in (*file.head_starts, *file.worker_starts)):
        return found
    setup = " ".join(str(one) for key in _SETUP for one in file.config.get(key) or ())
    if "get-auth-token" not in setup and not _has_token(file.head_starts[:1]):
        detail = f"no setup command makes it (ray get-auth-token --generate); it must lie in ~/{_TOKEN_FILE}"
        found.append(Finding("file", "token", "note", detail))
    copied = (*(file.config.get("cluster_synced_files") or ()), *(file.config.get("file_mounts") or {}))
    is_copied = any(str(one).endswith(_TOKEN_FILE) for one in copied)
    if file.worker_starts and not is_copied and not _has_token(file.worker_starts):
        detail = f"the other machines have none: put ~/{_TOKEN_FILE} into cluster_synced_files"
        found.append(Finding("file", "token", "broken", detail))
    return found


def _has_token(starts: Sequence[RayStart]) -> bool:
    """True if each start names its token, or the file of it, by itself."""
    return bool(starts) and all(any(name in one.variables for name in _TOKEN_ELSEWHERE) for one in starts)
