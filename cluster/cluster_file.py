"""A cluster file as `ray up` reads it: its machines, its logins, its marked lines and its faults."""

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Final

import yaml

from cluster.errors import RenderError
from cluster.start_commands import RayStart, ray_starts
from trainables.common.text import first_line

_OF_KUBERNETES: Final = "apiVersion"
_NOT_FILLED_IN: Final = ("example.org", "your-", "YOUR-")
_PROJECT_FILE: Final = "pyproject.toml"
_DEFAULT_PORT: Final = 6379

# Marked lines of our files -> what they decide; `{value}` is what stands there.
_EFFECTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "provider.head_ip": "is logged in to, gets the project, runs Ray's head and every submitted search",
        "provider.worker_ips": "are logged in to from the head, on port 22, and join it",
        "provider.region": "is where machines are rented",
        "provider.security_group.IpPermissions.0.IpRanges.0.CidrIp": "may reach port 22 of the machines",
        "auth.ssh_user": "is who logs in everywhere; Ray and all trials run as this user",
        "auth.ssh_private_key": "logs in without a password; `ray up` copies it to the head, as "
        "~/ray_bootstrap_key.pem",
        "auth.ssh_proxy_command": "connects to the head instead of a direct connection to port 22",
        "max_workers": "machines at most besides the head",
    }
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A setting of a cluster file that its reader fills in.

    Attributes:
        key: Dotted name.
        value: What stands there, as text.
        effect: What it decides, as the end of a sentence that begins with the value.
        is_filled_in: False while it is the file's own example.
    """

    key: str
    value: str
    effect: str
    is_filled_in: bool


@dataclass(frozen=True, slots=True)
class ClusterFile:
    """What a cluster file says about machines and logins.

    Attributes:
        path: The file.
        config: Its content.
    """

    path: Path
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the cluster."""
        return str(self.config.get("cluster_name", "default"))

    @property
    def provider(self) -> str:
        """Kind of machines: `local` for machines of one's own, or a cloud such as `aws`."""
        return str(self.config["provider"].get("type", ""))

    @property
    def is_rented(self) -> bool:
        """True if machines are rented, so that their addresses are not in the file."""
        return self.provider != "local"

    @property
    def head(self) -> str | None:
        """Address of the head as `ray up` reaches it; None for rented machines."""
        provider = self.config["provider"]
        found = provider.get("external_head_ip") or provider.get("head_ip")
        return None if found is None or self.is_rented else str(found)

    @property
    def workers(self) -> tuple[str, ...]:
        """Addresses of the other machines; empty for rented ones."""
        listed = self.config["provider"].get("worker_ips") or ()
        return () if self.is_rented else tuple(map(str, listed))

    @property
    def rented(self) -> Mapping[str, int]:
        """Kind of rented machine -> how many are always rented besides the head; empty if none."""
        if not self.is_rented:
            return {}
        kinds = self.config.get("available_node_types")
        if not isinstance(kinds, Mapping):  # a file for all machines of one kind, as Ray once had them
            kinds = {"worker": self.config}
        found = {str(name): _least(kind) for name, kind in kinds.items()}
        return {name: count for name, count in found.items() if count}

    @property
    def user(self) -> str:
        """Who logs in."""
        return str(self._auth.get("ssh_user", ""))

    @property
    def key(self) -> Path | None:
        """Private key that logs in; None leaves it to ssh."""
        found = self._auth.get("ssh_private_key")
        return None if not found else Path(str(found)).expanduser()

    @property
    def proxy_command(self) -> str | None:
        """Command that connects to the head's SSH server; None for a direct connection."""
        found = self._auth.get("ssh_proxy_command")
        return None if not found else str(found)

    @property
    def port(self) -> int:
        """Port of Ray's control service on the head, as the start command names it."""
        named = [start.options["--port"] for start in self.head_starts if "--port" in start.options]
        return int(named[0]) if named and named[0].isdecimal() else _DEFAULT_PORT

    @property
    def remote_folder(self) -> str:
        """Folder over there that holds project and environment, and runs by default, such as `~/orchestrate`.

        Raises:
            RenderError: If the file does not copy the project.
        """
        for place, source in (self.config.get("file_mounts") or {}).items():
            if PurePosixPath(str(source)).name == _PROJECT_FILE:
                return str(PurePosixPath(place).parent.parent)
        raise RenderError(
            f"{self.path} does not copy the project: file_mounts names no {_PROJECT_FILE}; take "
            "cluster/dgx.yaml, cluster/local.yaml or cluster/aws.yaml as a pattern"
        )

    @property
    def needs_first_autoscaler(self) -> bool:
        """True if Ray's second autoscaler would start one machine fewer than the file lists."""
        return bool(self.workers)

    @property
    def inner_head(self) -> str | None:
        """Address of the head as the other machines reach it; None for rented machines."""
        found = self.config["provider"].get("head_ip")
        return None if found is None or self.is_rented else str(found)

    @property
    def head_starts(self) -> tuple[RayStart, ...]:
        """Every `ray start` on the head."""
        return self._starts("head_start_ray_commands")

    @property
    def worker_starts(self) -> tuple[RayStart, ...]:
        """Every `ray start` on the other machines."""
        return self._starts("worker_start_ray_commands")

    def _starts(self, key: str) -> tuple[RayStart, ...]:
        commands = self.config.get(key) or ()
        return tuple(start for command in commands for start in ray_starts(str(command)))

    @property
    def _auth(self) -> Mapping[str, Any]:
        found = self.config.get("auth") or {}
        return found if isinstance(found, Mapping) else {}


