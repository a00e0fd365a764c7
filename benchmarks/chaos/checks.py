"""What must hold of a run folder after a fault: nothing lost, nothing twice, study and folder of one mind."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from results.run.damage import damaged_trials
from results.run.records import TrialRecord
from results.run.run_folder import RunFolder

HANDED_OUT: Final = "handed_out.log"  # a line for each trial that the space was asked for
# What the search may change of a finished trial: the weights of those that are not among the best go.
_MAY_CHANGE: Final = {"has_weights"}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The finished trials of a run at one moment.

    Attributes:
        records: Trial number -> its record, without what may change.
        predictions: Trial number -> digest of its out-of-fold predictions.
        handed_out: Trial number -> number of times that it was handed out so far.
    """

    records: dict[int, dict[str, Any]]
    predictions: dict[int, str]
    handed_out: Counter[int]


def snapshot(run: RunFolder) -> Snapshot:
    """Return what is finished; records that the search is to run again on a resume do not count."""
    records = [record for record in run.records() if is_final(record)]
    return Snapshot(
        {record.number: _lasting(record) for record in records},
        {record.number: _digest(run.trial(record.number) / "oof.npz") for record in records},
        handed_out(run.path),
    )


def is_final(record: TrialRecord) -> bool:
    """Tell whether no resume runs a trial again: it did not fail for a reason outside of it."""
    return record.cause not in ("lost_worker", "environment")


def lost_and_repeated(before: Snapshot, after: Snapshot) -> tuple[list[str], list[str]]:
    """Return what became of the trials that had finished, as sentences: lost ones, and repeated ones.

    Args:
        before: The run at the moment of a fault.
        after: The run later on.
    """
    lost = [
        f"trial {number} is gone" if number not in after.records else f"trial {number} has changed"
        for number, record in before.records.items()
        if after.records.get(number) != record
        or after.predictions.get(number) != before.predictions.get(number)
    ]
    repeated = [
        f"trial {number} was finished and was handed out again"
        for number in before.records
        if after.handed_out[number] > before.handed_out[number]
    ]
    return lost, repeated


def standing_faults(run: RunFolder, *, trials: int) -> list[str]:
    """Return what is wrong with a run whose search has ended, as sentences.

    Args:
        run: The run folder.
        trials: Number of trials that the search was to run.
    """
    found = [f"{error}" for error in damaged_trials(run).values()]
    found += [f"the record of trial {number} cannot be parsed" for number in _unreadable(run)]
    records = {record.number: record for record in run.records()}
    if sorted(records) != list(range(trials)):
        found.append(f"{trials} trials were asked for, the folder has {sorted(records)}")
    return found + _study_faults(run, records)


def _unreadable(run: RunFolder) -> list[int]:
    bad = []
    for number in run.trial_numbers():
        path = run.record_file(number)
        try:
            if path.exists():
                TrialRecord.model_validate(json.loads(path.read_bytes()))
        except ValueError:
            bad.append(number)
    return bad


def _study_faults(run: RunFolder, records: dict[int, TrialRecord]) -> list[str]:
    """Compare the study with the records, both ways."""
    import optuna
    from optuna.trial import TrialState

    from orchestrator.tuning.setup import study_place

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    place = study_place(run, run.search())
    trials = {own.number: own for own in place.open(is_new=False).get_trials(deepcopy=False)}
    open_ones = [number for number, own in trials.items() if not own.state.is_finished()]
    found = [f"the study holds trial {number} as not ended" for number in open_ones]
    if sorted(trials) != sorted(records):
        found.append(f"the study has trials {sorted(trials)}, the folder {sorted(records)}")
    for number in sorted(set(trials) & set(records)):
        own, record = trials[number], records[number]
        if (own.state is TrialState.COMPLETE) != (record.state == "complete"):
            found.append(f"trial {number} is {own.state.name} in the study and {record.state} in the folder")
        elif own.state is TrialState.COMPLETE and own.values[0] != record.value:
            found.append(f"trial {number} has the value {own.values[0]} in the study, {record.value} here")
    return found


def differences(run: RunFolder, reference: RunFolder) -> list[str]:
    """Return where the leaderboard of a run is not that of an undisturbed one, as sentences.

    Args:
        run: The run folder.
        reference: Run of the same search that nobody disturbed; it may have more trials.
    """
    numbers = {own.number for own in run.records()}
    one, other = (_trials(own, numbers) for own in (run, reference))
    found = [
        f"trial {number}: {one.get(number)} instead of {other.get(number)}"
        for number in sorted(numbers)
        if one.get(number) != other.get(number)
    ]
    orders = [_order(own, numbers) for own in (run, reference)]
    return found if found or orders[0] == orders[1] else [f"order {orders[0]} instead of {orders[1]}"]


def _trials(run: RunFolder, numbers: set[int]) -> dict[int, tuple[Any, ...]]:
    """Trial number -> state, value, kept epoch, parameters and digest of the predictions."""
    return {
        own.number: (
            own.state,
            own.value,
            own.best_epoch,
            json.dumps(own.params, sort_keys=True),
            _digest(run.trial(own.number) / "oof.npz", contents=True)[:8],
        )
        for own in run.records()
        if own.number in numbers
    }


def _order(run: RunFolder, numbers: set[int]) -> list[int]:
    """Complete trials in the order of the leaderboard."""
    from results.scores.leaderboard import leaderboard

    ranked = [(row.rank, row.trial) for row in leaderboard(run) if row.rank is not None]
    return [trial for _, trial in sorted(ranked) if trial in numbers]


def handed_out(folder: Path) -> Counter[int]:
    """Return trial number -> times that the space of `arena` was asked for it, by the log beside the runs."""
    try:
        lines = (folder / HANDED_OUT).read_text().split()
    except FileNotFoundError:
        return Counter()
    return Counter(int(line) for line in lines if line.isdigit())


def _lasting(record: TrialRecord) -> dict[str, Any]:
    return {name: value for name, value in record.model_dump(mode="json").items() if name not in _MAY_CHANGE}


def _digest(path: Path, *, contents: bool = False) -> str:
    """Digest of a file; of the arrays in it, which a ZIP archive dates, where `contents` says so."""
    try:
        if not contents:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        import numpy as np

        with np.load(path, allow_pickle=False) as stored:
            parts = [name.encode() + stored[name].tobytes() for name in sorted(stored.files)]
        return hashlib.sha256(b"".join(parts)).hexdigest()
    except FileNotFoundError:
        return ""
