"""Damaged and missing files of a run, which a resume must notice and mend."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.chaos.arena import Arena
from benchmarks.chaos.checks import Snapshot, snapshot
from benchmarks.chaos.epochs import note_taken
from benchmarks.chaos.ledger import Outcome, not_run

_PIECE: Final = 64  # bytes that are overwritten
_TRIES: Final = 1000


@dataclass(slots=True)
class Damage:
    """What was done to files of a run.

    Attributes:
        noticed: Functions that return True once a resume has noticed it, one for each file or group of files.
        again: Trials that must be run again for it.
    """

    noticed: list[Callable[[], bool]] = field(default_factory=list)
    again: list[int] = field(default_factory=list)


Inject = Callable[[Arena, str], Damage]


def damage(arena: Arena, asked: Mapping[str, int], trials: int) -> list[Outcome]:
    """Damage files of a search that has ended half of its trials, up to two kinds at a time, and resume.

    Args:
        arena: Where the search runs.
        asked: Kind of damage, a key of `KINDS`, -> 1.
        trials: Number of its trials in the end.
    """
    name, found = "damage", list[Outcome]()
    driver = arena.search(name, trials // 2)
    if (code := driver.wait(arena.patience)) != 0:
        return [not_run(kind, count, f"the search itself ended with {code}") for kind, count in asked.items()]
    for place, together in enumerate(TOGETHER):
        kinds = {kind: KINDS[kind] for kind in together if kind in asked}
        if arena.is_late:
            found += [not_run(kind, asked[kind], "the time was up") for kind in kinds]
        else:
            more = (place + 1) * (trials // 2) // len(TOGETHER)
            found += _damaged(arena, name, kinds, trials // 2 + more)
    return found


def _damaged(arena: Arena, name: str, kinds: Mapping[str, Inject], trials: int) -> list[Outcome]:
    started, before = time.monotonic(), snapshot(arena.run(name))
    done = {kind: inject(arena, name) for kind, inject in kinds.items()}
    for number in [number for own in done.values() for number in own.again]:
        _forget(before, number)
        note_taken(arena.log(name), number)
    faults = arena.finish(name, "--trials", str(trials))
    verdict, seconds = arena.judged(name, [before], trials=trials), time.monotonic() - started
    found = []
    for kind, own in done.items():
        others = ", ".join(done.keys() - {kind})
        missed = [f"{kind}: nobody noticed it"] if not all(noticed() for noticed in own.noticed) else []
        note = f"together with: {others}" if others else ""
        found.append(verdict.outcome(kind, 1, min(1, len(own.noticed)), seconds, *missed, *faults, note=note))
    return found


def _forget(before: Snapshot, number: int) -> None:
    """Take a trial out of what must stay: it is run again, as it must be."""
    before.records.pop(number, None)


def _record_and_predictions(arena: Arena, name: str) -> Damage:
    """Cut a record in the middle, and remove the predictions of another trial."""
    run = arena.run(name)
    complete = [own.number for own in run.records() if own.state == "complete"]
    one, other = arena.random.sample(complete, 2)
    content = run.record_file(one).read_bytes()
    run.record_file(one).write_bytes(content[: len(content) // 2])
    (run.trial(other) / "oof.npz").unlink()
    return Damage(
        [_is_set_aside(run.record_file(number), "damaged") for number in (one, other)], [one, other]
    )


def _weights(arena: Arena, name: str) -> Damage:
    """Cut the weights of a fold in the middle; the trial must keep its score, and lose its weights."""
    run = arena.run(name)
    holders = [own.number for own in run.records() if own.has_weights]
    if not holders:
        return Damage()
    number = arena.random.choice(holders)
    path = run.weights_folder(number) / "0.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])

    def is_noticed() -> bool:
        record = run.record(number)
        return record is not None and not record.has_weights and not path.exists()

    return Damage([is_noticed])


def _split(arena: Arena, name: str) -> Damage:
    path = arena.run(name).split_file
    _spoil(path, arena)
    return Damage([_is_set_aside(path, "damaged")])


def _journal(arena: Arena, name: str) -> Damage:
    path = arena.run(name).study_file
    _spoil(path, arena)
    return Damage([_is_set_aside(path, "damaged")])


def _journal_gone(arena: Arena, name: str) -> Damage:
    path = arena.run(name).study_file
    path.unlink()
    return Damage([path.exists])


def _initial_points(arena: Arena, name: str) -> Damage:
    path = arena.run(name).initial_points_file
    _spoil(path, arena)
    return Damage([_is_set_aside(path, "damaged")])


def _features(arena: Arena, name: str) -> Damage:
    """Spoil all stored features; those that the search reads must be computed again."""
    paths = sorted((arena.runs / ".store" / "prefix").glob("*/*/*.npy"))
    spoilt = {path: _spoil(path, arena) for path in paths}
    if not spoilt:
        return Damage()
    return Damage([lambda: any(path.read_bytes() != content for path, content in spoilt.items())])


def _is_set_aside(path: Path, mark: str) -> Callable[[], bool]:
    return path.with_name(f"{path.name}.{mark}").exists


def _spoil(path: Path, arena: Arena) -> bytes:
    """Overwrite a piece of a file by NULs, as a disk does after a power cut; returns what it holds now.

    Raises:
        ValueError: If the file holds nothing else anyway.
    """
    content = path.read_bytes()
    for _ in range(_TRIES):
        place = arena.random.randrange(max(1, len(content) // 2))
        end = min(len(content), place + _PIECE)
        spoilt = content[:place] + bytes(end - place) + content[end:]
        if spoilt != content:
            path.write_bytes(spoilt)
            return spoilt
    raise ValueError(f"{path} holds nothing that could be damaged")


KINDS: Final[Mapping[str, Inject]] = {
    "damaged record and lost predictions": _record_and_predictions,
    "damaged split": _split,
    "damaged journal": _journal,
    "damaged feature files": _features,
    "journal gone": _journal_gone,
    "damaged initial points": _initial_points,
    "damaged weights": _weights,
}

# Kinds that come at a time. Beside a lost journal a resume names damaged initial points, and leaves it to its
# user to go on without them.
TOGETHER: Final = (
    ("damaged record and lost predictions", "damaged split"),
    ("damaged journal", "damaged feature files"),
    ("journal gone",),
    ("damaged initial points", "damaged weights"),
)