def read_cluster_file(path: Path) -> ClusterFile:
    """Read a cluster file.

    Raises:
        RenderError: If it is not one that `ray up` reads.
    """
    try:
        config = yaml.safe_load(path.read_text())
    except OSError as error:
        raise RenderError(
            f"cannot read the cluster file {path}: {error.strerror}; name one that `ray up` takes, such as "
            "cluster/dgx.yaml"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = first_line(error)
        raise RenderError(f"{path} is not a cluster file: it is not valid YAML ({reason})") from error
    if isinstance(config, dict) and _OF_KUBERNETES in config:
        raise RenderError(
            f"{path} is for Kubernetes, not for `ray up`: kubectl apply -f {path} (docs/how-to-cluster.md)"
        )
    if not isinstance(config, dict) or not isinstance(config.get("provider"), dict):
        raise RenderError(
            f"{path} is not a cluster file: it has no provider; take cluster/dgx.yaml as a pattern"
        )
    return ClusterFile(path, MappingProxyType(config))


def schema_faults(config: Mapping[str, Any]) -> list[str]:
    """Return what Ray's own schema says is wrong with a cluster file; empty for a valid one.

    >>> schema_faults({"provider": {"type": "aws"}, "cluster_name": "a", "max_worker": 3})
    ["the file: Additional properties are not allowed ('max_worker' was unexpected)"]
    """
    import jsonschema

    validator = jsonschema.Draft7Validator(ray_schema())
    found = [
        f"{'.'.join(map(str, error.absolute_path)) or 'the file'}: {error.message}"
        for error in validator.iter_errors(dict(config))
    ]
    provider = config.get("provider") or {}
    if provider.get("type") == "local":
        found += [f"provider lacks {key}" for key in ("head_ip", "worker_ips") if key not in provider]
    return found


def ray_schema() -> dict[str, Any]:
    """Return the JSON schema of cluster files that comes with Ray.

    Raises:
        RenderError: If Ray is not installed.
    """
    found = importlib.util.find_spec("ray")
    for place in () if found is None else found.submodule_search_locations or ():
        schema = Path(place) / "autoscaler" / "ray-schema.json"
        if schema.is_file():
            content: dict[str, Any] = json.loads(schema.read_text())
            return content
    raise RenderError("Ray's schema of cluster files is needed; install ray[default]")


def marks(file: ClusterFile) -> tuple[Mark, ...]:
    """Return the settings that the reader of a cluster file fills in, and what each would do."""
    found = []
    for key, effect in _EFFECTS.items():
        value = _value_at(file.config, key.split("."))
        if value is not None:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            filled = not any(example in text for example in _NOT_FILLED_IN)
            found.append(
                Mark(key, text or "none:", effect if text else "no machine besides the head", filled)
            )
    return tuple(found)


def _least(kind: Any) -> int:
    """Number of machines of a kind that Ray rents whatever there is to do."""
    least = kind.get("min_workers") if isinstance(kind, Mapping) else None
    return max(0, least) if isinstance(least, int) else 0


def _value_at(place: Any, path: Sequence[str]) -> Any:
    for part in path:
        if isinstance(place, Mapping):
            place = place.get(part)
        elif isinstance(place, list) and part.isdecimal() and int(part) < len(place):
            place = place[int(part)]
        else:
            return None
    return place
