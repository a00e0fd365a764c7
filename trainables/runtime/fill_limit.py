"""The time limit of a search, for passes that fill the store: it is looked at between batches."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from trainables.common.errors import OutOfTimeError
from trainables.models.taps import Tap

Batch = tuple[int, dict[Tap, Tensor]]


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class FillLimit:
    """When passes through frozen stages must end, and fits of closed-form heads.

    No view is begun after the limit. One that is being computed when the limit comes ends there, too, unless
    the search has no score yet: then it may become whole, if at its speed it will within the grace.

    Attributes:
        at: Reading of the clock at which the time is up.
        grace_seconds: Seconds after it in which a view may still become whole.
        is_needed: Tells, once the time is up, whether the search has no score yet; pickled with a trial.
        clock: Function that returns seconds, in all processes of a machine the same; injected for tests.
    """

    at: float
    grace_seconds: float = 0.0
    is_needed: Callable[[], bool] = _never
    clock: Callable[[], float] = time.monotonic

    def strict(self) -> "FillLimit":
        """The same limit without grace, for what a trial can be scored without."""
        return replace(self, grace_seconds=0.0)

    def check_start(self, what: str) -> None:
        """Make sure that a view may be begun.

        Args:
            what: What would be computed, for the message.

        Raises:
            OutOfTimeError: If the time is up.
        """
        if self.clock() >= self.at:
            raise OutOfTimeError(f"the time was up before {what} was computed")

    def check_further(self, what: str) -> None:
        """Make sure that a trial which has begun may go on with a further piece; more may than may begin.

        Args:
            what: What would be computed, for the message.

        Raises:
            OutOfTimeError: If the time is up, and the search has a score already.
        """
        if self.clock() >= self.at and not self.is_needed():
            raise OutOfTimeError(f"the time was up before {what} was computed")

    def batches(self, batches: Iterator[Batch], *, images: int, what: str) -> Iterator[Batch]:
        """Yield the batches of a view as long as it may go on.

        Args:
            batches: Position of the first image, and features by tap; computed as they are asked for.
            images: Number of images of the view.
            what: What is computed, for the message.

        Raises:
            OutOfTimeError: If the view must end.
        """
        began = self.clock()
        for batch in batches:
            yield batch
            start, features = batch
            done = start + len(next(iter(features.values())))
            if done < images:
                self._check(began, done, images, what)

    def _check(self, began: float, done: int, images: int, what: str) -> None:
        now = self.clock()
        if now < self.at:
            return
        whole = (now - began) * images / done
        left = whole - (now - began)
        if now + left <= self.at + self.grace_seconds and self.is_needed():
            return
        raise OutOfTimeError(
            f"the time was up when {what} was computed for {done} of {images} images; the others would have "
            f"taken about {left:.0f} s more",
            view_seconds=whole,
        )
