"""An option of a search: a field of `SearchRequest`, and the groups in which the help shows them."""

from types import MappingProxyType
from typing import Any, Final

from pydantic import Field

# Groups of options, in the order of the help.
GROUPS: Final = MappingProxyType(
    {
        "task": "Task",
        "data": "Data",
        "budget": "Budget",
        "search": "Search",
        "space": "Space",
        "machine": "Machine",
        "reuse": "Earlier results",
        "output": "Output",
    }
)


def option(
    default: Any, description: str, *, group: str, shown_default: str | None = None, **extra: Any
) -> Any:
    """Describe an option.

    Args:
        default: Value if the option is not given.
        description: Description of the option, without a full stop.
        group: Key of `GROUPS`.
        shown_default: Default as the help shows it, if the value does not show it.
        extra: Bounds for pydantic (`ge`, `gt`, `le`), and for the command line `flag`, `metavar`, `unit`,
            `advice` (ends the message about a value out of range) and `is_file` (the typed file holds it).
    """
    bounds = {name: extra.pop(name) for name in ("ge", "gt", "le") if name in extra}
    return Field(
        default,
        description=description,
        json_schema_extra={"group": group, "shown_default": shown_default, **extra},
        **bounds,
    )
