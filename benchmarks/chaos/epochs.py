"""Finished folds: which epochs of them were trained, which were kept, and what was lost or done twice.

A fold is finished, wholly or up to an epoch, once that is on the disk: where folds train side by side, in
the checkpoint of their trial; where each has a process of its own, in the file that it leaves after its last
epoch; at the end in the record. What was kept is never trained again, whatever happens to the worker, and
within one worker no epoch is trained twice. What a killed worker had not kept yet is trained anew, as it
must be.
"""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.chaos.witness import note
from results.run.records import TrialRecord

_ALL: Final = "*"
_TAKEN: Final = "taken"  # the chaos itself has taken a finished trial away, which is trained anew


@dataclass(slots=True)
class TrialEpochs:
    """What a log says of one trial.

    Attributes:
        trained: (fold, epoch), 0-based -> times that it was trained.
        kept: Fold -> epochs of it that the disk holds.
        again: Fold -> times that an epoch of it was trained although it was kept, or twice by one worker.
        by_worker: Worker -> (fold, epoch) that it has trained since it took the trial on.
        is_ended: Its record is written.
    """

    trained: Counter[tuple[int, int]] = field(default_factory=Counter)
    kept: dict[int, int] = field(default_factory=dict)
    again: Counter[int] = field(default_factory=Counter)
    by_worker: dict[str, set[tuple[int, int]]] = field(default_factory=dict)
    is_ended: bool = False

    def take(self, kind: str, worker: str, words: list[str], folds: int) -> None:
        """Take in a line of the log, without its trial."""
        own = self.by_worker.setdefault(worker, set())
        if kind == "begun":
            own.clear()
        elif kind == "trained":
            fold, epoch = map(int, words)
            if self.is_ended or epoch < self.kept.get(fold, 0) or (fold, epoch) in own:
                self.again[fold] += 1
            own.add((fold, epoch))
            self.trained[fold, epoch] += 1
        elif kind == "kept":
            for fold in range(folds) if words[0] == _ALL else [int(words[0])]:
                self.kept[fold] = max(self.kept.get(fold, 0), int(words[1]))
        elif kind == "ended":
            self.is_ended = True
        elif kind == _TAKEN:
            self.kept, self.by_worker, self.is_ended = {}, {}, False

    def unkept_of(self, worker: str) -> int:
        """Number of epochs that a worker has trained and the disk does not hold."""
        own = self.by_worker.get(worker, set())
        return sum(epoch >= self.kept.get(fold, 0) for fold, epoch in own)


def epochs_of(log: Path, folds: int) -> dict[int, TrialEpochs]:
    """Return trial number -> what a log says of it; nothing where there is no log.

    Args:
        log: See `witness`.
        folds: Number of folds of the search.
    """
    try:
        lines = log.read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return {}
    found: dict[int, TrialEpochs] = {}
    for line in lines:
        if line.endswith("\n"):  # else it is just being written
            kind, number, worker, *words = line.split()
            found.setdefault(int(number), TrialEpochs()).take(kind, worker, words, folds)
    return found


def note_taken(log: Path, number: int) -> None:
    """Note that a finished trial was taken away on purpose, so that it is to be trained anew."""
    note(log, _TAKEN, number, os.getpid())


def lost_and_repeated_folds(
    log: Path, records: Iterable[TrialRecord], folds: int
) -> tuple[list[str], list[str]]:
    """Return what became of finished folds, as sentences: lost ones, and those that were trained again.

    Args:
        log: See `witness`.
        records: Records of the trials of a search that has ended.
        folds: Number of folds of the search.
    """
    found, lost = epochs_of(log, folds), list[str]()
    for record in records:
        if record.state != "complete":
            continue
        trained = found.get(record.number, TrialEpochs()).trained
        wanted = {(fold, epoch) for fold in range(folds) for epoch in range(record.epochs)}
        if len(record.fold_metrics) != folds:
            lost.append(f"trial {record.number} has {len(record.fold_metrics)} of {folds} folds")
        for fold in sorted({fold for fold, _ in wanted - trained.keys()}):
            lost.append(f"fold {fold + 1} of trial {record.number} has epochs that nobody trained")
    repeated = [
        f"fold {fold + 1} of trial {number} trained {count} epochs again that were finished"
        for number, own in sorted(found.items())
        for fold, count in sorted(own.again.items())
    ]
    return lost, repeated
