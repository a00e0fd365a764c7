"""A thread that talks to a place which may not answer, so that no search waits for it, and no end of one."""

import atexit
import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, Final, TypeVar

EXIT_SECONDS: Final = 30.0  # that the end of the process waits for what was begun, if nobody has closed it

_Found = TypeVar("_Found")


class BackgroundThread:
    """Does what it is given in a thread of its own, one after the other.

    A pool of `concurrent.futures` is worked off before the interpreter ends, however long that takes. The
    process ends without this one: after `close` at once, else after `EXIT_SECONDS` at most.

    Args:
        name: Name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._open: list[Future[Any]] = []
        self._thread: threading.Thread | None = None

    def submit(self, act: Callable[[], _Found]) -> Future[_Found]:
        """Do something once all that was given before is done; its result or error is in what is returned."""
        future: Future[_Found] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(act())
            except BaseException as error:  # whatever it is, it belongs to who asked
                future.set_exception(error)

        self._open = [one for one in self._open if not one.done()]
        self._open.append(future)
        self._queue.put(run)
        if self._thread is None:
            self._thread = threading.Thread(target=_work, args=(self._queue,), name=self._name, daemon=True)
            self._thread.start()
            atexit.register(self._leave)
        return future

    def cancel_waiting(self) -> None:
        """Drop what has not begun."""
        for future in self._open:
            future.cancel()

    def finish(self, seconds: float) -> int:
        """Wait until all is done, for some seconds at most; returns how much is not."""
        return len(wait(self._open, timeout=seconds).not_done)

    def close(self) -> None:
        """Drop what has not begun, and end the thread with what it is at; nothing waits for that."""
        self.cancel_waiting()
        if self._thread is not None:
            self._queue.put(None)
            self._queue, self._thread = queue.SimpleQueue(), None
            atexit.unregister(self._leave)

    def _leave(self) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            self.finish(EXIT_SECONDS)


def _work(tasks: "queue.SimpleQueue[Callable[[], None] | None]") -> None:
    while (run := tasks.get()) is not None:
        run()
