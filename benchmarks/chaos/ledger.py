"""What was injected and what came of it: counted, as Markdown and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

COLUMNS: Final = ("fault", "injected", "survived", "lost", "repeated")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One kind of fault, and what the searches that it was injected into lost.

    Attributes:
        fault: Name of the fault, for people.
        injected: Number of times that it was injected.
        survived: Number of times after which the search went on, or was resumed, and nothing was wrong.
        lost: Number of finished trials that were gone, changed, or missing at the end.
        repeated: Number of times that a finished trial was handed out once more.
        faults: What was wrong, in sentences; empty if nothing was.
        seconds: Time of the scenario.
        note: What the reader must know of how it was injected; for one that could not run, the reason.
    """

    fault: str
    injected: int
    survived: int
    lost: int = 0
    repeated: int = 0
    faults: tuple[str, ...] = ()
    seconds: float = 0.0
    note: str = ""

    @property
    def is_good(self) -> bool:
        """True if every injection was survived and nothing was lost or repeated."""
        return self.survived == self.injected and not (self.lost or self.repeated or self.faults)


def short_of(injected: int, asked: int) -> str:
    """Return how many injections were asked for, where there were fewer: the search or the time was over.

    >>> short_of(11, 20), short_of(20, 20)
    ('; 20 were asked for', '')
    """
    return f"; {asked} were asked for" if injected < asked else ""


def as_markdown(outcomes: Sequence[Outcome]) -> str:
    """Return the table for a page, with a last row of sums.

    >>> print(as_markdown([Outcome("SIGKILL of the driver", 20, 20, note="at random moments")]))
    | fault | injected | survived | lost | repeated | |
    | --- | ---: | ---: | ---: | ---: | --- |
    | SIGKILL of the driver | 20 | 20 | 0 | 0 | at random moments |
    | all | 20 | 20 | 0 | 0 | |
    """
    rows = [[*(str(getattr(own, name)) for name in COLUMNS), _remark(own)] for own in outcomes]
    sums = ["all", *(str(sum(getattr(own, name) for own in outcomes)) for name in COLUMNS[1:]), ""]
    head = [[*COLUMNS, ""], ["---", *["---:"] * (len(COLUMNS) - 1), "---"]]
    return "\n".join(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in [*head, *rows, sums])


def _remark(outcome: Outcome) -> str:
    return "; ".join(part.replace("|", "/") for part in (outcome.note, *outcome.faults) if part)


def as_json(outcomes: Sequence[Outcome], **facts: Any) -> dict[str, Any]:
    """Return everything that was found, with facts of the machine and the call."""
    return {**facts, "outcomes": [asdict(own) | {"is_good": own.is_good} for own in outcomes]}
