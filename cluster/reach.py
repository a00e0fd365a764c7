"""Whether the machines of a cluster reach each other: they try it, with a listener of seconds on each.

Ray's machines talk to the head's port, and to each other on ports that Ray chooses. So each machine listens
on a free port of the address that the file gives it, the head on Ray's own port too unless something listens
there, and each connects to all others. A listener ends with the login that started it.
"""

import math
import select
import shlex
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import IO, Final

from cluster.at_once import MACHINES_AT_ONCE, on_all_machines
from cluster.cluster_file import ClusterFile
from cluster.errors import RemoteError
from cluster.finding import Finding
from cluster.probe import MachineFacts
from cluster.ssh import Login

_LISTENING_SECONDS: Final = 60  # at most, for 16 machines, should the end of a login not be noticed
_START_SECONDS: Final = 30.0  # for Python to begin over there, from a file server perhaps
_LONGEST_SECONDS: Final = 60.0

# Arguments: an address, seconds, and ports, 0 for any free one. Prints those on which it listens.
LISTEN: Final = r"""
import select, socket, sys, time
address, servers = sys.argv[1], []
for port in map(int, sys.argv[3:]):
    server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((address, port))
        server.listen(64)
        servers.append(server)
    except OSError:
        pass
print(*(server.getsockname()[1] for server in servers), flush=True)
end = time.monotonic() + float(sys.argv[2])
while servers and time.monotonic() < end:
    ready = select.select([sys.stdin, *servers], [], [], 1.0)[0]
    if sys.stdin in ready:
        break
    for server in ready:
        server.accept()[0].close()
"""

# Arguments: places as `address,port`. Prints a line for each: the place, a tab, and why it is not reached.
CONNECT: Final = r"""
import concurrent.futures, socket, sys
def reason(place):
    address, port = place.rsplit(",", 1)
    try:
        socket.create_connection((address, int(port)), timeout=5.0).close()
    except OSError as error:
        return "timed out" if isinstance(error, TimeoutError) else error.strerror or str(error)
    return ""
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    for place, why in zip(sys.argv[1:], pool.map(reason, sys.argv[1:])):
        print(place, why, sep="\t")
"""


def check_reach(file: ClusterFile, facts: Sequence[MachineFacts], head: str) -> list[Finding]:
    """Let each machine connect to the others, and say what did not answer.

    Args:
        file: The cluster file.
        facts: What the machines said that could be logged in to.
        head: The head, by the address that it is logged in to.

    Returns:
        One finding for each machine; none if the file names one machine only.
    """
    if not file.workers:
        return []
    if head not in {one.host for one in facts}:
        return [Finding("machines", "reach", "note", "not tried: the head cannot be logged in to")]
    asked = [one for one in facts if _python(file, one)]
    found = [
        Finding(one.host, "reach", "note", "not tried: it has no Python") for one in facts if one not in asked
    ]
    with ExitStack() as stack:
        seconds = _LISTENING_SECONDS * math.ceil(len(asked) / MACHINES_AT_ONCE)
        heard = [(one, stack.enter_context(_listening(file, one, head, seconds))) for one in asked]
        places = {one.host: _places(file, one, head, _first_line(output)) for one, output in heard}
        silent = [host for host, own in places.items() if not own]  # the file's address is not its own
        found += [Finding(host, "reach", "note", "not tried: nothing can listen there") for host in silent]

        def judge(one: MachineFacts) -> Finding | None:
            others = [place for host, own in places.items() if host != one.host for place in own]
            return _judged(file, one, _answers(file, one, head, others), facts) if others else None

        judged = on_all_machines(judge, [one for one in asked if one.host not in silent])
    return [*found, *(one for one in judged if one is not None)]


def _address(file: ClusterFile, facts: MachineFacts, head: str) -> str:
    """Address of a machine as the others reach it."""
    return (file.inner_head or head) if facts.host == head else facts.host


def _listening(
    file: ClusterFile, facts: MachineFacts, head: str, seconds: int
) -> AbstractContextManager[IO[str]]:
    """Let a machine listen on its address until the context ends; its output is the ports."""
    ports = (str(file.port), "0") if facts.host == head else ("0",)
    command = _command(file, facts, LISTEN, _address(file, facts, head), str(seconds), *ports)
    return Login(file, facts.host, head).held(command)


def _first_line(output: IO[str]) -> str:
    """The first line that comes in time, or nothing: a machine may hang."""
    ready, _, _ = select.select([output], [], [], _START_SECONDS)
    return output.readline() if ready else ""


def _places(file: ClusterFile, facts: MachineFacts, head: str, said: str) -> list[str]:
    """Places of a machine to connect to, Ray's own port first; none if it does not listen."""
    ports = {int(word) for word in said.split() if word.isdecimal()}
    if not ports:
        return []
    ports |= {file.port} & set(facts.taken_ports)
    address = _address(file, facts, head)
    return [f"{address},{port}" for port in sorted(ports, key=lambda port: port != file.port)]


def _answers(file: ClusterFile, facts: MachineFacts, head: str, places: Sequence[str]) -> Mapping[str, str]:
    """Place -> why a machine does not reach it, empty where it does."""
    try:
        said = Login(file, facts.host, head).run(
            _command(file, facts, CONNECT, *places), timeout_seconds=_LONGEST_SECONDS
        )
    except RemoteError as error:
        return dict.fromkeys(places, str(error))
    answers = {place: why for place, _, why in (line.partition("\t") for line in said.splitlines())}
    return {place: answers.get(place, "not tried") for place in places}


def _judged(
    file: ClusterFile, facts: MachineFacts, answers: Mapping[str, str], machines: Sequence[MachineFacts]
) -> Finding:
    failed = [f"{place.replace(',', ' on port ')} ({why})" for place, why in answers.items() if why]
    if failed:
        detail = (
            f"does not reach {', '.join(failed)}; Ray's machines talk to each other on {file.port} and on "
            "ports that Ray chooses: let no firewall stand between them"
        )
        return Finding(facts.host, "reach", "broken", detail)
    runs = any(file.port in one.taken_ports for one in machines)
    heads = [place for place in answers if place.endswith(f",{file.port}")]
    how = "where something listens already" if runs else "tried with a listener of seconds"
    told = f"the head on port {file.port}, {how}, and " if heads else ""
    count = len({place.rpartition(",")[0] for place in answers})
    return Finding(
        facts.host, "reach", "ok", f"reaches {told}a free port of {count} other{'s' if count > 1 else ''}"
    )


def _python(file: ClusterFile, facts: MachineFacts) -> str:
    if facts.environment:
        return f"{file.remote_folder}/venv/bin/python"
    found = facts.python or next(iter(facts.pythons), None)
    return "" if found is None else found.program


def _command(file: ClusterFile, facts: MachineFacts, script: str, *arguments: str) -> str:
    return f"exec {_python(file, facts)} -c {shlex.quote(script)} {shlex.join(arguments)}"
