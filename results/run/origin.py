"""Where a run folder was made: what it names is believed only where its search made it."""

from results.run.records import SearchRecord
from results.run.run_folder import RunFolder


def is_where_it_was_made(run: RunFolder, record: SearchRecord) -> bool:
    """Tell whether a run folder lies where its search says that it made it.

    One that was copied or moved, or that somebody else has handed over, may name code, hosts and folders that
    nobody here has chosen.

    Args:
        run: Folder of the search.
        record: Its request and facts.
    """
    made = record.request.runs / record.task / record.name
    return made.is_absolute() and run.path.resolve() == made
