"""`python -m cluster.free_port FIRST`: the first port from a number on that is free at every address.

`ray start` ends with an error where the port of its dashboard is taken, as by the Ray of another user of the
machine. Where it listens is asked of Ray, so any port will do.
"""

import socket
import sys
from collections.abc import Sequence
from typing import Final

from cluster.errors import ClusterError

_TRIED: Final = 100


def free_port(first: int) -> int:
    """Return the first port, from a number on, that nothing listens on at any address of this machine.

    Raises:
        ClusterError: If a hundred ports are taken.
    """
    for port in range(first, min(first + _TRIED, 65536)):
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                server.bind(("", port))  # at all of them, but it never listens
            except OSError:
                continue
        return port
    raise ClusterError(f"no free port from {first} on, {_TRIED} were tried")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the port; returns the exit code."""
    typed = sys.argv[1:] if arguments is None else list(arguments)
    if len(typed) != 1 or not typed[0].isdecimal():
        print("python -m cluster.free_port FIRST", file=sys.stderr)
        return 2
    try:
        print(free_port(int(typed[0])))
    except ClusterError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
