"""A list as a study, a clock that stands still, and records, to try the trial manager with."""

from collections.abc import Sequence
from datetime import UTC, datetime

from orchestrator.study.patience import Patience
from orchestrator.study.trial_spec import TrialSpec, is_first_point
from orchestrator.tuning.trial_manager import TrialManager
from results.run.records import TrialRecord
from trainables.config.trial_config import decode, flatten

CONFIG = decode({"model.backbone": "efficientnet_lite0"})


def spec(number: int, recipe: str = "") -> TrialSpec:
    return TrialSpec(number, CONFIG, {}, recipe)


class ListStudy:
    """Hands out what it is given, first what was interrupted; an exception in the list is raised."""

    def __init__(
        self, *specs: TrialSpec | Exception, interrupted: Sequence[TrialSpec | Exception] = ()
    ) -> None:
        self.left, self.told, self.pruned = list(specs), [], set[int]()
        self.interrupted, self.alone, self.opened = list(interrupted), set[int](), set[int]()
        self.patience = Patience()

    def ask(self) -> TrialSpec | None:
        if not (self.interrupted or self.left):
            return None
        proposal = (self.interrupted or self.left).pop(0)
        if isinstance(proposal, Exception):
            raise proposal
        return proposal

    def has_points(self) -> bool:
        return any(
            is_first_point(own.recipe)
            for own in (*self.interrupted, *self.left)
            if isinstance(own, TrialSpec)
        )

    def note_alone(self, number: int) -> None:
        self.alone.add(number)

    def note_open(self, number: int) -> None:
        self.opened.add(number)

    def has_interrupted(self) -> bool:
        return bool(self.interrupted)

    def ended_elsewhere(self) -> list[TrialRecord]:
        return []

    def should_prune(self, number: int, epoch: int, value: float, fold_values: Sequence[float] = ()) -> bool:
        return number in self.pruned

    def tell(self, record: TrialRecord) -> None:
        self.told.append(record)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def epoch(lead: TrialManager, number: int, epoch: int = 1, collapsed: tuple[int, ...] = ()) -> str | None:
    return lead.on_epoch(number, epoch, 0.6, {}, collapsed)


def complete(number: int, value: float) -> TrialRecord:
    return TrialRecord(
        number=number,
        state="complete",
        config=flatten(CONFIG.model_dump(mode="json")),
        value=value,
        fingerprint="f",
        seed=0,
        has_weights=True,
        finished_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def out_of_memory(number: int) -> TrialRecord:
    return complete(number, 0.0).model_copy(
        update={"state": "failed", "cause": "out_of_memory", "error": "no room", "has_weights": False}
    )
