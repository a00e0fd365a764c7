"""Drivers of a shared study: each asks for trials and tells them, without Ray and training."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from search_methods import search_method
from space_context import NARROW

from orchestrator.study.patience import Patience
from orchestrator.study.recovery import StudyPlace, TrialSource
from orchestrator.study.study import OptunaStudy
from results.run.records import TrialRecord
from search_spaces.context import SpaceContext
from search_spaces.enqueue import InitialPoint
from search_spaces.registry import Space
from trainables.config.trial_config import flatten

FACTS = {"data": "d" * 16, "metrics": ["auc"], "space_context": {"images": "1", "sizes": "2"}}
POINTS = tuple(
    InitialPoint("ours", {"model.backbone": "vgg16", "optimizer.lr": rate, "optimizer.name": "adam"})
    for rate in (0.002, 0.003)
)


def space(trial: Any, context: SpaceContext) -> dict[str, Any]:
    name = trial.suggest_categorical("optimizer.name", ("adam", "sgd"))
    rate = trial.suggest_float("optimizer.lr", 1e-4, 1e-1, log=True)
    return {"model.backbone": "vgg16", "optimizer.name": name, "optimizer.lr": rate}


def place_of(url: str, driver: str, **facts: Any) -> StudyPlace:
    return StudyPlace(
        url, Path("unused"), "t/both", ("maximize",), driver, {**FACTS, **facts}, Patience(minutes=1.0)
    )


def driver_of(
    url: str, driver: str, *, trials: int = 8, points: Sequence[InitialPoint] = (), **options: Any
) -> OptunaStudy:
    """A search that makes the study, or joins it."""
    place = place_of(url, driver)
    study, is_first = place.begin()
    method = search_method(trials=trials, **options)
    found = OptunaStudy(
        study, Space("space", space, ()), NARROW, {}, method, driver=driver, patience=place.patience
    )
    if is_first:
        found.enqueue(points)
    return found


def resumed(
    url: str, driver: str, records: dict[int, TrialRecord], *, trials: int = 8
) -> tuple[OptunaStudy, tuple[str, ...]]:
    """The same search, after it was interrupted, and what it says."""
    method = search_method(trials=trials)
    own = Space("space", space, ())
    place = place_of(url, driver)
    recovery = place.recovered(records, TrialSource(own, NARROW, {}, method.objectives))
    study = OptunaStudy(recovery.study, own, NARROW, {}, method, driver=driver, patience=place.patience)
    study.adopt(records)
    return study, recovery.messages


def ended(spec: Any, value: float = 0.5, folds: Sequence[float] = (0.4, 0.5, 0.6)) -> TrialRecord:
    return TrialRecord(
        number=spec.number,
        state="complete",
        value=value,
        epochs=5,
        config=flatten(spec.config.model_dump(mode="json")),
        params=json.loads(json.dumps(spec.params)),
        recipe=spec.recipe,
        fold_metrics=tuple({"auc": own} for own in folds),
        fingerprint="f",
        seed=0,
        finished_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def run_all(study: OptunaStudy, say: Callable[[int], None] = lambda number: None) -> list[int]:
    """Ask and tell until nothing is left; returns the numbers, and says each."""
    found = []
    while (spec := study.ask()) is not None:
        study.tell(ended(spec))
        found.append(spec.number)
        say(spec.number)
    return found


def numbers_in(printed: str) -> list[int]:
    """What a driver in a process of its own has printed -> the numbers of its trials."""
    return [int(line) for line in printed.splitlines()]


def last_words(found: Iterable[tuple[str, str]]) -> str:
    """What drivers in processes of their own printed last, for the message of a test that failed."""
    return "\n\n".join(f"{said[-200:]}\n{error[-3000:]}" for said, error in found)


if __name__ == "__main__":  # a driver in a process of its own: URL, name, number of trials
    own = driver_of(sys.argv[1], sys.argv[2], trials=int(sys.argv[3]), points=POINTS)
    run_all(own, lambda number: print(number, flush=True))
