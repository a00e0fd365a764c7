"""The depot of a run as a Ray actor on the machine of the run folder, and as workers elsewhere reach it."""

import collections
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import ray
from ray.exceptions import GetTimeoutError, RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.tuning.depot import PIECE_BYTES, Depot, own_modules
from orchestrator.tuning.invoice import Invoice, Piece, WeightsOffer
from orchestrator.tuning.preemption import GRACE_SECONDS
from results.run.run_folder import RunFolder
from trainables.common.errors import MachineError

_ANSWER_SECONDS: Final = 300.0  # for the depot to start, or to look for weights, on a busy machine
_AT_ONCE: Final = 16  # machines that the depot serves at the same time
_ON_THE_WAY: Final = 3  # pieces of one file, so that the network does not wait for the disk


class DepotKeeper:
    """Starts the depot of a run when the first worker asks for it, and ends it with the search.

    Args:
        run: The run folder.
        mark: Mark of this session of the search, by which workers find the depot.
    """

    def __init__(self, run: RunFolder, mark: str) -> None:
        self._run, self._mark = run, mark
        self._actor: Any = None

    def begin(self) -> None:
        """Leave the mark in the run folder by which workers tell that they see it."""
        self._run.mark_file(self._mark).touch()

    def open(self) -> None:
        """Start the depot, unless it is there."""
        if self._actor is not None:
            return
        search = self._run.search()
        self._actor = (
            ray.remote(Depot)
            .options(
                num_cpus=0,
                max_concurrency=_AT_ONCE,
                name=_name(self._mark),
                max_restarts=-1,
                scheduling_strategy=NodeAffinitySchedulingStrategy(this_node(), soft=False),
            )
            .remote(
                self._run.path.resolve(),
                own_modules((*search.metrics, *search.ranges), Path.cwd()),
                socket.gethostname(),
            )
        )

    def close(self) -> None:
        """End the depot, and remove the mark of this session and those of sessions that were killed."""
        if self._actor is not None:
            ray.kill(self._actor)
            self._actor = None
        for path in self._run.path.glob(self._run.mark_file("*").name):
            with suppress(OSError):
                path.unlink(missing_ok=True)


class RayDepot:
    """A depot as a worker on another machine reaches it; a `DepotClient`."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def invoice(self) -> Invoice:
        """Return what a machine must have."""
        found: Invoice = _answer(self._actor.invoice.remote())
        return found

    def weights(self) -> Mapping[str, WeightsOffer]:
        """Return backbone -> weights of the search."""
        found: Mapping[str, WeightsOffer] = _answer(self._actor.weights.remote())
        return found

    def choices(self, known: Collection[str]) -> Mapping[str, bytes]:
        """Return name -> content of measured choices, without those that are known."""
        found: Mapping[str, bytes] = _answer(self._actor.choices.remote(known))
        return found

    def has_score(self) -> bool:
        """Tell whether a trial of the search is complete."""
        return bool(_answer(self._actor.has_score.remote()))

    def has_record(self, number: int) -> bool:
        """Tell whether a trial has ended."""
        return bool(_answer(self._actor.has_record.remote(number)))

    def checkpoint_bytes(self, number: int) -> int | None:
        """Return the size of a trial's checkpoint; None without one."""
        found: int | None = _answer(self._actor.checkpoint_bytes.remote(number))
        return found

    def keep_checkpoint(self, number: int, content: Piece) -> None:
        """Write the checkpoint of a trial whose worker is about to end; it has seconds for that."""
        _answer(self._actor.keep_checkpoint.remote(number, content), seconds=GRACE_SECONDS)

    def pieces(self, name: str, size: int) -> Iterator[Piece]:
        """Yield a file of the depot in pieces, in order, some of which are on the way at the same time."""
        yield from in_pieces(lambda start: self._actor.piece.remote(name, start), size, _answer)


def in_pieces(ask: Callable[[int], Any], size: int, answer: Callable[[Any], Piece]) -> Iterator[Piece]:
    """Yield a file of another machine in pieces, in order, some of which are on the way at the same time.

    Args:
        ask: Asks for the piece that begins at a byte; returns Ray's reference to it.
        size: Size of the file in bytes.
        answer: Waits for a piece.
    """
    coming: collections.deque[Any] = collections.deque()
    for start in range(0, size, PIECE_BYTES):
        coming.append(ask(start))
        if len(coming) == _ON_THE_WAY:
            yield answer(coming.popleft())
    while coming:
        yield answer(coming.popleft())


def find_depot(mark: str) -> RayDepot | None:
    """Return the depot of a search; None while its owner has not started it."""
    try:
        return RayDepot(ray.get_actor(_name(mark)))
    except ValueError:
        return None


def this_node() -> str:
    """Return Ray's name of the machine that this process runs on."""
    return str(ray.get_runtime_context().get_node_id())


def _name(mark: str) -> str:
    return f"depot-{mark}"


def _answer(reference: Any, *, seconds: float = _ANSWER_SECONDS) -> Any:
    try:
        return ray.get(reference, timeout=seconds)
    except (GetTimeoutError, RayActorError) as error:
        raise MachineError(
            f"the machine of the run folder did not answer ({type(error).__name__}), from which this one "
            "takes what trials need"
        ) from error
