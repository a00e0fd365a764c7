"""What stored features may take of the disk, in a search and in whatever reads its features after its end."""

from typing import Final

from results.run.records import SearchRecord
from results.run.run_folder import RunFolder

_GB: Final = 1e9


def features_gb(run: RunFolder, search: SearchRecord) -> float | None:
    """Return the disk budget of stored features, in 10^9 bytes; None for the default of the store.

    Of `--disk-gb` they have what else is there has left, as the search last measured it, and never more than
    all of it.

    Args:
        run: Folder of the search.
        search: Its request and facts.
    """
    asked, whole, limit = search.request.store_gb, search.request.disk_gb, run.store_limit()
    if whole is None:
        return asked
    left = whole if limit is None else limit / _GB
    return left if asked is None else min(asked, left)
