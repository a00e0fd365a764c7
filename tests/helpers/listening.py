"""Which addresses a process and all below it listen on, as Linux lists them."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# 127.0.0.1, ::1, and the first as IPv6 maps it, in the notation of /proc/net.
LOOPBACK = frozenset({"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"})
_LISTENS = "0A"


def family(pid: int) -> list[int]:
    """A process and all below it; one that ends meanwhile may be missing."""
    found = [pid]
    for own in found:
        with suppress(OSError):
            for task in Path(f"/proc/{own}/task").glob("*/children"):
                with suppress(OSError):
                    found += [int(child) for child in task.read_text().split()]
    return found


def listening(pid: int) -> list[str]:
    """Addresses in hexadecimal notation, one for each TCP socket on which one of the family listens."""
    own = {name for one in family(pid) for name in _sockets(one)}
    found = []
    for kind in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == _LISTENS and f"socket:[{words[9]}]" in own:
                found.append(words[1].rpartition(":")[0])
    return found


def _sockets(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                yield str(entry.readlink())
