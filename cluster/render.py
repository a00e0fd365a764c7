"""`python -m cluster.render FILE --set KEY=VALUE ...`: a cluster file with some settings replaced.

`ray up` reads one file and has no option for its settings. This prints the file with the settings that you
name replaced, so that the file in the repository can serve a machine that it does not know.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from cluster.cluster_file import ray_schema
from cluster.errors import RenderError
from trainables.common.errors import OrchestrateError, UnknownNameError

_EPILOG: Final = """\
examples:
  python -m cluster.render cluster/dgx.yaml --set provider.head_ip=10.0.0.7 --set auth.ssh_user=me > my.yaml
  python -m cluster.render cluster/dgx.yaml --set auth.ssh_private_key=my_key \\
      --set 'auth.ssh_proxy_command=nc 127.0.0.1 2222' > my.yaml
  ray up -y my.yaml
"""


def render(text: str, overrides: Sequence[str]) -> str:
    """Return a cluster file with settings replaced.

    Args:
        text: Content of the file, YAML.
        overrides: Overrides of the form `KEY=VALUE`. KEY is dotted; a number addresses an element of a list,
            counted from 0. VALUE is YAML, so that `[]` is an empty list and `3` a number; a setting that was
            text stays text.

    Returns:
        YAML without the comments of `text`.

    Raises:
        RenderError: If the file is not a cluster file, or an override does not fit it.
        UnknownNameError: If there is no such setting; the message holds the nearest one.

    >>> print(render("cluster_name: a\\nprovider: {type: local, head_ip: b}", ["provider.head_ip=10.0.0.7"]))
    cluster_name: a
    provider:
      type: local
      head_ip: 10.0.0.7
    <BLANKLINE>
    """
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RenderError(f"a cluster file in YAML is needed, but it cannot be read: {error}") from error
    if not isinstance(config, dict) or "provider" not in config:
        raise RenderError("a cluster file has at least cluster_name and provider; this one has no provider")
    for override in overrides:
        key, found, value = override.partition("=")
        if not found or not key.strip():
            raise RenderError(
                f"an override is KEY=VALUE, such as provider.head_ip=10.0.0.7, not {override!r}"
            )
        _replace(config, key.strip(), value)
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=1000)


def known_keys(config: Any, prefix: str = "") -> list[str]:
    """Return the dotted keys of a cluster file; elements of lists are numbered.

    >>> known_keys({"auth": {"ssh_user": "me"}, "setup_commands": ["a", "b"]})
    ['auth', 'auth.ssh_user', 'setup_commands', 'setup_commands.0', 'setup_commands.1']
    """
    keys: list[str] = []
    entries = config.items() if isinstance(config, dict) else enumerate(config)
    for name, value in entries:
        keys.append(f"{prefix}{name}")
        if isinstance(value, dict | list):
            keys.extend(known_keys(value, f"{prefix}{name}."))
    return keys


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rendered file; return 0, or 2 after a message when it cannot be made."""
    parser = argparse.ArgumentParser(
        prog="python -m cluster.render",
        description="Print a cluster file with some settings replaced.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="a cluster file, such as cluster/dgx.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    given = parser.parse_args(arguments)
    try:
        sys.stdout.write(render(given.file.read_text(), given.overrides))
    except OSError as error:
        print(f"cannot read {given.file}: {error.strerror}", file=sys.stderr)
        return 2
    except OrchestrateError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _replace(config: dict[str, Any], key: str, text: str) -> None:
    allowed = {*known_keys(config), *_keys_of_ray()}
    if key not in allowed:
        raise UnknownNameError("cluster setting", key, allowed)
    *path, last = key.split(".")
    place: Any = config
    for part in path:
        place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
    if isinstance(place, list):
        place[int(last)] = _parse(key, text, place[int(last)])
    else:
        place[last] = _parse(key, text, place.get(last))


def _parse(key: str, text: str, before: Any) -> Any:
    # Commands, names and paths are text, even if they look like other YAML ("a: b", "[ -x f ]", "0123").
    if isinstance(before, str) or key.startswith("auth."):
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RenderError(f"{key} needs a value in YAML, but {text!r} is not valid YAML: {error}") from error
    for kind, name in ((list, "a list, such as [] or [one, two]"), (dict, "a mapping, such as {}")):
        if isinstance(before, kind) and not isinstance(value, kind):
            raise RenderError(f"{key} needs {name}, found {text!r}")
    return value


def _keys_of_ray() -> list[str]:
    """Settings that `ray up` knows, whether a file has them or not; none if Ray is not installed."""
    try:
        properties = ray_schema()["properties"]
    except RenderError:
        return []
    # Below provider the schema lists every cloud; a machine of one's own has these besides those in the file.
    of_local_provider = ["provider.external_head_ip", "provider.use_internal_ips"]
    return [*properties, *(f"auth.{name}" for name in properties["auth"]["properties"]), *of_local_provider]


if __name__ == "__main__":
    sys.exit(main())
