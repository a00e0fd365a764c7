"""What a machine is asked before `ray up`: one shell script, and the facts that it prints.

The script needs neither Python nor Ray over there. It changes nothing.
"""

import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cluster.errors import RemoteError
from cluster.ssh import Login
from cluster.verbs import MODULE, PROGRAMS, SEARCHES, STAY_HERE

PRODUCT: Final = "breast-image-orchestrator"
CODE: Final = "code"
PACKAGES: Final = ("ray", "torch", "torchvision", "timm", "optuna", "numpy", "onnxruntime", PRODUCT)
_ROOMS: Final = ("cluster", "orchestrator", "results", "search_spaces", "trainables")
_PYTHONS: Final = ("python3.12", "python3.11", "python3.13", "python3")  # in the order of the set-up command
_LONGEST_SECONDS: Final = 60.0
_SUBMITTED: Final = MODULE  # a verb that was typed by hand goes on without Ray, unless it is a search

# Asked of the Python of an environment: versions, and a digest of the code, whose version changes less often.
ENVIRONMENT: Final = r"""
import hashlib, importlib.metadata, pathlib, sys
root = pathlib.Path(sys.argv[1])
print("python=%d.%d.%d" % sys.version_info[:3], end=" ")
for name in sys.argv[2:]:
    try:
        print("%s=%s" % (name, importlib.metadata.version(name)), end=" ")
    except importlib.metadata.PackageNotFoundError:
        pass
digest, count = hashlib.sha256(), 0
for room in "ROOMS".split():
    for path in sorted((root / room).rglob("*.py"), key=lambda path: path.as_posix()):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
        count += 1
if count:
    print("CODE=" + digest.hexdigest()[:12], end=" ")
""".replace("ROOMS", " ".join(_ROOMS)).replace("CODE", CODE)


def _pattern(programs: Sequence[str], verbs: Sequence[str]) -> str:
    """The command lines with one of the verbs, as a pattern of the shell."""
    return "|".join(f'*"{program} {verb} "*' for program in programs for verb in verbs)


# Ports are looked up in /proc, since ss and netstat may be missing; 0A is "listens". A process is ours if its
# folder in /proc is ours. What a program is, is in its first words: an editor that shows a script is none.
SCRIPT: Final = (
    r"""
say() { printf '%s\t%s\n' "$1" "$2"; }
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
folder=$(eval "echo $1"); ports=$2
say clock "$(date +%s.%N)"
say user "$(id -un)"
say home "$HOME"
say system "$(uname -s -m)"
say addresses "$(hostname -I 2>/dev/null)"
for program in rsync tmux; do command -v "$program" >/dev/null 2>&1 && say program "$program"; done
for python in PYTHONS; do
  command -v "$python" >/dev/null 2>&1 || continue
  version=$("$python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue
  venv=no; "$python" -c 'import ensurepip, venv' 2>/dev/null && venv=yes
  say python "$python $version $venv"
done
if [ -x "$folder/venv/bin/python" ]; then
  say environment "$("$folder/venv/bin/python" - "$folder/project" PACKAGES 2>/dev/null <<'END'
ENVIRONMENT
END
)"
fi
place=$folder; while [ ! -d "$place" ]; do place=$(dirname "$place"); done
say disk "$(df -Pk "$place" | awk 'NR == 2 {print $4}')"
[ -w "$place" ] || say readonly "$place"
say temporary "$(df -Pk "${TMPDIR:-/tmp}" | awk 'NR == 2 {print $4}')"
[ -d /dev/shm ] && say shared "$(df -Pk /dev/shm | awk 'NR == 2 {print $4}')"
say cpus "$(getconf _NPROCESSORS_ONLN 2>/dev/null)"
[ -r /proc/meminfo ] && say memory "$(awk '/^MemTotal/ {print $2}' /proc/meminfo)"
command -v nvidia-smi >/dev/null 2>&1 &&
  nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader 2>/dev/null |
  while IFS= read -r line; do say gpu "$line"; done
for port in $ports; do
  hex=$(printf '%04X' "$port")
  cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
    awk -v hex="$hex" '$4 == "0A" && $2 ~ ":" hex "$" {found = 1} END {exit !found}' && say taken "$port"
done
for entry in /proc/[0-9]*; do
  [ -O "$entry" ] || continue
  line=$(tr '\000' ' ' < "$entry/cmdline" 2>/dev/null) || continue
  [ -n "$line" ] || continue
  case "$line" in
    *ray/core/src/ray/*|ray::*|ray-dashboard-*|*ray/autoscaler/_private/monitor.py*|*ray/dashboard/*|\
    *ray/_private/log_monitor.py*|*ray.util.client.server*)
      say ray "${entry#/proc/} $line" ;;
    SEARCHES)
      case "${line%% *}" in *python*) say search "${entry#/proc/} $line" ;; esac ;;
    STAY_HERE) ;;
    SUBMITTED)
      case "${line%% *}" in *python*) say search "${entry#/proc/} $line" ;; esac ;;
  esac
done
say end end
""".replace("PYTHONS", " ".join(_PYTHONS))
    .replace("PACKAGES", " ".join(PACKAGES))
    .replace("SEARCHES", _pattern(PROGRAMS, SEARCHES))
    .replace("STAY_HERE", _pattern(PROGRAMS, STAY_HERE))
    .replace("SUBMITTED", f'*"{_SUBMITTED} "*')
    .replace("ENVIRONMENT\n", ENVIRONMENT)
)


