"""Hosts that a run from elsewhere names: they are asked, and get data, only if the user names them again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from results.run.origin import is_where_it_was_made
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from results.run.storage_url import check_has_no_password, with_absolute_path
from trainables.common.errors import ConfigError

NOWHERE: Final = "none"  # what a user says to go on without a copy, or without a tracker
_AND: Final = " --track "  # between the names of trackers, as they are typed
_OR_NOT: Final = f"; `{NOWHERE}` in its place goes on without"


@dataclass(frozen=True, slots=True)
class SaidPlaces:
    """Places of a search that the user who resumes it has said again; None for what was not said.

    Attributes:
        study_storage: URL of the storage of its study.
        results: URI that its run folder is copied to, or `none`.
        track: Names of trackers, or `none`.
    """

    study_storage: str | None = None
    results: str | None = None
    track: Sequence[str] | None = None


NOTHING_SAID: Final = SaidPlaces()


@dataclass(frozen=True, slots=True)
class Places:
    """Places that a resumed search uses.

    Attributes:
        results: URI that the run folder is copied to; None for no copy.
        track: Names of trackers.
    """

    results: str | None = None
    track: tuple[str, ...] = field(default=())


def check_study_storage(run: RunFolder, record: SearchRecord, said: SaidPlaces) -> None:
    """Make sure that the storage of a study is asked, and gets a password, only where the user chose it.

    Args:
        run: Folder of the search.
        record: Its request and facts.
        said: What the user has said again.

    Raises:
        ConfigError: If the user says another one, or one with a password; or if the run was made elsewhere
            and names one that the user has not said.
    """
    url = said.study_storage
    if url is not None:
        check_has_no_password(url)
        url = with_absolute_path(url)
    _check(run, record, "--study-storage", record.request.study_storage, url, "which has its study")


def places_of(run: RunFolder, record: SearchRecord, said: SaidPlaces) -> Places:
    """Return the places that get data of a search that goes on: its own, or none if the user says so.

    Args:
        run: Folder of the search.
        record: Its request and facts.
        said: What the user has said again.

    Raises:
        ConfigError: If the user says other ones, or if the run was made elsewhere and names some that the
            user has not said.
    """
    results, track = record.request.results, record.request.track
    if said.results == NOWHERE:
        results = None
    else:
        _check(run, record, "--results", results, said.results, f"which would get its files{_OR_NOT}")
    names = None if said.track is None else _AND.join(said.track)
    if names == NOWHERE:
        track = ()
    else:
        own = _AND.join(track) or None
        _check(run, record, "--track", own, names, f"which would get its scores{_OR_NOT}")
    return Places(results, track)


def _check(
    run: RunFolder, record: SearchRecord, option: str, own: str | None, said: str | None, what: str
) -> None:
    if said is not None and said != own:
        kept = f"has {option} {own}, and keeps it" if own else f"has no {option}, and goes on without"
        raise ConfigError(f"{option} {said}: this search {kept}")
    if own is not None and said is None and not is_where_it_was_made(run, record):
        raise ConfigError(
            f"{run.path} was made elsewhere, and names {own}, {what}. If you trust it, add {option} {own}"
        )
