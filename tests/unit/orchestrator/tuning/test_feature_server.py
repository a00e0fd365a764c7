"""A machine lends the features in its store, and nothing else."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from lending import StoreLender
from prefix_examples import LOW, TOP, VIEWS, Counting, expected, key

from orchestrator.tuning import feature_server
from orchestrator.tuning.feature_server import FeatureServer
from orchestrator.tuning.invoice import Piece
from trainables.common.errors import MachineError
from trainables.features.store import PrefixStore, StoredViews


def opened(store: Path, lender: StoreLender | None = None, views: int = 2) -> StoredViews:
    own = PrefixStore(store, lender=lender)
    return own.views(key(), VIEWS[:views], TOP, also=(LOW,), compute=Counting())


def test_what_one_machine_computed_another_takes_and_a_second_worker_there_finds(tmp_path: Path) -> None:
    opened(tmp_path / "gpu")
    lender = StoreLender(tmp_path / "gpu")
    first, second = opened(tmp_path / "cpu", lender), opened(tmp_path / "cpu", lender)
    assert [(found.computed, found.fetched) for found in (first, second)] == [(0, 2), (0, 0)]
    assert len(lender.asked) == 2
    for view, array in zip(VIEWS, second.arrays, strict=False):
        np.testing.assert_array_equal(array[:, 0], expected(view))


def test_features_that_no_machine_has_are_computed(tmp_path: Path) -> None:
    opened(tmp_path / "gpu", views=1)
    found = opened(tmp_path / "cpu", StoreLender(tmp_path / "gpu"))
    assert (found.computed, found.fetched) == (1, 1)


def test_a_file_comes_in_several_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_server, "PIECE_BYTES", 130)  # the header has 128
    opened(tmp_path / "gpu")
    found = opened(tmp_path / "cpu", StoreLender(tmp_path / "gpu"))
    assert (found.computed, found.fetched) == (0, 2)
    np.testing.assert_array_equal(found.arrays[1][:, 0], expected(VIEWS[1]))


class Leaves(StoreLender):
    """Its machine is gone after the offer."""

    def pieces(self, place: str, size: int) -> Iterator[Piece]:
        raise ConnectionError("a machine that lends features did not answer")


class Breaks(StoreLender):
    """What arrives is not what was sent."""

    def pieces(self, place: str, size: int) -> Iterator[Piece]:
        for piece in super().pieces(place, size):
            piece[-1] ^= 0xFF
            yield piece


class Stops(StoreLender):
    """The last byte is missing."""

    def pieces(self, place: str, size: int) -> Iterator[Piece]:
        for piece in super().pieces(place, size):
            yield piece[:-1]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Leaves, "did not arrive .*they are computed here"),
        (Breaks, "another machine are damaged and are not used: .* does not match its checksum"),
        (Stops, "another machine are damaged and are not used: .* does not match its checksum"),
    ],
)
def test_features_that_do_not_arrive_whole_are_computed(
    tmp_path: Path, kind: type[StoreLender], said: str
) -> None:
    opened(tmp_path / "gpu", views=1)
    with pytest.warns(UserWarning, match=said):
        found = opened(tmp_path / "cpu", kind(tmp_path / "gpu"), views=1)
    assert (found.computed, found.fetched) == (1, 0)
    np.testing.assert_array_equal(found.arrays[0][:, 0], expected(VIEWS[0]))
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize(
    "place", ["../secret.npy", "/etc/passwd", "a/b/c.json", "a/../../b.npy", "a/b/c/d.npy", "a/b/.c.npy", ""]
)
def test_only_places_of_features_are_handed_out(tmp_path: Path, place: str) -> None:
    server = FeatureServer(tmp_path)
    with pytest.raises(MachineError, match="a store has no features at"):
        server.offer(place)
    with pytest.raises(MachineError, match="a store has no features at"):
        server.piece(place, 0)


def test_features_whose_file_is_gone_are_not_offered(tmp_path: Path) -> None:
    opened(tmp_path, views=1)
    path = next(tmp_path.rglob("top.gap.npy"))
    place = str(path.relative_to(tmp_path / "prefix"))
    assert FeatureServer(tmp_path).offer(place) is not None
    path.unlink()
    assert FeatureServer(tmp_path).offer(place) is None
