"""What is damaged of a run folder: records and predictions, which are scores, and weights, which are not."""

import contextlib
import io
import zipfile
from typing import Final

from results.errors import DamagedFileError
from results.run.predictions_file import NOT_A_ZIP
from results.run.records import TrialRecord
from results.run.run_folder import RunFolder
from results.run.weights_file import folder_fault
from trainables.common.files import read_plain

_READ_WHOLE: Final = 1000  # trials whose predictions are read to find damage; of more, their check sums


def damaged_trials(run: RunFolder) -> dict[int, DamagedFileError]:
    """Return trial number -> what is wrong with its record or its predictions, for damaged trials."""
    found: dict[int, DamagedFileError] = {}
    numbers = run.trial_numbers()
    reads_whole = len(numbers) <= _READ_WHOLE
    for number in numbers:
        try:
            record = run.record(number)
            if record is not None and record.state == "complete":
                run.check_belongs(record)
                _check_predictions(run, record, reads_whole=reads_whole)
        except DamagedFileError as error:
            found[number] = error
    return found


def damaged_weights(run: RunFolder) -> dict[int, DamagedFileError]:
    """Return trial number -> what is wrong with its weights, for trials whose record says it has some.

    Only headers and sizes of files are looked at, so that it takes a second for a thousand trials. What is
    wrong with weights is none of the damage to a trial's scores, which `damaged_trials` names.
    """
    found: dict[int, DamagedFileError] = {}
    for record in run.records():
        if record.has_weights and (error := _weights_error(run, record)) is not None:
            found[record.number] = error
    return found


def _check_predictions(run: RunFolder, record: TrialRecord, *, reads_whole: bool) -> None:
    if reads_whole:
        run.predictions_of(record)
    else:
        _check_sums(run, record.number)


def _check_sums(run: RunFolder, number: int) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(read_plain(run.predictions_file(number)))) as file:
            spoilt = file.testzip()
    except FileNotFoundError as error:
        raise run.damaged_file(number, "oof.npz", "it is not there") from error
    except OSError as error:
        raise run.damaged_file(number, "oof.npz", error.strerror or str(error)) from error
    except NOT_A_ZIP as error:
        raise run.damaged_file(number, "oof.npz", str(error) or "it ends too early") from error
    if spoilt is not None:
        raise run.damaged_file(number, "oof.npz", f"{spoilt} is not as it was written")


def _weights_error(run: RunFolder, record: TrialRecord) -> DamagedFileError | None:
    folder = run.weights_folder(record.number)
    fault = folder_fault(folder, len(record.fold_metrics))
    if fault is None:
        return None
    with contextlib.suppress(DamagedFileError):
        now = run.record(record.number)
        if now is None or not now.has_weights:  # a running search has let them go meanwhile
            return None
    name, said = fault
    return DamagedFileError(
        f"{folder / name} is damaged: {said}; the score of trial {record.number} stays; to go on without its "
        f"weights: {run.resume_command}"
    )
