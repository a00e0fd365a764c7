"""The control process of Ray, watched from beside: when it dies, Ray ends this program a minute later."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Final

_LOOK_SECONDS: Final = 5.0
_TIMEOUT_SECONDS: Final = 2.0
_MISSED: Final = 3  # looks in a row without an answer, before the user is told


@contextlib.contextmanager
def watched(address: str, say: Callable[[str], None], resume_command: str) -> Iterator[None]:
    """Tell the user, once, how to go on if the control process does not answer any more.

    Args:
        address: Its address `host:port`.
        say: Function called with the message, from another thread.
        resume_command: Command that goes on with the search.
    """
    is_over = threading.Event()
    host, _, port = address.rpartition(":")

    def watch() -> None:
        missed = 0
        while missed < _MISSED and not is_over.wait(_LOOK_SECONDS):
            missed = 0 if answers(host.strip("[]"), int(port)) else missed + 1
        if not is_over.is_set():
            say(
                f"Ray's control process at {address} does not answer. If it stays away, Ray ends this "
                f"program within a minute. What has ended is kept; go on with: {resume_command}"
            )

    thread = threading.Thread(target=watch, name="lifeline", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def answers(host: str, port: int) -> bool:
    """Tell whether something listens at an address."""
    try:
        socket.create_connection((host, port), timeout=_TIMEOUT_SECONDS).close()
    except OSError:
        return False
    return True