@dataclass(frozen=True, slots=True)
class Python:
    """A Python of a machine.

    Attributes:
        program: Its name on the path.
        version: Major, minor and micro version.
        has_venv: True if it can make virtual environments.
    """

    program: str
    version: tuple[int, ...]
    has_venv: bool

    @property
    def is_usable(self) -> bool:
        """True for a version that the project runs on."""
        return (3, 11) <= self.version[:2] < (3, 14)


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the user who logs in.

    Attributes:
        pid: Its number over there.
        command: Its command line.
    """

    pid: int
    command: str


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What a machine said about itself.

    Attributes:
        host: Address that it was asked under.
        user: Who logged in.
        home: Home folder.
        system: Operating system and processor.
        addresses: Its own addresses; empty if it does not say.
        programs: Which of rsync and tmux it has.
        pythons: Its Pythons, in the order in which the set-up command tries them.
        environment: Package -> version, in the environment that is installed, with `python` and a digest of
            the project as `code`; empty without an environment.
        disk_bytes: Free space where the project goes.
        temporary_bytes: Free space in the temporary folder.
        shared_memory_bytes: Free space in /dev/shm; None without it.
        memory_bytes: Main memory; None if it does not say.
        cpus: Number of CPUs.
        gpus: Name, memory and driver of each GPU.
        taken_ports: Those of the ports in question where something listens.
        read_only: Folder that cannot be written though the project goes there; empty for none.
        ray: Ray's processes of this user.
        searches: Searches of this user, and whatever else it has submitted to Ray.
        clock_offset_seconds: Its clock minus ours, less what the time of the answer explains.
    """

    host: str
    user: str
    home: str
    system: str
    addresses: tuple[str, ...]
    programs: frozenset[str]
    pythons: tuple[Python, ...]
    environment: Mapping[str, str]
    disk_bytes: int
    temporary_bytes: int
    shared_memory_bytes: int | None
    memory_bytes: int | None
    cpus: int
    gpus: tuple[str, ...]
    taken_ports: tuple[int, ...]
    read_only: str
    ray: tuple[Process, ...]
    searches: tuple[Process, ...]
    clock_offset_seconds: float

    @property
    def python(self) -> Python | None:
        """The Python that the set-up command would take; None if it would find none."""
        return next((python for python in self.pythons if python.is_usable), None)


def probe(login: Login, *, folder: str, ports: Sequence[int]) -> MachineFacts:
    """Ask one machine.

    Args:
        login: How to get there.
        folder: Folder over there that the project goes to, such as `~/orchestrate`.
        ports: Ports that must be free.

    Raises:
        RemoteError: If it cannot be logged in to, or its answer is not understood.
    """
    asked = time.time()
    command = f"sh -s -- '{folder}' '{' '.join(map(str, ports))}'"
    answer = login.run(command, text=SCRIPT, timeout_seconds=_LONGEST_SECONDS)
    return facts_of(login.host, answer, asked=asked, answered=time.time())


def environment_here() -> Mapping[str, str]:
    """Return what the environment of this process holds, as a machine says it of its own.

    Raises:
        RemoteError: If Python cannot be started anew.
    """
    root = Path(__file__).parents[1]
    words = [sys.executable, "-", str(root), *PACKAGES]
    done = subprocess.run(words, input=ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["nothing"]
        raise RemoteError(f"the versions of this machine are needed, {sys.executable} said: {said[-1]}")
    return _environment(done.stdout)


def facts_of(host: str, answer: str, *, asked: float, answered: float) -> MachineFacts:
    """Return what the script printed as facts.

    Args:
        host: Address of the machine.
        answer: Lines of a name, a tab and a value.
        asked: Our clock, in seconds, before the script ran.
        answered: Our clock after it.

    Raises:
        RemoteError: If the script did not run to its end.
    """
    said: dict[str, list[str]] = {}
    for line in answer.splitlines():
        name, found, value = line.partition("\t")
        if found:
            said.setdefault(name, []).append(value.strip())
    if "end" not in said:
        raise RemoteError(f"{host} does not answer as a shell of Unix does: {answer.strip()[:80]!r}")

    def one(name: str) -> str:
        return said.get(name, [""])[0]

    clock = float(one("clock")) if re.fullmatch(r"\d+(\.\d+)?", one("clock")) else asked
    return MachineFacts(
        host=host,
        user=one("user"),
        home=one("home"),
        system=one("system"),
        addresses=tuple(one("addresses").split()),
        programs=frozenset(said.get("program", ())),
        pythons=tuple(map(_python, said.get("python", ()))),
        environment=_environment(one("environment")),
        disk_bytes=_kilobytes(one("disk")) or 0,
        temporary_bytes=_kilobytes(one("temporary")) or 0,
        shared_memory_bytes=_kilobytes(one("shared")),
        memory_bytes=_kilobytes(one("memory")),
        cpus=int(one("cpus") or 0),
        gpus=tuple(said.get("gpu", ())),
        taken_ports=tuple(int(port) for port in said.get("taken", ())),
        read_only=one("readonly"),
        ray=tuple(map(_process, said.get("ray", ()))),
        searches=tuple(map(_process, said.get("search", ()))),
        clock_offset_seconds=max(clock - answered, 0.0) + min(clock - asked, 0.0),
    )


def _environment(text: str) -> Mapping[str, str]:
    return dict(pair.partition("=")[::2] for pair in text.split())


def _python(text: str) -> Python:
    program, version, venv = text.split()
    return Python(program, tuple(map(int, version.split("."))), venv == "yes")


def _process(text: str) -> Process:
    pid, _, command = text.partition(" ")
    return Process(int(pid), command.strip())


def _kilobytes(text: str) -> int | None:
    return int(text) * 1024 if text.isdecimal() else None
