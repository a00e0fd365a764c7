"""Options of a search by name: read with checks, and told in words for the command line and its messages."""

from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from results.run.search_request import SearchRequest
from trainables.common.errors import ConfigError, UnknownNameError


def parse_request(values: Mapping[str, Any]) -> SearchRequest:
    """Check values by name and return the request.

    Raises:
        UnknownNameError: If there is no such option; the message holds the nearest one.
        ConfigError: If a value is not allowed; the message names the option as it is typed.

    >>> parse_request({"task": "idc", "trials": 0})
    Traceback (most recent call last):
    ...
    trainables.common.errors.ConfigError: --trials must be at least 1, found 0
    """
    for name in values:
        if name not in SearchRequest.model_fields:
            raise UnknownNameError("option", name, SearchRequest.model_fields)
        refuse_empty(name, values[name])
    try:
        return SearchRequest.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(_message(error)) from error


def refuse_empty(name: str, value: Any) -> None:
    """Refuse a value of an option that is an empty text, or holds one.

    Raises:
        ConfigError: Since nobody means it: a variable of a script is not set, or a line was left unfinished.
    """
    several = value.values() if isinstance(value, Mapping) else value
    each = several if isinstance(value, tuple | list | Mapping) else [value]
    if any(isinstance(one, str) and not one.strip() for one in each):
        raise ConfigError(f"{flag_of(name)} needs a value, found an empty one; leave it out for its default")


def flag_of(name: str) -> str:
    """Return an option as it is typed on the command line.

    >>> flag_of("test_share"), flag_of("fixed_params")
    ('--test-share', '--set')
    """
    return str(facts_of(name).get("flag") or f"--{name.replace('_', '-')}")


def facts_of(name: str) -> dict[str, Any]:
    """Return the further facts of an option: group, flag, unit and other entries of `option`."""
    extra = SearchRequest.model_fields[name].json_schema_extra
    return dict(extra) if isinstance(extra, dict) else {}


def bounds_text(field: FieldInfo) -> str:
    """Return the range of an option in words; empty where every value of its type is allowed.

    >>> bounds_text(SearchRequest.model_fields["test_share"]), bounds_text(SearchRequest.model_fields["name"])
    ('between 0 and 0.5', '')
    >>> bounds_text(SearchRequest.model_fields["disk_gb"])
    'above 0'
    """
    bounds = {
        name: getattr(limit, name)
        for limit in field.metadata
        for name in ("ge", "gt", "le")
        if getattr(limit, name, None) is not None
    }
    low = bounds.get("ge", bounds.get("gt"))
    if low is None:
        return ""
    if "gt" in bounds:
        most = f" and at most {_number(bounds['le'])}" if "le" in bounds else ""
        return f"above {_number(low)}{most}"
    if "le" not in bounds:
        return f"at least {_number(low)}"
    return f"between {_number(low)} and {_number(bounds['le'])}"


def _number(value: float) -> str:
    """A number for a message; whole numbers with every digit."""
    return str(value) if isinstance(value, int) else f"{value:g}"


def _message(error: ValidationError) -> str:
    first = error.errors()[0]
    if not first["loc"]:
        return str(first["msg"]).removeprefix("Value error, ")
    name = str(first["loc"][0])
    if first["type"] == "missing":
        return f"{name} is missing"
    field, flag, found = SearchRequest.model_fields[name], flag_of(name), first["input"]
    if first["type"] not in ("greater_than_equal", "greater_than", "less_than_equal"):
        return f"{flag} must be {_kind_text(field)}, found {found!r}"
    bounds, advice = bounds_text(field), facts_of(name).get("advice")
    verb = "lie" if bounds.startswith("between") else "be"
    return f"{flag} must {verb} {bounds}, found {_number(found)}" + (f"; {advice}" if advice else "")


def plain_type(annotation: Any) -> Any:
    """Return the type of an option without the None that means that nothing was said."""
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not type(None))
    return annotation


def _kind_text(field: FieldInfo) -> str:
    """The type of an option in words."""
    kind = plain_type(field.annotation)
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    words: dict[Any, str] = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a text",
        Path: "a path",
        tuple: "a list of texts",
        dict: "names and values",
    }
    return words[get_origin(kind) or kind]
