"""What is remarked of trials that ran otherwise than asked, and of their machines, and how it is said."""

import contextlib
from collections.abc import Callable
from typing import Final

from results.run.records import TrialRecord

MOST_SAID: Final = 20  # remarks of workers in one session of a search
RUN_ALONE: Final = "ran out of memory beside other trials and was run again alone"


def without_terminal(say: Callable[[str], None]) -> Callable[[str], None]:
    """The same function, for a terminal that may be closed meanwhile."""

    def say_if_possible(message: str) -> None:
        with contextlib.suppress(OSError):
            say(message)

    return say_if_possible


class WorkerRemarks:
    """Says what workers remark on their machines: each text once, and no more than `MOST_SAID` of them.

    Args:
        say: Function called with messages for the user.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._said = say, set[str]()

    def add(self, text: str) -> None:
        """Say what a worker remarked, unless another one has remarked the same."""
        if text in self._said or len(self._said) > MOST_SAID:
            return
        self._said.add(text)
        if len(self._said) > MOST_SAID:
            self._say("workers remark more on their machines, which is not shown; it is in Ray's logs")
        else:
            self._say(text)


def as_run_alone(record: TrialRecord) -> TrialRecord:
    """The record of a trial that ran twice, with a remark about it."""
    said = RUN_ALONE if record.error is None else f"{RUN_ALONE}:\n{record.error}"
    return record.model_copy(update={"error": said})
