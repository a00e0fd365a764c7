"""The record of a search that lies within the run folder of another one."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from results.run.records import SearchRecord
from results.run.versions import package_versions


def record_within(
    search: SearchRecord, place: str, *, request: Mapping[str, Any], **changes: Any
) -> SearchRecord:
    """Return request and facts of a search that takes over what another one has found out.

    Args:
        search: The other search.
        place: Where it lies in the run folder, such as `outer/1`.
        request: Options that differ, besides those that concern the other search alone.
        changes: Facts that differ.
    """
    own: dict[str, Any] = {
        "outer": None,
        "repeats": None,
        "name": None,
        "study_storage": None,
        "study": None,
        "pictures": False,
        **request,
    }
    facts: dict[str, Any] = {
        "request": search.request.model_copy(update=own),
        "name": f"{search.name}/{place}",
        "versions": package_versions(),
        "started_at": datetime.now(UTC),
        "terminated": None,
        "ended": None,
        "audit": None,
        "driver": "",
        **changes,
    }
    return search.model_copy(update=facts)
