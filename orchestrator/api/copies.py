"""The copy of a run at its `--results`, brought up to date once more work on the run has ended."""

import contextlib
from collections.abc import Iterator

from orchestrator.api.displays import Display
from orchestrator.api.result import SearchResult
from orchestrator.reporting.mirror import mirror_callbacks
from results.run.origin import is_where_it_was_made
from results.run.run_folder import RunFolder
from trainables.common.errors import OrchestrateError

_REFUSED = 2  # exit code of a request that cannot be met: nothing has run then


@contextlib.contextmanager
def copied_at_end(run: RunFolder, display: Display) -> Iterator[None]:
    """Copy what has come to a run to where its search copies it, if it does, however the work has ended.

    A copy that fails is a warning: the run folder has all. A run that was made elsewhere names a place that
    nobody here has chosen, and gets no copy there.

    Args:
        run: Folder of the search.
        display: Told why there is no copy.
    """
    is_refused = False
    try:
        yield
    except OrchestrateError as error:
        is_refused = error.exit_code == _REFUSED
        raise
    finally:
        if not is_refused:
            _copy(run, display)


def _copy(run: RunFolder, display: Display) -> None:
    uri = None
    try:
        record = run.search()
        uri = record.request.results
        if uri is None:
            return
        if not is_where_it_was_made(run, record):
            display.warn(
                f"nothing of this was copied to {uri}, since {run.path} was made elsewhere; if you trust it, "
                f"copy it by: {run.command('resume', '--results', uri)}"
            )
            return
        for callback in mirror_callbacks(uri):
            callback.on_search_end(SearchResult(run))
    except Exception as error:  # each storage has errors of its own, and the work has ended well
        place = "its --results" if uri is None else uri
        display.warn(f"what has come to the run was not copied to {place}: {error}")
