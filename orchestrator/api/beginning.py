"""The first moment of a search: Ray starts beside what takes seconds to import.

Importing this takes neither torch nor Ray.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from cluster.background import BackgroundConnection
from orchestrator.request import SearchRequest
from orchestrator.tuning.connecting import connection_of, may_begin


@contextmanager
def ray_begun(request: SearchRequest, address: str | None) -> Iterator[BackgroundConnection]:
    """Begin to start a Ray of the search's own, if the data are there; it ends with the block.

    A cluster is joined later, once the data are known to be good.

    Args:
        request: Options of the search.
        address: A Ray cluster; None finds one or starts one here.
    """
    connection = connection_of(request, address)
    try:
        if may_begin(request):
            connection.begin_own()
        yield connection
    finally:
        connection.close()
