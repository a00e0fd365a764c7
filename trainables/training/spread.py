"""Folds of one trial that train in several places, side by side and epoch by epoch as they do in one.

Each place trains folds that follow each other. All begin an epoch together, and the trial goes on when all
have ended it, so that early stopping, pruning and the kept epoch follow the mean over folds as ever.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

from trainables.common.types import Float32Array
from trainables.training.fold_states import State, joined
from trainables.training.folds import Folds
from trainables.training.sequential import ExecutionMode


class FoldsElsewhere(Protocol):
    """Some folds of a trial that train in another process, as the trial sees them.

    `begin` and `begin_epoch` only ask; all else waits for an answer, and raises what has gone wrong there.
    """

    def begin(self, numbers: range, state: State, *, mode: ExecutionMode, seed: int) -> None:
        """Take over folds.

        Args:
            numbers: Folds, which follow each other.
            state: Their state, from `part_of`.
            mode: Fused or sequential, as in all places of a trial.
            seed: Seed of layers that draw from torch's own stream.
        """
        ...

    def wait(self) -> None:
        """Wait until the folds are taken over."""
        ...

    def begin_epoch(self, epoch: int, *, active: Sequence[bool], losses: Sequence[float]) -> None:
        """Begin an epoch; the arguments are those of `Folds.train_epoch` for the folds of this place."""
        ...

    def results(self) -> tuple[Float32Array, Float32Array]:
        """Return the losses of the epoch, shape (folds,), and probabilities, shape (rows, classes)."""
        ...

    def kept_states(self, fold: int) -> list[dict[str, Tensor]]:
        """Weights of a fold's models, as `Folds.kept_states` returns them."""
        ...

    def state(self) -> State:
        """State of the folds, as `Folds.state` returns it."""
        ...


def shares_of(folds: int, places: int) -> list[range]:
    """Return the folds of each place, which follow each other; larger shares come first.

    >>> shares_of(5, 2), shares_of(3, 3)
    ([range(0, 3), range(3, 5)], [range(0, 1), range(1, 2), range(2, 3)])
    """
    ends = np.cumsum([len(own) for own in np.array_split(np.arange(folds), places)]).tolist()
    return [range(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]


def useful_places(folds: int, most: int) -> int:
    """Return the smallest number of places that is as fast as the largest one: the fullest share decides.

    >>> [useful_places(5, most) for most in range(1, 7)]
    [1, 2, 3, 3, 5, 5]
    """
    fullest = -(-folds // min(most, folds))
    return -(-folds // fullest)


class SpreadFolds:
    """Folds of a trial of which some train elsewhere, with the methods of `Folds` that a trial calls.

    Args:
        own: The first folds, which train here.
        elsewhere: The places of the others, each with its folds, in their order.
    """

    def __init__(self, own: Folds, elsewhere: Sequence[tuple[range, FoldsElsewhere]]) -> None:
        self._own, self._elsewhere = own, tuple(elsewhere)
        self.mode, self.trained_parameters = own.mode, own.trained_parameters
        self._probabilities: Float32Array | None = None

    def train_epoch(
        self, epoch: int, *, active: Sequence[bool], losses: Sequence[float] = ()
    ) -> Float32Array:
        """Train one epoch and predict, everywhere; as `Folds.train_epoch`."""
        for numbers, place in self._elsewhere:
            place.begin_epoch(epoch, active=active[numbers.start : numbers.stop], losses=losses)
        found = [self._own.train_epoch(epoch, active=active[: self._own.numbers.stop], losses=losses)]
        probabilities = self._own.predict()
        for _, place in self._elsewhere:
            own_losses, own_probabilities = place.results()
            found.append(own_losses)
            probabilities = probabilities + own_probabilities  # zero where a place holds nothing out
        self._probabilities = probabilities
        together: Float32Array = np.concatenate(found)
        return together

    def predict(self) -> Float32Array:
        """Out-of-fold probabilities of every position after the last epoch, shape (rows, classes)."""
        if self._probabilities is None:
            raise RuntimeError("folds that are spread have predicted once they have trained an epoch")
        return self._probabilities

    def kept_states(self, fold: int) -> list[dict[str, Tensor]]:
        """Weights of a fold's models, one for each repeat."""
        for numbers, place in self._elsewhere:
            if fold in numbers:
                return place.kept_states(fold)
        return self._own.kept_states(fold)

    def state(self) -> State:
        """State of all folds, from which they may go on in one place."""
        return joined([self._own.state(), *(place.state() for _, place in self._elsewhere)])
