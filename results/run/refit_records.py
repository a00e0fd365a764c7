"""Refits in `trials/<number>/refit/`: trials that were trained once more on the whole training part."""

import datetime
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import Field, FiniteFloat, ValidationError

from results.errors import DamagedFileError, RunError
from results.run.run_folder import RunFolder
from trainables.common.frozen import FrozenModel
from trainables.common.text import command_text, typed_path

REFIT_FILE: Final = "refit.json"


class RefitRecord(FrozenModel):
    """`refit.json`: training of a trial on the whole training part; the weights are in the same folder.

    Attributes:
        epochs: Number of epochs of each model, as chosen by cross-validation.
        seeds: Number of models, whose probabilities are averaged.
        images: Number of images that each model was trained on.
        loss: Training loss in the last epoch.
        note: Remark about the number of epochs; empty without one.
    """

    epochs: int = Field(ge=1)
    seeds: int = Field(ge=1)
    images: int
    loss: FiniteFloat
    seconds: FiniteFloat
    note: str = ""
    finished_at: datetime.datetime


def refit_folder(run: RunFolder, number: int) -> Path:
    """Return the folder of a refitted trial."""
    return run.trial(number) / "refit"


def read_refit(run: RunFolder, number: int) -> RefitRecord | None:
    """Return the record of a trial's refit; None without one.

    Raises:
        DamagedFileError: If the file is not such a record.
    """
    path = refit_folder(run, number) / REFIT_FILE
    try:
        return RefitRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise DamagedFileError(
            f"{path} is damaged: {error.errors()[0]['msg']}; remove {path.parent} and refit the trial again"
        ) from error


def refit_digest(run: RunFolder, trials: Sequence[int]) -> str:
    """Return a digest of the refitted weights of some trials: another refit of a trial is another model."""
    digest = hashlib.sha256()
    for number in trials:
        for path in sorted(refit_folder(run, number).glob("*.safetensors")):
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
    """
    missing = [str(number) for number in trials if read_refit(run, number) is None]
    if missing:
        raise RunError(
            f"no model of trial {', '.join(missing)} was trained on the whole training part yet; run first: "
            f"{command_text('orchestrate', 'refit', typed_path(run.path))} {option}"
        )
