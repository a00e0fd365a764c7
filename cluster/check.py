"""What would go wrong with `ray up FILE`, found out before it runs."""

import shutil
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cluster.at_once import on_all_machines
from cluster.cluster_file import ClusterFile, marks, schema_faults
from cluster.errors import RemoteError
from cluster.finding import Finding, State
from cluster.probe import MachineFacts, environment_here, probe
from cluster.reach import check_reach
from cluster.ssh import Login, logins
from cluster.start_commands import RayStart
from cluster.tokens import check_tokens
from cluster.versions import check_versions, compare_versions, read_pins
from trainables.common.disk_room import FOR_INSTALLATION_GIB, FOR_RUNS_GIB

__all__ = ["Finding", "check_cluster", "check_file", "check_machine", "compare_machines"]

_GIB: Final = 2**30
_TEMPORARY_BYTES: Final = 1 * _GIB
_CLOCK_NOTE_SECONDS: Final = 2.0
_CLOCK_BROKEN_SECONDS: Final = 60.0
_DASHBOARD_PORT: Final = 8265
_CLIENT_PORT: Final = 10001
_AGENT_PORT: Final = 52365
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


def check_cluster(file: ClusterFile, head: str | None) -> list[Finding]:
    """Check a cluster file, and every machine that it names.

    Args:
        file: The cluster file.
        head: Address of the head; None for rented machines that do not run yet.
    """
    found = [*check_file(file), *_check_here(file)]
    if head is None:
        return [*found, Finding("machines", "login", "note", "rented by `ray up`; checked once they run")]
    if any(one.what == "schema" and one.state == "broken" for one in found) or not _may_log_in(file):
        return [*found, Finding("machines", "login", "broken", "not tried: fill in the file first")]
    facts, faults = _ask(file, head)
    found += faults
    here, pins, reach = environment_here(), read_pins(file), check_reach(file, facts, head)
    for one in facts:
        found += check_machine(file, one, is_head=one.host == head)
        found.append(check_versions(one, here=here, pins=pins, path=file.path))
        found += [other for other in reach if other.where == one.host]
    named = {one.host for one in facts}
    return [*found, *(one for one in reach if one.where not in named), *compare_machines(facts)]


def check_file(file: ClusterFile) -> list[Finding]:
    """Check what a cluster file says, without a look at any machine."""
    faults = schema_faults(file.config)
    found = [Finding("file", "schema", "broken", fault) for fault in faults]
    if not faults:
        found.append(Finding("file", "schema", "ok", f"valid for Ray; provider {file.provider}"))
    for mark in marks(file):
        text = f"{mark.value} {mark.effect}"
        if mark.is_filled_in:
            found.append(Finding("file", mark.key, "ok", text))
        else:
            found.append(Finding("file", mark.key, "broken", f"{mark.value} is an example: fill it in"))
    found += _check_commands(file)
    missing = [
        str(source)
        for source in (file.config.get("file_mounts") or {}).values()
        if not Path(str(source)).expanduser().exists()
    ]
    if missing:
        detail = f"not here: {', '.join(missing)}; run it in the repository"
        found.append(Finding("file", "file_mounts", "broken", detail))
    return found


def check_machine(file: ClusterFile, facts: MachineFacts, *, is_head: bool) -> list[Finding]:
    """Judge what one machine said about itself."""
    found = [
        ("login", "ok", f"as {facts.user}, {facts.system}, home {facts.home}"),
        _python(facts),
        _disk(facts),
        _temporary(facts),
        ("gpus", "ok" if facts.gpus else "note", "; ".join(facts.gpus) or "none; nvidia-smi shows no GPU"),
        ("cpus", "ok", _size(facts)),
        _clock(facts),
        _ports(file, facts, is_head=is_head),
    ]
    if "rsync" not in facts.programs:
        found.append(("rsync", "broken", "is not there, and `ray up` copies with it; install it"))
    if len(file.workers) > 0 and (fault := _address_fault(facts)) is not None:
        found.append(("address", "broken", fault))
    if facts.searches:
        detail = f"{len(facts.searches)} running: `ray up` would kill it, `orchestrate cluster up` refuses"
        found.append(("searches", "note", detail))
    if facts.ray:
        detail = f"runs already, with {len(facts.ray)} processes; `ray up` would end it and start anew"
        found.append(("ray", "note", detail))
    return [Finding(facts.host, what, state, detail) for what, state, detail in found]


def compare_machines(facts: Sequence[MachineFacts]) -> list[Finding]:
    """Find what differs between the machines of a cluster though it must be the same."""
    if len(facts) < 2:
        return []
    found = [_homes(facts), *compare_versions(facts)]
    clocks = [one.clock_offset_seconds for one in facts]
    if max(clocks) - min(clocks) >= _CLOCK_NOTE_SECONDS:
        detail = f"{max(clocks) - min(clocks):.1f} s apart; set them by NTP, or time limits are off"
        found.append(Finding("all", "clocks", "note", detail))
    return found


def _check_commands(file: ClusterFile) -> list[Finding]:
    found = [*check_tokens(file), *_check_dashboard(file.head_starts)]
    if file.config.get("docker"):
        detail = "commands of orchestrate run on the machines, not in containers"
        found.append(Finding("file", "docker", "note", detail))
    return found


def _check_dashboard(starts: Sequence[RayStart]) -> list[Finding]:
    found = []
    hosts = [one.options["--dashboard-host"] for one in starts if "--dashboard-host" in one.options]
    if any(host not in _LOOPBACK for host in hosts):
        detail = f"the dashboard would listen on {', '.join(hosts)}; 127.0.0.1 is enough"
        found.append(Finding("file", "dashboard", "broken", detail))
    if not any(one.options.get("--include-dashboard", "").lower() == "true" for one in starts):
        detail = "is off: `orchestrate submit` needs --include-dashboard=true on the head"
        found.append(Finding("file", "dashboard", "note", detail))
    return found


