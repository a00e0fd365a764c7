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
        asked: Number of times that it was to be injected, at least 1.
        injected: Number of times that it was injected.
        survived: Number of times after which the search went on, or was resumed, and nothing was wrong.
        lost: Number of finished trials and folds that were gone, changed, or missing at the end.
        repeated: Number of finished trials that were handed out again, and of folds that were trained again.
        faults: What was wrong, in sentences; empty if nothing was.
        seconds: Time of the scenario.
        note: What the reader must know of how it was injected; for one that could not run, the reason.
    """

    fault: str
    asked: int
    injected: int
    survived: int
    lost: int = 0
    repeated: int = 0
    faults: tuple[str, ...] = ()
    seconds: float = 0.0
    note: str = ""

    @property
    def is_whole(self) -> bool:
        """True if the fault was injected as often as was asked for."""
        return self.injected >= max(1, self.asked)

    @property
    def is_good(self) -> bool:
        """True if all that was asked for was injected and survived, and nothing was lost or repeated."""
        is_clean = not (self.lost or self.repeated or self.faults)
        return self.is_whole and self.survived == self.injected and is_clean

    @property
    def remark(self) -> str:
        """What stands beside the numbers: the note, how many injections are missing, and what was wrong."""
        parts = [self.note, *self.faults]
        if not self.is_whole:
            missing = "not run" if self.injected == 0 else f"only {self.injected}"
            parts.insert(0, f"**{missing}, {self.asked} asked for**")
        return "; ".join(part for part in parts if part)


def not_run(fault: str, asked: int, reason: str) -> Outcome:
    """Return the row of a fault that was never injected.

    >>> not_run("database restarted", 2, "initdb is not here").remark
    '**not run, 2 asked for**; initdb is not here'
    """
    return Outcome(fault, asked, 0, 0, note=reason)


def together(parts: Sequence[Outcome]) -> Outcome:
    """Return one row of those of the same fault, from scenes of which each injected a part.

    >>> parts = [Outcome("SIGHUP", 2, 2, 2, note="a"), not_run("SIGHUP", 1, "the time was up")]
    >>> together(parts).remark
    '**only 2, 3 asked for**; a; the time was up'
    """
    return Outcome(
        parts[0].fault,
        sum(own.asked for own in parts),
        sum(own.injected for own in parts),
        sum(own.survived for own in parts),
        sum(own.lost for own in parts),
        sum(own.repeated for own in parts),
        tuple(text for own in parts for text in own.faults),
        round(sum(own.seconds for own in parts), 1),
        "; ".join(dict.fromkeys(note for own in parts if own.note for note in own.note.split("; "))),
    )


def are_good(outcomes: Sequence[Outcome]) -> bool:
    """Tell whether there are outcomes, and each is good.

    >>> are_good([]), are_good([Outcome("SIGHUP", 1, 1, 1)]), are_good([Outcome("SIGHUP", 2, 1, 1)])
    (False, True, False)
    """
    return bool(outcomes) and all(own.is_good for own in outcomes)


def as_markdown(outcomes: Sequence[Outcome]) -> str:
    """Return the table for a page, with a last row of sums.

    >>> print(as_markdown([Outcome("SIGKILL of the driver", 20, 20, 20, note="at random moments")]))
    | fault | injected | survived | lost | repeated | |
    | --- | ---: | ---: | ---: | ---: | --- |
    | SIGKILL of the driver | 20 | 20 | 0 | 0 | at random moments |
    | all | 20 | 20 | 0 | 0 | |
    """
    rows = [
        [*(str(getattr(own, name)) for name in COLUMNS), own.remark.replace("|", "/")] for own in outcomes
    ]
    sums = ["all", *(str(sum(getattr(own, name) for own in outcomes)) for name in COLUMNS[1:]), ""]
    if not all(own.is_whole for own in outcomes):
        sums[-1] = f"**{sum(own.asked for own in outcomes)} asked for**"
    head = [[*COLUMNS, ""], ["---", *["---:"] * (len(COLUMNS) - 1), "---"]]
    return "\n".join(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in [*head, *rows, sums])


def as_json(outcomes: Sequence[Outcome], **facts: Any) -> dict[str, Any]:
    """Return everything that was found, with facts of the machine and the call."""
    found = [asdict(own) | {"is_good": own.is_good} for own in outcomes]
    return {**facts, "is_good": are_good(outcomes), "outcomes": found}
