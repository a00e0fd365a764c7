"""Servers of features as Ray actors, one on each machine that lends, and as workers reach them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.tuning.feature_server import FeatureServer
from orchestrator.tuning.ray_depot import in_pieces

_AT_ONCE: Final = 16  # workers that a server serves at the same time
_ANSWER_SECONDS: Final = 60.0  # for a server to start on a busy machine, or to read a piece


class FeatureServers:
    """Starts a server on a machine when the first trial elsewhere needs it, and ends them with the search.

    Args:
        mark: Mark of this session of the search, by which workers find its servers.
    """

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._actors: dict[str, Any] = {}

    def open(self, holders: Mapping[str, str]) -> tuple[str, ...]:
        """Start what is missing; returns the names by which workers find the servers.

        Args:
            holders: Ray's name of a machine -> store on it.
        """
        for node, store in holders.items():
            if node not in self._actors:
                self._actors[node] = (
                    ray.remote(FeatureServer)
                    .options(
                        num_cpus=0,
                        max_concurrency=_AT_ONCE,
                        name=self._name(node),
                        max_restarts=-1,
                        scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
                    )
                    .remote(Path(store))
                )
        return tuple(self._name(node) for node in holders)

    def close(self) -> None:
        """End all servers."""
        for actor in self._actors.values():
            with suppress(RayError):
                ray.kill(actor)
        self._actors.clear()

    def _name(self, node: str) -> str:
        return f"features-{self._mark}-{node}"


class RayLender:
    """Features of other machines as a worker reaches them; a `FeatureLender`.

    Args:
        names: Names of servers, see `FeatureServers.open`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._owners: dict[str, Any] = {}  # place -> the server whose offer was returned

    def offer(self, place: str) -> str | None:
        """Return the metadata of a file from the first machine that has it."""
        unreached = ""
        for name in self._names:
            try:
                server = ray.get_actor(name)
                text: str | None = _answer(server.offer.remote(place))
            except (ValueError, ConnectionError) as error:  # its machine is gone
                unreached = str(error)
                continue
            if text is not None:
                self._owners[place] = server
                return text
        if unreached:
            raise ConnectionError(unreached)
        return None

    def pieces(self, place: str, size: int) -> Iterator[NDArray[np.uint8]]:
        """Yield a file in pieces, some of which are on the way at the same time."""
        server = self._owners[place]
        yield from in_pieces(lambda start: server.piece.remote(place, start), size, _answer)


def _answer(reference: Any) -> Any:
    try:
        return ray.get(reference, timeout=_ANSWER_SECONDS)
    except RayError as error:
        raise ConnectionError(
            f"a machine that lends features did not answer ({type(error).__name__})"
        ) from error
