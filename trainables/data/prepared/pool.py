"""A pool of processes that prepare chunks; a decoder that crashes ends one of them, which is started again.

The processes end when this one does, in whatever way: what they read their work from is closed then.
"""

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Final

from trainables.common.errors import MachineError
from trainables.data.prepared.chunk import Chunk, prepare_chunk

_ROOT: Final = Path(__file__).parents[3]
_GRACE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Ended:
    """One chunk that has ended.

    Attributes:
        chunk: The chunk.
        error: Error of the machine that its process met; empty for none.
        stopped_at: Place and reason of the example at which a strict preparation broke off; None if it is
            whole.
    """

    chunk: Chunk
    error: str = ""
    stopped_at: tuple[int, str] | None = None


class _Process:
    """One process that prepares chunks, started when it is first needed and again after a crash."""

    def __init__(self) -> None:
        self._running: subprocess.Popen[bytes] | None = None

    def prepare(self, chunk: Chunk) -> Ended:
        """Prepare a chunk.

        Raises:
            EOFError: If the process has crashed.
        """
        running = self._started()
        assert running.stdin is not None  # both are pipes
        assert running.stdout is not None
        try:
            pickle.dump(chunk, running.stdin)
            running.stdin.flush()
            error, stopped_at = pickle.load(running.stdout)  # plain values: there this module is __main__
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as crash:
            self.close()
            raise EOFError from crash
        return Ended(chunk, error, stopped_at)

    def close(self) -> None:
        """End the process."""
        running, self._running = self._running, None
        if running is None:
            return
        with contextlib.suppress(OSError):
            running.kill()
        running.wait(_GRACE_SECONDS)
        for pipe in (running.stdin, running.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def start(self) -> None:
        """Start the process before there is work, so that it has imported what it needs by then."""
        self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._running is None:
            paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
            self._running = subprocess.Popen(
                [sys.executable, "-m", "trainables.data.prepared.pool"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C reaches this process alone, which ends the others
            )
        return self._running


class ChunkPool:
    """Prepares chunks in several processes, as a context.

    Args:
        workers: Number of processes.
    """

    def __init__(self, workers: int) -> None:
        self._processes = [_Process() for _ in range(workers)]
        self._is_closed = threading.Event()

    def __enter__(self) -> "ChunkPool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_closed.set()
        for process in self._processes:
            process.close()

    def start_one(self) -> None:
        """Start one process before it is known what there is to do; others start with their first chunk."""
        self._processes[0].start()

    def prepare(self, chunks: Sequence[Chunk]) -> Iterator[Ended]:
        """Prepare chunks; yields each when it has ended, in any order.

        Raises:
            MachineError: If a process meets an error of the machine, such as a full disk.
        """
        waiting: queue.SimpleQueue[Chunk] = queue.SimpleQueue()
        ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        for chunk in chunks:
            waiting.put(chunk)
        for process in self._processes[: len(chunks)]:
            threading.Thread(
                target=self._serve, args=(process, waiting, ended.put), daemon=True, name="preparing"
            ).start()
        for _ in chunks:
            one = ended.get()
            if one.error:
                raise MachineError(one.error)
            yield one

    def _serve(
        self, process: _Process, waiting: "queue.SimpleQueue[Chunk]", tell: Callable[[Ended], None]
    ) -> None:
        while not self._is_closed.is_set():
            try:
                chunk = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                tell(_prepare_even_if_it_crashes(process, chunk, self._is_closed))
            except Exception as error:  # told to the thread that waits, whatever it is
                tell(Ended(chunk, f"a process that prepares images failed: {error}"))


def _prepare_even_if_it_crashes(process: _Process, chunk: Chunk, is_closed: threading.Event) -> Ended:
    """Prepare a chunk; after a crash again, traced, so that the example to blame is left out."""
    while not is_closed.is_set():
        try:
            return process.prepare(chunk)
        except EOFError:
            traced = chunk.traced() if chunk.is_traced else None
            crashed = {traced} if traced is not None else set()
            if chunk.is_traced and not crashed - chunk.crashing:
                return Ended(
                    chunk,
                    f"the processes that prepare {chunk.examples[0].file} and others end before their time",
                )
            chunk = replace(chunk, is_traced=True, crashing=chunk.crashing | crashed)
    return Ended(chunk, "ended from outside")


def serve(work: IO[bytes], answers: IO[bytes]) -> None:
    """Prepare the chunks that come in, until there are no more."""
    import cv2

    cv2.setNumThreads(1)
    while True:
        try:
            chunk: Chunk = pickle.load(work)
        except EOFError:
            return
        try:
            answer = ("", prepare_chunk(chunk))
        except OSError as error:
            answer = (f"{chunk.folder}: {error.strerror or error}", None)
        pickle.dump(answer, answers)
        answers.flush()


def _main() -> None:
    """Serve the process that started this one; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with contextlib.suppress(BrokenPipeError):  # the other process has ended
        serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    _main()
