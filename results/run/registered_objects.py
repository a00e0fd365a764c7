"""What the program that started a search had registered in Python, and another process lacks."""

from collections.abc import Collection
from typing import Final

from results.errors import RunError
from results.run.records import SearchRecord
from trainables.common.registered import missing_names

_HOW: Final = {
    "backbone": "register it with orchestrator.register_backbone",
    "metric": "register it with orchestrator.register_metric",
    "space": "pass it as resume_search(RUN, space=FUNCTION)",
}


def require_registered(search: SearchRecord, *, kinds: Collection[str] = tuple(_HOW)) -> None:
    """Make sure that this process knows what the search had registered.

    Args:
        search: Request and facts of the search.
        kinds: Kinds of objects that are needed.

    Raises:
        RunError: If something is not registered here; the message says what, and what to do.
    """
    needed = {kind: names for kind, names in search.registered.items() if kind in kinds}
    for kind, names in missing_names(needed).items():
        raise RunError(
            f"{kind} {', '.join(names)} was registered in Python by the program that started the search "
            f"{search.task}/{search.name}; {_HOW[kind]} in a program of your own, and go on there with "
            "orchestrator.open_run or orchestrator.resume_search"
        )