def _check_here(file: ClusterFile) -> list[Finding]:
    missing = [program for program in ("ssh", "rsync", "ray") if shutil.which(program) is None]
    found = []
    if missing:
        found.append(Finding("here", "programs", "broken", f"{', '.join(missing)} not on the PATH"))
    key = file.key
    if key is not None and not key.is_file():
        found.append(Finding("here", "key", "broken", f"no private key at {key}"))
    elif key is not None and key.stat().st_mode & 0o077:
        found.append(Finding("here", "key", "broken", f"others may read {key}: chmod 600 {key}"))
    return found


def _may_log_in(file: ClusterFile) -> bool:
    needed = ("provider.head_ip", "auth.ssh_user", "auth.ssh_private_key")
    return all(mark.is_filled_in for mark in marks(file) if mark.key in needed)


def _ask(file: ClusterFile, head: str) -> tuple[list[MachineFacts], list[Finding]]:
    """Facts of all machines that can be logged in to, and what is wrong with the others."""

    def ask(login: Login) -> MachineFacts | Finding:
        ports = (file.port, _DASHBOARD_PORT, _CLIENT_PORT, _AGENT_PORT)
        try:
            return probe(login, folder=file.remote_folder, ports=ports if login.host == head else ())
        except RemoteError as error:
            return Finding(login.host, "login", "broken", str(error))

    answers = on_all_machines(ask, logins(file, head))
    facts = [one for one in answers if isinstance(one, MachineFacts)]
    return facts, [one for one in answers if isinstance(one, Finding)]


_Said = tuple[str, State, str]


def _python(facts: MachineFacts) -> _Said:
    python = facts.python
    if facts.environment:
        return ("python", "ok", f"{facts.environment.get('python', '')} of the environment")
    if python is None:
        others = ", ".join(_version(one.version) for one in facts.pythons) or "no Python at all"
        return ("python", "broken", f"3.11 to 3.13 is needed, found {others}")
    version = _version(python.version)
    if not python.has_venv:
        detail = f"{python.program} {version} cannot make environments: apt install {python.program}-venv"
        return ("python", "broken", detail)
    return ("python", "ok", f"{python.program} {version}")


def _disk(facts: MachineFacts) -> _Said:
    if facts.read_only:
        return ("disk", "broken", f"{facts.read_only} cannot be written")
    needed = _GIB * (FOR_RUNS_GIB if facts.environment else FOR_INSTALLATION_GIB)
    text = f"{facts.disk_bytes / _GIB:.0f} GiB free"
    if facts.disk_bytes < needed:
        return ("disk", "broken", f"{text}, {needed / _GIB:.0f} are needed")
    return ("disk", "ok", text)


def _temporary(facts: MachineFacts) -> _Said:
    text = f"{facts.temporary_bytes / _GIB:.1f} GiB free"
    if facts.temporary_bytes < _TEMPORARY_BYTES:
        return ("temporary", "broken", f"{text} in the temporary folder, where Ray keeps sockets and logs")
    return ("temporary", "ok", text)


def _clock(facts: MachineFacts) -> _Said:
    off = facts.clock_offset_seconds
    if abs(off) < _CLOCK_NOTE_SECONDS:
        return ("clock", "ok", "as here")
    state: State = "broken" if abs(off) >= _CLOCK_BROKEN_SECONDS else "note"
    way = "ahead of" if off > 0 else "behind"
    return ("clock", state, f"{abs(off):.0f} s {way} this machine; set it by NTP, or time limits are off")


def _ports(file: ClusterFile, facts: MachineFacts, *, is_head: bool) -> _Said:
    if not is_head:
        return ("ports", "ok", "Ray chooses free ones")
    taken = ", ".join(map(str, facts.taken_ports))
    if not taken:
        return ("ports", "ok", f"{file.port} is free")
    if facts.ray:
        return ("ports", "note", f"{taken} in use, by the Ray that runs there")
    if file.port in facts.taken_ports:
        detail = (
            f"{file.port} is in use by another program or user; choose another --port in the start commands"
        )
        return ("ports", "broken", detail)
    return ("ports", "note", f"{taken} in use, by another program or user; Ray takes others where it can")


def _address_fault(facts: MachineFacts) -> str | None:
    """Ray takes a machine that it knows under another address than the file does for a dead one."""
    try:
        address = str(ip_address(facts.host))
    except ValueError:
        return f"a name; with several machines write the address: {' or '.join(facts.addresses[:2])}"
    if not facts.addresses or address in facts.addresses:
        return None
    return f"is none of its own: {', '.join(facts.addresses)}; Ray would take it for dead"


def _homes(facts: Sequence[MachineFacts]) -> Finding:
    homes = {one.host: one.home for one in facts}
    if len(set(homes.values())) == 1:
        return Finding("all", "home", "ok", facts[0].home)
    text = ", ".join(f"{host} {home}" for host, home in homes.items())
    detail = f"differs: {text}; the token is copied to where it lies on the head"
    return Finding("all", "home", "broken", detail)


def _size(facts: MachineFacts) -> str:
    memory = "" if facts.memory_bytes is None else f", {facts.memory_bytes / _GIB:.0f} GiB of memory"
    shared = facts.shared_memory_bytes
    return f"{facts.cpus}{memory}" + ("" if shared is None else f", /dev/shm {shared / _GIB:.0f} GiB")


def _version(numbers: Iterable[int]) -> str:
    return ".".join(map(str, numbers))
