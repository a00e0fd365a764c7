"""Where a run folder was made: what it names is believed only where its search made it."""

import os
from collections.abc import Iterator
from pathlib import Path

from results.errors import RunError
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


def check_holds_no_links(run: RunFolder) -> None:
    """Make sure that nothing is written through a run folder that somebody else has handed over.

    A link in it would make a verb write to a file or a folder of the user that nobody has named. The lock of
    the study is a link that names nothing, and is never opened.

    Args:
        run: Folder of a search.

    Raises:
        RunError: If it was made elsewhere and holds a symbolic link.
    """
    try:
        is_own = is_where_it_was_made(run, run.search())
    except RunError:  # nobody goes on with it, and the verb says why
        return
    lock = f"{run.study_file.name}.lock"
    found = None if is_own else next((link for link in _links(run.path) if link.name != lock), None)
    if found is not None:
        raise RunError(
            f"{run.path} was made elsewhere, and {found.relative_to(run.path)} in it is a symbolic link, "
            "through which other files of yours would be written; look at what it names, and put a copy in "
            "its place, or remove it"
        )


def _links(folder: Path) -> Iterator[Path]:
    """The symbolic links in a folder, at any depth."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                yield Path(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                yield from _links(Path(entry.path))
