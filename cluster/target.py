"""The Ray cluster that a search is to join: the one that the user names, the one that runs here, or none.

The note of a running cluster lies where every user can put one; it counts only if this user wrote it.
"""

import os
import stat
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cluster.control_service import Answer, ask
from cluster.errors import ClusterError
from cluster.own_ray import LOOPBACK
from cluster.start_commands import TOKEN_MODE

_LOOPBACK: Final = (LOOPBACK, "localhost", "::1")
_LONGEST_NOTE: Final = 256  # characters
_OPEN: Final = "it asks for no token, so anyone who reaches the port can run code as whoever started it"
_HOW_TO_START: Final = "start one with: ray up cluster/dgx.yaml (see docs/how-to-cluster.md)"


@dataclass(frozen=True, slots=True)
class Target:
    """The cluster to connect to, chosen before anything is started.

    Attributes:
        address: Address `host:port`, or None to start an own Ray.
        chosen_by: Origin of the address: `the user`, `RAY_ADDRESS` or `this machine`.
        note: Reason why an expected cluster is not used; empty without one.
        warning: What the user risks by joining the cluster, as `Connection` has it.
    """

    address: str | None
    chosen_by: str
    note: str = ""
    warning: str = ""


def find_target(address: str | None, environment_address: str | None) -> Target:
    """Choose the cluster to connect to, and make sure that something answers there.

    Args:
        address: Address as in `connect`.
        environment_address: Value of `RAY_ADDRESS`, which counts where `address` is None or `auto`.

    Raises:
        ClusterError: If a named address is malformed or does not answer, `auto` finds no cluster, or the
            cluster asks for no token beyond the loopback address and `address` does not name it.
    """
    chosen_by = "the user"
    if address in (None, "auto") and environment_address:
        address, chosen_by = environment_address, "RAY_ADDRESS"
    if address == "local":
        return Target(None, chosen_by)
    if address is None or address == "auto":
        return _found_here(is_required=address == "auto")
    host, port = split_address(address)
    recorded = recorded_address()
    if recorded is not None and host in _LOOPBACK and recorded.endswith(f":{port}"):
        address = recorded  # `ray start` notes the machine's outer address
    answer = ask(host, port)
    if answer.fault is not None:
        raise ClusterError(
            f"a Ray cluster is needed at {address} (named by {chosen_by}), but {answer.fault}; "
            f"check the address, {_HOW_TO_START}, or say local for a Ray of your own"
        )
    return _checked_for_token(Target(address, chosen_by), answer)


def _checked_for_token(target: Target, answer: Answer) -> Target:
    """Return the target, with a warning if it is open to the network and the user named it.

    Raises:
        ClusterError: If it is open to the network and the user did not name it.
    """
    if target.address is None or not answer.is_open or _is_loopback(split_address(target.address)[0]):
        return target
    if target.chosen_by == "the user":
        remedy = f"start it anew with {TOKEN_MODE}=token (see docs/how-to-cluster.md)"
        return replace(target, warning=f"the Ray cluster at {target.address} is open: {_OPEN}; {remedy}")
    raise ClusterError(
        f"the Ray cluster at {target.address} (named by {target.chosen_by}) is not joined: {_OPEN}; start it "
        f"anew with {TOKEN_MODE}=token, say --address {target.address} to join it all the same, or "
        "--address local for a Ray of your own"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in _LOOPBACK


def split_address(address: str) -> tuple[str, int]:
    """Split `host:port`.

    Raises:
        ClusterError: If it is anything else, such as a `ray://` address, which Tune cannot use.

    >>> split_address("10.0.0.1:6379")
    ('10.0.0.1', 6379)
    """
    if "://" in address:
        raise ClusterError(
            f"an address like 10.0.0.1:6379 is needed, found {address!r}: a search does not run through "
            "Ray Client; run it on the cluster: ray exec cluster/dgx.yaml 'orchestrate search ...'"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ClusterError(f"an address like 10.0.0.1:6379, local or auto is needed, found {address!r}")
    return host.strip("[]"), int(port)


def recorded_address() -> str | None:
    """Return the address that this user's `ray start` noted on this machine, or None. It may be out of date.

    The note lies where every user can put one, and a search hands its trials to the cluster that it joins. So
    a note counts only if this user wrote it and nobody else may change it.
    """
    return _read_note(_note_file())[0]


def _note_file() -> Path:
    # The same files in the same order as in Ray's own search.
    root = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    return Path(root) / "ray" / "ray_current_cluster"


def _read_note(path: Path) -> tuple[str | None, str]:
    """The noted address, and why a note that is there does not count."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"the cluster noted in {path} cannot be read: {error.strerror}"
    with os.fdopen(descriptor) as file:
        if not _is_own(os.fstat(descriptor)):
            return None, (
                f"the cluster noted in {path} is left alone: another user wrote the note or may change it; "
                "--address HOST:PORT joins it all the same"
            )
        try:
            return file.read(_LONGEST_NOTE).strip() or None, ""
        except UnicodeDecodeError:
            return None, f"the cluster noted in {path} has no address that can be read"


def _is_own(found: os.stat_result) -> bool:
    """Tell whether a file is this user's, and only this user can have written to it."""
    of_own_group = found.st_mode & stat.S_IWGRP == 0 or found.st_gid == os.getegid()
    by_others = found.st_mode & stat.S_IWOTH
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and of_own_group and not by_others


def _found_here(*, is_required: bool) -> Target:
    address, note = _read_note(_note_file())
    if address is not None:
        try:
            answer = ask(*split_address(address))
        except ClusterError as error:
            answer = Answer(str(error))
        if answer.fault is None:
            return _checked_for_token(Target(address, "this machine"), answer)
        note = f"the cluster noted at {address} is gone: {answer.fault}"
    if is_required:
        found = note or "none is noted on this machine"
        raise ClusterError(f"a running Ray cluster is needed, but {found}; {_HOW_TO_START}")
    return Target(None, "this machine", note)
