"""One thing that `orchestrate cluster check` looked at."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "broken"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        where: `file`, `here`, `all`, or the address of a machine.
        what: What was looked at.
        state: `broken` if `ray up` or a search would fail, `note` for what its reader should know.
        detail: What was found, and what to do where it is not `ok`.
    """

    where: str
    what: str
    state: State
    detail: str
