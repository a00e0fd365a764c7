"""What the commands of a cluster file say to `ray start`: its options, and the variables before it."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Final

TOKEN_MODE: Final = "RAY_AUTH_MODE"
_SEPARATORS: Final = frozenset(";&|()\n")
_SUBSTITUTED: Final = re.compile(r"\$\([^()]*\)")  # $(command), which is one part of a word
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=")
_START: Final = re.compile(r"\bray\s+start\b")


@dataclass(frozen=True, slots=True)
class RayStart:
    """One call of `ray start`.

    Attributes:
        options: Option -> value; an option without a value has an empty one.
        variables: Variables that stand before the call, or that its command exports earlier.
    """

    options: Mapping[str, str]
    variables: Mapping[str, str]

    @property
    def asks_for_token(self) -> bool:
        """True if the Ray that it starts asks for a token, whatever the login shell says."""
        return self.variables.get(TOKEN_MODE) == "token"


def ray_starts(command: str) -> tuple[RayStart, ...]:
    """Return the calls of `ray start` in a command of the shell, in their order.

    >>> [(dict(one.options), one.asks_for_token) for one in ray_starts("RAY_AUTH_MODE=token ray start --a=1")]
    [({'--a': '1'}, True)]
    >>> ray_starts("ray stop")
    ()
    """
    found = tuple(_starts(command, {}))
    if not found and _START.search(command):  # in a way that is not understood here
        return (RayStart(MappingProxyType({}), MappingProxyType({})),)
    return found


def _starts(command: str, exported: dict[str, str]) -> list[RayStart]:
    found: list[RayStart] = []
    for words in _simple_commands(command):
        if words[0] == "export":
            exported.update(_assigned(words[1:]))
            continue
        if words[0] == "unset":
            for name in words[1:]:
                exported.pop(name, None)
            continue
        place = _place_of_start(words)
        before = words if place is None else words[:place]
        variables = exported | _assigned(before)
        if place is not None:
            options = _options(words[place + 2 :])
            found.append(RayStart(MappingProxyType(options), MappingProxyType(variables)))
        else:
            nested = [word for word in words if " " in word and _START.search(word)]  # bash -c "ray start"
            found += [one for word in nested for one in _starts(word, dict(variables))]
    return found


def _simple_commands(command: str) -> list[list[str]]:
    lexer = shlex.shlex(_SUBSTITUTED.sub("_", command), posix=True, punctuation_chars=";&|()<>\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    try:
        tokens = list(lexer)
    except ValueError:  # a quotation that does not end
        tokens = command.split()
    commands: list[list[str]] = [[]]
    for token in tokens:
        if token and set(token) <= _SEPARATORS:
            commands.append([])
        else:
            commands[-1].append(token)
    return [words for words in commands if words]


def _place_of_start(words: Sequence[str]) -> int | None:
    for place, (program, verb) in enumerate(pairwise(words)):
        if verb == "start" and PurePosixPath(program).name == "ray":
            return place
    return None


def _assigned(words: Sequence[str]) -> dict[str, str]:
    pairs = (word.partition("=") for word in words if _ASSIGNMENT.match(word))
    return {name: value for name, _, value in pairs}


def _options(words: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            name, has_value, value = word.partition("=")
            found[name] = value
            name = "" if has_value else name
        elif name:
            found[name], name = word, ""
    return found
