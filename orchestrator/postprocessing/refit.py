"""Refits: the members of a model trained again on the whole training part and kept in the run folder."""

import dataclasses
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.preflight.run_data import open_run_data
from results.errors import DamagedFileError, RunError
from results.predictors.selected_model import resolve_model
from results.run.records import SearchRecord, TrialRecord
from results.run.refit_records import (
    REFIT_FILE,
    RefitRecord,
    models_of_a_fold,
    read_refit,
    refit_folder,
    said_of_models,
    weights_digest,
)
from results.run.run_folder import RunFolder
from trainables.common.files import folder_in_progress, replace_folder, reserve, write_atomically
from trainables.common.text import count_text
from trainables.config.trial_config import TrialConfig, decode, flatten
from trainables.runtime.checkpoint import read_fold_weights, write_fold_weights
from trainables.runtime.devices import available_device
from trainables.runtime.trial_runtime import TrialRuntime, WarmStart
from trainables.training.refit import refit
from trainables.validation.classical import refit_classical


@dataclasses.dataclass(frozen=True, slots=True)
class RefittedTrial:
    """A member that is trained on the whole training part.

    Attributes:
        number: Trial number.
        record: Record of the refit.
        is_new: False if the refit was in the run folder already.
        searched: Number of models of a fold in the search, which calibration and threshold are of.
        has_calibration: There are such; beyond two classes there are none.
    """

    number: int
    record: RefitRecord
    is_new: bool
    searched: int
    has_calibration: bool = True

    def message(self) -> str:
        """Describe the refit in one line for the terminal."""
        record = self.record
        models = f"{count_text(record.seeds, 'model')} on {record.images} images"
        took = f"{record.seconds:.1f} s" if self.is_new else "was there already"
        note = f"; {record.note}" if record.note else ""
        if record.seeds != self.searched and self.has_calibration:
            note += f"; {said_of_models(self.number, refitted=record.seeds, searched=self.searched)}"
        return f"trial {self.number}: {models} for {record.epochs} epochs, {took}{note}"


def refit_model(
    run: RunFolder, *, ensemble: str, trial: int | None, seeds: int | None = None
) -> tuple[str, Iterator[RefittedTrial]]:
    """Refit all members of a model that have no whole refit as they are now, one after the other.

    Args:
        run: Run folder of the search; its data must still be in the store.
        ensemble: Name of the ensemble; not used where a trial is given.
        trial: Number of a single trial, or None.
        seeds: Number of models of each member, each trained with its own random seed; None trains as many as
            each fold of the member had in the search, which its calibration and threshold are of.

    Returns:
        The model's name, and its members as they are finished.

    Raises:
        RunError: If the model has a member without a chosen epoch.
        OrchestrateError: If the model was not built, or data, weights or pretrained files are missing.
    """
    if seeds is not None and seeds < 1:
        raise RunError(f"--seeds must be at least 1, found {seeds}")
    chosen = resolve_model(run, ensemble=ensemble, trial=trial)
    records = [_record_and_epochs(run, number) for number in chosen.trials]
    return chosen.name, (_refitted(run, record, epochs, seeds) for record, epochs in records)


def _record_and_epochs(run: RunFolder, number: int) -> tuple[TrialRecord, int]:
    record = run.record(number)
    if record is None or record.best_epoch is None:
        raise RunError(f"trial {number} of {run.path} has no record of the epoch that was chosen for it")
    return record, record.best_epoch


def _refitted(run: RunFolder, record: TrialRecord, epochs: int, asked: int | None) -> RefittedTrial:
    known, config, search = _whole_refit(run, record.number), decode(record.config), run.search()
    searched, begun = models_of_a_fold(flatten(config.model_dump())), time.monotonic()
    seeds, is_binary = searched if asked is None else asked, len(search.classes) == 2
    if known is not None and (known.seeds, known.epochs) == (seeds, epochs):
        return RefittedTrial(record.number, known, is_new=False, searched=searched, has_calibration=is_binary)
    place = refit_folder(run, record.number)
    with folder_in_progress(place) as folder:  # before hours of training that could not be kept
        reserve(folder, seeds * _largest(run.weights_folder(record.number)))
        training_data, runtime = open_run_data(run, search, available_device(), config)
        found = (refit if config.classical.name == "none" else refit_classical)(
            config,
            training_data,
            _with_refitted_start(runtime, search),
            epochs=epochs,
            seeds=seeds,
            seed=record.seed,
            losses=record.losses,
        )
        write_fold_weights(folder, found.weights)
        written = RefitRecord(
            epochs=epochs,
            seeds=seeds,
            images=found.images,
            loss=found.loss,
            seconds=time.monotonic() - begun,
            note=_note(config),
            predictions_digest=run.predictions_digest(record.number),
            weights_digest=weights_digest(folder),
            finished_at=datetime.now(UTC),
        )
        write_atomically(folder / REFIT_FILE, written.model_dump_json(indent=1) + "\n")
        replace_folder(place, folder)
    return RefittedTrial(record.number, written, is_new=True, searched=searched, has_calibration=is_binary)


def _whole_refit(run: RunFolder, number: int) -> RefitRecord | None:
    try:
        return read_refit(run, number)
    except DamagedFileError:
        return None


def _largest(folder: Path) -> int:
    """Bytes of the largest weights of a fold, which those of a refit will have, too; 0 without any."""
    return max((path.stat().st_size for path in folder.glob("*.safetensors")), default=0)


def _note(config: TrialConfig) -> str:
    if config.training.early_stopping_scope != "fold":
        return ""
    return "each fold kept an epoch of its own (training.early_stopping_scope=fold); this is the last of them"


def _with_refitted_start(runtime: TrialRuntime, search: SearchRecord) -> TrialRuntime:
    """The runtime with the refitted model of the trial that the search starts from, if there is one."""
    source = search.start_from
    if source is None or runtime.start is None:
        return runtime
    run = RunFolder(Path(source.run))
    if read_refit(run, source.trial) is None:
        return runtime
    start = WarmStart(runtime.start.config, read_fold_weights(refit_folder(run, source.trial)))
    return dataclasses.replace(runtime, start=start)
