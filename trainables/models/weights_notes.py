"""Notes beside a file of weights: its licence, and how its tensors are named in the published network.

They are a YAML file of the same name, `NAME.yaml` beside `NAME.pt`:

    licence: CC-BY-NC-4.0
    key_map: efficientnet_pytorch     # a naming in `trainables.models.key_maps`

or, for names that no key map knows:

    keys:
      '^image_encoder\\.': ''         # regular expression: replacement, as in Python
      '^text_encoder\\.': null        # tensors that the network does not need

Of the rules of `keys` the first that is found in a name acts on it; other names stay.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from trainables.common.errors import UnknownNameError, WeightsError
from trainables.common.plain_yaml import PlainYamlError, load_yaml
from trainables.models.key_maps import check_key_map

_FIELDS: Final = ("licence", "key_map", "keys")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class WeightsNotes:
    """What the user says about a file of weights.

    Attributes:
        licence: Licence of the file, such as `CC-BY-NC-4.0`; None where nothing is said.
        keys: Regular expressions with their replacements, in order; None drops a tensor.
        key_map: Naming that its tensors have, after `keys`; None where it is that of the published network.
    """

    licence: str | None = None
    keys: tuple[tuple[str, str | None], ...] = ()
    key_map: str | None = None


def notes_beside(path: Path) -> WeightsNotes:
    """Read the notes beside a file of weights; empty ones where there are none.

    Raises:
        WeightsError: If they cannot be read, or hold something else.
        UnknownNameError: If they hold a field of another name, or name a key map that does not exist.
    """
    notes = path.with_suffix(".yaml")
    if not notes.is_file():
        return WeightsNotes()
    try:
        content = load_yaml(notes.read_bytes())
    except (OSError, PlainYamlError) as error:
        raise WeightsError(f"{notes} cannot be read: {error}") from error
    if not isinstance(content, Mapping):
        raise WeightsError(f"{notes} must hold licence, key_map and keys, each on a line of its own")
    for name in content:
        if name not in _FIELDS:
            raise UnknownNameError(f"field of {notes.name}", str(name), _FIELDS)
    licence, keys = content.get("licence"), content.get("keys") or {}
    if not isinstance(licence, str | None) or not isinstance(keys, Mapping):
        raise WeightsError(f"{notes}: licence must be a text, and keys a list of 'expression': 'replacement'")
    rules = tuple(_rule(notes, key, value) for key, value in keys.items())
    key_map = content.get("key_map")
    return WeightsNotes(licence, rules, None if key_map is None else check_key_map(str(key_map)))


def renamed(
    tensors: Sequence[tuple[str, Value]], keys: Sequence[tuple[str, str | None]], file_name: str
) -> list[tuple[str, Value]]:
    """Return tensors under the names of the published network.

    Args:
        tensors: Names and tensors of the file.
        keys: Rules, see `WeightsNotes`.
        file_name: Name of the file, for messages.

    Raises:
        WeightsError: If two tensors get one name, or a rule finds nothing.

    >>> renamed([("net.a", 1), ("text.b", 2), ("c", 3)], [("^net[.]", ""), ("^text[.]", None)], "own.pt")
    [('a', 1), ('c', 3)]
    """
    found: dict[str, tuple[str, Value]] = {}
    used: set[str] = set()
    for name, tensor in tensors:
        expression, replacement = next((own for own in keys if re.search(own[0], name)), ("", ""))
        used.add(expression)
        if replacement is None:
            continue
        new = re.sub(expression, replacement, name) if expression else name
        if new in found:
            raise WeightsError(f"{file_name}: by its keys {found[new][0]} and {name} are both named {new}")
        found[new] = (name, tensor)
    idle = [expression for expression, _ in keys if expression not in used]
    if idle and tensors:
        raise WeightsError(
            f"{file_name}: its keys name {', '.join(idle)}, and no tensor is called so; the first tensors "
            f"are {', '.join(name for name, _ in tensors[:3])}"
        )
    return [(new, tensor) for new, (_, tensor) in found.items()]


def _rule(notes: Path, expression: Any, replacement: Any) -> tuple[str, str | None]:
    if not isinstance(expression, str) or not isinstance(replacement, str | None):
        raise WeightsError(
            f"{notes}: {expression!r}: {replacement!r} is not an expression and a text, or null to drop it"
        )
    try:
        re.sub(expression, replacement or "", "")
    except (re.error, IndexError) as error:
        raise WeightsError(f"{notes}: {expression!r}: {replacement!r} cannot be used: {error}") from error
    return expression, replacement
