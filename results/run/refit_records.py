"""Trials that were trained once more on the whole training part: what lies in `trials/<number>/refit/`."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import Field, FiniteFloat

from results.errors import RunError
from results.run.run_folder import RunFolder
from trainables.common.frozen import FrozenModel

REFIT_FILE: Final = "refit.json"


class RefitRecord(FrozenModel):
    """`refit.json`: how a trial was trained on the whole training part; its weights lie beside it.

    Attributes:
        epochs: That each model was trained for: those that cross-validation chose.
        seeds: Number of models, whose probabilities are averaged.
        images: That each of them was trained on.
        loss: Of training in the last epoch.
        note: What else to know of the number of epochs; empty where there is nothing.
    """

    epochs: int = Field(ge=1)
    seeds: int = Field(ge=1)
    images: int
    loss: FiniteFloat
    seconds: FiniteFloat
    note: str = ""
    finished_at: datetime.datetime


def refit_folder(run: RunFolder, number: int) -> Path:
    """Where a refitted trial lies."""
    return run.trial(number) / "refit"


def read_refit(run: RunFolder, number: int) -> RefitRecord | None:
    """How a trial was refitted, or None where it was not."""
    try:
        return RefitRecord.model_validate_json((refit_folder(run, number) / REFIT_FILE).read_bytes())
    except FileNotFoundError:
        return None


def need_refits(run: RunFolder, trials: Sequence[int], option: str) -> None:
    """Make sure that all members of a model were refitted.

    Args:
        run: Folder of the search.
        trials: The members.
        option: What names the model on the command line, such as `--trial 7`.

    Raises:
        RunError: If one was not.
    """
    missing = [str(number) for number in trials if read_refit(run, number) is None]
    if missing:
        raise RunError(
            f"no model of trial {', '.join(missing)} was trained on the whole training part yet; run first: "
            f"orchestrate refit {run.path} {option}"
        )
