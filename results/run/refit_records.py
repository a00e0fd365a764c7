"""Refits in `trials/<number>/refit/`: trials that were trained once more on the whole training part."""

import datetime
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import Field, FiniteFloat, ValidationError

from results.errors import DamagedFileError, RunError
from results.run.run_folder import RunFolder
from results.run.weights_file import folder_fault
from trainables.common.frozen import FrozenModel
from trainables.common.text import command_text, count_text, typed_path

REFIT_FILE: Final = "refit.json"


class RefitRecord(FrozenModel):
    """`refit.json`: training of a trial on the whole training part; the weights are in the same folder.

    Attributes:
        epochs: Number of epochs of each model, as chosen by cross-validation.
        seeds: Number of models, whose probabilities are averaged.
        images: Number of images that each model was trained on.
        loss: Training loss in the last epoch.
        note: Remark about the number of epochs; empty without one.
        predictions_digest: SHA-256 of the trial's out-of-fold predictions, which are others once it was run
            again; None where they could not be read, and in files of earlier versions.
        weights_digest: SHA-256 of the weights, see `weights_digest`; None in files of earlier versions.
    """

    epochs: int = Field(ge=1)
    seeds: int = Field(ge=1)
    images: int
    loss: FiniteFloat
    seconds: FiniteFloat
    note: str = ""
    predictions_digest: str | None = None
    weights_digest: str | None = None
    finished_at: datetime.datetime


def models_of_a_fold(settings: Mapping[str, Any]) -> int:
    """Return how many models of a trial each fold averaged in the search, by its settings under dotted names.

    >>> models_of_a_fold({"training.repeats": 3}), models_of_a_fold({})
    (3, 1)
    """
    is_net = settings.get("classical.name", "none") in ("none", None)  # a closed-form head is fitted once
    return int(settings.get("training.repeats", 1)) if is_net else 1


def said_of_models(trial: int, *, refitted: int, searched: int) -> str:
    """Say, without a full stop, that a trial was refitted to another number of models than a fold had.

    Args:
        trial: Number of the trial.
        refitted: Number of models that were trained on the whole training part, at least 1.
        searched: Number of models of a fold in the search, at least 1.
    """
    how = "more" if refitted < searched else "less"
    return (
        f"calibration and threshold of trial {trial} are of folds of {count_text(searched, 'model')}, and on "
        f"the whole training part {count_text(refitted, 'model')} {'was' if refitted == 1 else 'were'} "
        f"trained: probabilities may be {how} extreme than they should be"
    )


def refit_folder(run: RunFolder, number: int) -> Path:
    """Return the folder of a refitted trial."""
    return run.trial(number) / "refit"


def read_refit(run: RunFolder, number: int) -> RefitRecord | None:
    """Return the record of a trial's refit; None without one.

    Raises:
        DamagedFileError: If the file is not such a record, the weights are not all there as they were
            written, or the trial was run again since.
    """
    folder = refit_folder(run, number)
    again = f"train it again with: {run.command('refit', '--trial', str(number))}"
    try:
        found = RefitRecord.model_validate_json((folder / REFIT_FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        raise DamagedFileError(
            f"{folder / REFIT_FILE} is damaged: {error.errors()[0]['msg']}; {again}"
        ) from error
    fault = folder_fault(folder, found.seeds)
    if fault is not None:
        raise DamagedFileError(f"{folder / fault[0]} is damaged: {fault[1]}; {again}")
    if found.weights_digest not in (None, weights_digest(folder)):
        raise DamagedFileError(f"the weights in {folder} are damaged: they are not those written; {again}")
    if run.has_other_predictions(number, found.predictions_digest):
        raise DamagedFileError(f"{folder} is a refit of trial {number} before it was run again; {again}")
    return found


def weights_digest(folder: Path) -> str:
    """Return a digest of all weights in a folder."""
    return _digest_of(sorted(folder.glob("*.safetensors")))


def refit_digest(run: RunFolder, trials: Sequence[int]) -> str:
    """Return a digest of the refitted weights of some trials: another refit of a trial is another model."""
    return _digest_of(
        path for number in trials for path in sorted(refit_folder(run, number).glob("*.safetensors"))
    )


def _digest_of(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def check_refits(run: RunFolder, trials: Sequence[int], option: str) -> None:
    """Make sure that all members of a model were refitted.

    Args:
        run: Folder of the search.
        trials: Trial numbers of the members.
        option: Option that names the model on the command line, such as `--trial 7`.

    Raises:
        RunError: If a member was not refitted.
        DamagedFileError: If a refit is not whole, or is of a trial that was run again since.
    """
    missing = [str(number) for number in trials if read_refit(run, number) is None]
    if missing:
        raise RunError(
            f"no model of trial {', '.join(missing)} was trained on the whole training part yet; run first: "
            f"{command_text('orchestrate', 'refit', typed_path(run.path))} {option}"
        )
