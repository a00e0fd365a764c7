"""A connection to Ray that is made in the background: a Ray of one's own takes seconds to start."""

import contextlib
import importlib
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from threadpoolctl import threadpool_limits

from cluster.connect import Connection, PlannedConnection, disconnect, undisturbed
from cluster.errors import ClusterError


class Connector(Protocol):
    """Connects to Ray when a search needs it."""

    def begin(self) -> bool:
        """Begin to connect, if that takes long enough to do something else meanwhile.

        Returns:
            A Ray of this machine's own is starting in the background.
        """
        ...

    def __call__(self) -> Connection:
        """Return the connection, the same at every call."""
        ...


class KnownConnection:
    """A connector whose connection is there, as of a machine that is only counted.

    Args:
        connection: The connection.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(self) -> bool:
        """Do nothing."""
        return False

    def __call__(self) -> Connection:
        """Return the connection."""
        return self._connection


class BackgroundConnection:
    """Connects at the first call, or before that in the background.

    Linux ends the processes of a Ray of one's own with the thread that started them, so the thread stays
    until `close`.

    Args:
        plan: Function that chooses where to connect; called until it has chosen what is begun.
        needed: Modules to import in the background once the connection is there and was asked for, before
            somebody needs them.

    Attributes:
        said: Function called once with the connection, when a caller first gets it; None for nothing.
    """

    def __init__(
        self,
        plan: Callable[[], PlannedConnection],
        said: Callable[[Connection], None] | None = None,
        needed: Sequence[str] = (),
    ) -> None:
        self._plan, self.said, self._needed = plan, said, needed
        self._planned: PlannedConnection | None = None
        self._surroundings = contextlib.ExitStack()
        self._is_tried, self._is_over = threading.Event(), threading.Event()
        self._is_asked_for, self._is_left = threading.Event(), threading.Event()
        self._found: Connection | None = None
        self._error: BaseException | None = None
        self._is_said = False

    def begin_own(self) -> None:
        """Begin to start a Ray of one's own, before it is certain that a search will need it.

        A cluster is joined when it is asked for, and that none can be is said then. A caller that has
        imported more since an earlier call calls again before it computes.
        """
        if self._planned is not None:
            self._settle()
            return
        with contextlib.suppress(ClusterError):
            planned = self._plan()
            if planned.target.address is None:
                self._start(planned)

    def begin(self) -> bool:
        """Begin to connect in the background, at the first call.

        Returns:
            A Ray of this machine's own is starting, or has started.

        Raises:
            ClusterError: If a named cluster does not answer.
        """
        if self._planned is None:
            self._start(self._plan())
        self._settle()
        self._is_asked_for.set()
        return self._planned is not None and self._planned.target.address is None

    def __call__(self) -> Connection:
        """Wait until the connection is there.

        Raises:
            ClusterError: If the cluster cannot be reached, or Ray does not start.
        """
        self.begin()
        self._wait()
        if self._found is None:
            raise self._error or ClusterError("the connection to Ray was closed")
        if self.said is not None and not self._is_said:
            self._is_said = True
            self.said(self._found)
        return self._found

    def close(self) -> None:
        """Disconnect, if anything was begun; a Ray of one's own ends. Safe to call twice."""
        self._is_over.set()  # nothing is imported any more
        try:
            if self._planned is not None:
                self._wait()
            self._disconnect()
        finally:
            self._surroundings.close()  # also where the wait was interrupted, or no thread could be started
            self._is_left.set()
            self._is_asked_for.set()

    def _disconnect(self) -> None:
        found, self._found = self._found, None
        if found is not None:
            disconnect(found)

    def _start(self, planned: PlannedConnection) -> None:
        # Warnings are the main thread's, so it sees to them, until Ray is there.
        self._surroundings.enter_context(undisturbed())
        # Ray forks, and OpenBLAS then waits for its threads, for ever if another thread uses them.
        self._surroundings.enter_context(threadpool_limits(1, user_api="blas"))
        thread = threading.Thread(target=self._hold, args=(planned,), name="Ray", daemon=True)
        self._planned = planned  # from here on `close` waits for the thread
        try:
            thread.start()
        except BaseException as error:
            if thread.ident is None:  # it does not run, so nobody else says that it has tried
                self._error = ClusterError(f"no Ray could be started: {error}")
                self._is_tried.set()
            raise

    def _settle(self) -> None:
        """Take back what was held for a Ray that is there by now; else hold what was imported since, too."""
        if self._is_tried.is_set():
            self._surroundings.close()
        else:
            self._surroundings.enter_context(threadpool_limits(1, user_api="blas"))

    def _hold(self, planned: PlannedConnection) -> None:
        try:
            self._found = planned.start(lambda: not self._is_over.is_set())
        except BaseException as error:  # the caller gets it, in its own thread
            self._error = error
        finally:
            self._is_tried.set()
        self._is_asked_for.wait()
        with contextlib.suppress(Exception):  # whoever needs such a module meets its fault
            for name in self._needed if self._found is not None else ():
                if not self._is_over.is_set():
                    importlib.import_module(name)
        self._is_left.wait()
        self._disconnect()  # whoever closes was interrupted while it waited for a Ray that is there now

    def _wait(self) -> None:
        self._is_tried.wait()
        self._surroundings.close()
