"""A machine that lends features, without a network between it and the one that takes them."""

from collections.abc import Iterator
from pathlib import Path

from orchestrator.tuning import feature_server
from orchestrator.tuning.feature_server import FeatureServer
from orchestrator.tuning.invoice import Piece


class StoreLender:
    """Lends what is in a store; notes the places that it was asked for.

    Args:
        store: Folder of the store.
    """

    def __init__(self, store: Path) -> None:
        self.server, self.asked = FeatureServer(store), list[str]()

    def offer(self, place: str) -> str | None:
        self.asked.append(place)
        return self.server.offer(place)

    def pieces(self, place: str, size: int) -> Iterator[Piece]:
        for start in range(0, size, feature_server.PIECE_BYTES):
            yield self.server.piece(place, start)
