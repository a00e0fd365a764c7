"""What is remarked of trials that did not run as they were asked to, and how it is said."""

import contextlib
from collections.abc import Callable
from typing import Final

from orchestrator.study.trial_spec import TIME_WAS_UP, TrialSpec
from results.run.records import TrialRecord
from trainables.config.trial_config import flatten

RUN_ALONE: Final = "ran out of memory beside other trials and was run again alone"


def without_terminal(say: Callable[[str], None]) -> Callable[[str], None]:
    """The same function, for a terminal that may be closed meanwhile."""

    def say_if_possible(message: str) -> None:
        with contextlib.suppress(OSError):
            say(message)

    return say_if_possible


def is_smaller(record: TrialRecord, spec: TrialSpec) -> bool:
    """True if a trial was scored with less than its recipe says, since the time was up."""
    is_remarked = (record.error or "").startswith(TIME_WAS_UP)
    return is_remarked and record.config != flatten(spec.config.model_dump(mode="json"))


def as_run_alone(record: TrialRecord) -> TrialRecord:
    """The record of a trial that ran twice, with a remark about it."""
    said = RUN_ALONE if record.error is None else f"{RUN_ALONE}:\n{record.error}"
    return record.model_copy(update={"error": said})
