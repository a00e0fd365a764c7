"""Evidence: what a run can say by itself to an item of a checklist, and the file that it comes from."""

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.report.facts import RunFacts


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run says.

    Attributes:
        text: One or two sentences.
        file: File below the run folder that it was read from.
    """

    text: str
    file: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """A question that a run may answer.

    Attributes:
        name: Name by which items ask for it.
        missing: What is to be done where there is no answer, as a sentence without a full stop; or a function
            that says it of a run.
        find: Returns the answer; None where the run does not know it.
    """

    name: str
    missing: str | Callable[[RunFacts], str]
    find: Callable[[RunFacts], Answer | None]

    def missing_in(self, facts: RunFacts) -> str:
        """Return what is to be done where a run has no answer, as a sentence without a full stop."""
        return self.missing if isinstance(self.missing, str) else self.missing(facts)
