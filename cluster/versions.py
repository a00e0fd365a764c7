"""Versions on the machines of a cluster, compared with each other and with the machine that submits."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from cluster.cluster_file import ClusterFile
from cluster.finding import Finding, State
from cluster.probe import CODE, PACKAGES, PRODUCT, MachineFacts

_PINS_FILE: Final = "constraints.txt"
_TOLD: Final = ("ray", "torch", "optuna", PRODUCT)
_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)", re.MULTILINE)
_NAMES: Final = MappingProxyType({"python": "Python", CODE: "the code"})
# Ray lets no machine and no search join a cluster whose Ray or Python is another, to the last number.
_OF_RAY: Final = ("python", "ray")


def read_pins(file: ClusterFile) -> Mapping[str, str]:
    """Return the versions that `ray up` installs, by package; empty if the file copies no constraints.txt."""
    for source in (file.config.get("file_mounts") or {}).values():
        path = Path(str(source)).expanduser()
        if path.name == _PINS_FILE and path.is_file():
            return MappingProxyType(dict(_PIN.findall(path.read_text())))
    return MappingProxyType({})


def check_versions(
    facts: MachineFacts, *, here: Mapping[str, str], pins: Mapping[str, str], path: Path
) -> Finding:
    """Compare what is installed on one machine with this one, or say what will be installed.

    Args:
        facts: What the machine said.
        here: Versions of this machine, as `cluster.probe.environment_here` returns them.
        pins: Versions that `ray up` installs.
        path: The cluster file.
    """
    if not facts.environment:
        return Finding(facts.host, "versions", "note", _to_be_installed(facts, here, pins))
    there = {name: version for name, version in facts.environment.items() if name in ("python", *_TOLD, CODE)}
    other = [name for name in there if name in here and _public(there[name]) != _public(here[name])]
    if not other:
        return Finding(facts.host, "versions", "ok", f"as here: {_listed(there)}")
    told = ", ".join(_difference(name, there[name], here[name]) for name in other)
    return Finding(
        facts.host,
        "versions",
        "broken" if "ray" in other else "note",
        f"other than here: {told}; {_advice(other, here, pins, path)}",
    )


def compare_versions(facts: Sequence[MachineFacts]) -> list[Finding]:
    """Find versions that differ between the machines of a cluster."""
    pythons = {one.host: _python(one) for one in facts if _python(one)}
    found = [_compared("python", pythons, "Ray needs the very same one on all machines, to the last number")]
    for name in (*PACKAGES, CODE):
        versions = {one.host: _public(one.environment[name]) for one in facts if name in one.environment}
        if len(set(versions.values())) > 1:
            reason = "`orchestrate cluster up` brings all to the same"
            found.append(
                _compared(name, versions, f"Ray refuses that; {reason}" if name == "ray" else reason)
            )
    return found


def _to_be_installed(facts: MachineFacts, here: Mapping[str, str], pins: Mapping[str, str]) -> str:
    parts = []
    if facts.python is not None:
        parts.append(f"an environment of {facts.python.program} {_python(facts)}")
    parts += [f"{name} {pins[name]}" for name in _TOLD if name in pins]
    product = here.get(PRODUCT, "")
    parts.append(f"{PRODUCT} {product}".strip() + " as it is here")
    return f"nothing yet; `ray up` installs {', '.join(parts)}; several GB"


def _advice(other: Sequence[str], here: Mapping[str, str], pins: Mapping[str, str], path: Path) -> str:
    said = []
    if any(name in pins and _public(here[name]) != _public(pins[name]) for name in other):
        said.append(f"here it is not that of {_PINS_FILE}: make setup")
    if any(name in (CODE, PRODUCT) or _public(pins.get(name, "")) == _public(here[name]) for name in other):
        said.append(
            f"`orchestrate cluster up {path}` brings it to that of here (`--no-restart` leaves Ray alone)"
        )
    if "python" in other:
        said.append(
            "a search that is submitted runs on theirs alone; Ray would refuse one that is started here"
        )
    return "; ".join(said) or "install the same"


def _compared(what: str, versions: Mapping[str, str], reason: str) -> Finding:
    if len(set(versions.values())) <= 1:
        return Finding("all", what, "ok", next(iter(versions.values()), "not installed yet"))
    state: State = "broken" if what in _OF_RAY else "note"
    text = ", ".join(f"{host} {version}" for host, version in versions.items())
    return Finding("all", what, state, f"differs: {text}; {reason}")


def _difference(name: str, there: str, here: str) -> str:
    if name == CODE:
        return "the code"
    return f"{_NAMES.get(name, name)} {there} (here {here})"


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(
        _NAMES[name] if name == CODE else f"{_NAMES.get(name, name)} {version}"
        for name, version in versions.items()
    )


def _python(facts: MachineFacts) -> str:
    if "python" in facts.environment:
        return facts.environment["python"]
    return "" if facts.python is None else ".".join(map(str, facts.python.version))


def _public(version: str) -> str:
    """Version without its label of a build, such as `+cpu`."""
    return version.partition("+")[0]
