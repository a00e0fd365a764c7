"""Features that other machines have computed, as a trial asks for them, whoever these machines are."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class FeatureLender(Protocol):
    """Where a trial may take features from that its own machine lacks.

    A file is named by its place below the features of a store, `<key>/<view>/<tap>.npy`.
    """

    def offer(self, place: str) -> str | None:
        """Return the metadata beside a file, as text; None if no machine has the file.

        Raises:
            OSError: If no machine answers.
        """
        ...

    def pieces(self, place: str, size: int) -> Iterator[NDArray[np.uint8]]:
        """Yield a file in pieces, in order, from the machine whose offer was returned.

        Args:
            place: Place of the file.
            size: Its size in bytes, as the offer has it.

        Raises:
            OSError: If the machine does not answer, or has the file no more.
        """
        ...
