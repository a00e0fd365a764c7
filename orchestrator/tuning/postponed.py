"""Trials that were handed out and did not come to their end: they are run again."""

import dataclasses
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.study.trial_spec import TrialSpec
from results.run.records import Cause


@dataclass(frozen=True, slots=True)
class _Postponed:
    spec: TrialSpec
    cause: Cause
    reason: str


class PostponedTrials:
    """Trials that are handed out again: at once, or alone, after all others.

    A trial that ran out of memory beside others runs alone; one whose worker or machine failed it, at once.
    """

    def __init__(self) -> None:
        self._again: deque[_Postponed] = deque()
        self._alone: deque[_Postponed] = deque()

    def __iter__(self) -> Iterator[TrialSpec]:
        """All of them, in the order in which they were postponed, those that run alone last."""
        return (one.spec for one in (*self._again, *self._alone))

    def __len__(self) -> int:
        return len(self._again) + len(self._alone)

    def run_again(self, spec: TrialSpec, cause: Cause, reason: str) -> None:
        """Hand a trial out again at once.

        Args:
            spec: The trial.
            cause: Its cause, if no time is left to run it.
            reason: What happened to it, for its record then.
        """
        self._again.append(_Postponed(spec, cause, reason))

    def run_alone(self, spec: TrialSpec) -> None:
        """Hand out a trial that ran out of memory again, when no other one runs."""
        self._alone.append(_Postponed(spec, "out_of_memory", "ran out of memory"))

    def next_again(self) -> TrialSpec | None:
        """Take the next one that may run beside others; None without one."""
        return self._again.popleft().spec if self._again else None

    def next_alone(self) -> TrialSpec | None:
        """Take the next one that runs alone, marked so; None without one."""
        return dataclasses.replace(self._alone.popleft().spec, is_alone=True) if self._alone else None

    def runs_alone(self, number: int) -> bool:
        """Tell whether a trial ran out of memory and waits to be run alone."""
        return any(one.spec.number == number for one in self._alone)

    def give_up(self) -> list[tuple[TrialSpec, Cause, str]]:
        """Take all of them, since no time is left; returns each trial, its cause and what to say of it."""
        taken = [
            (one.spec, one.cause, f"{one.reason}; no time was left to run it again") for one in self._again
        ]
        alone = [
            (one.spec, one.cause, f"{one.reason}; no time was left to run it again alone")
            for one in self._alone
        ]
        self._again.clear()
        self._alone.clear()
        return [*alone, *taken]
