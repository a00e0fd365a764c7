"""One outer fold of a nested search, as it lies in the run folder of the search that did not see it."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat, ValidationError

from results.errors import DamagedFileError
from results.run.records import OutOfFold
from results.run.run_folder import RunFolder
from results.run.trial_checks import predictions_fault
from trainables.common.files import write_atomically
from trainables.common.frozen import FrozenModel
from trainables.common.text import first_line
from trainables.common.types import FloatArray, IntArray

Role = Literal["shipped", "incumbent", "first_point", "baseline"]

ROLES: Final[tuple[Role, ...]] = get_args(Role)


class FoldModel(FrozenModel):
    """A model that predicted an outer fold.

    Attributes:
        name: Name for messages, such as `ensemble average` or `trial 7`.
        trials: Numbers of its members in the inner search.
        settings: Main settings of its first member, as text.
        inner_value: Value of the search metric that the inner search claims for it, out of fold.
        threshold: Smallest calibrated probability that it calls positive.
        thresholds: Metric -> threshold at which that metric is shown, where that is another one.
    """

    name: str
    trials: tuple[int, ...]
    settings: str
    inner_value: FiniteFloat
    threshold: FiniteFloat
    thresholds: dict[str, FiniteFloat] = Field(default_factory=dict)


class OuterFold(FrozenModel):
    """`outer_fold.json`: what predicted an outer fold, and what the search without it did.

    Attributes:
        fold: Outer fold, 1-based.
        folds: Number of outer folds.
        patients: Number of its patients, or image groups.
        asked: Number of trials that the inner search was to run.
        ended: Number of trials that ended.
        complete: Number of trials that ran to their end.
        models: Role -> model; a role is missing where the inner search has none.
        winner: Setting -> value of the inner search's best trial.
        choices: Setting -> share of each value, as text, among its complete trials.
        worker_seconds: Seconds of all its trials together, features included.
        features_computed: Number of feature files that its trials and predictions computed.
        features_again: Number of those that had been in the store before, and were damaged or gone.
        features_read: Number of feature files that they read.
    """

    fold: int
    folds: int
    patients: int
    asked: int
    ended: int
    complete: int
    models: dict[Role, FoldModel]
    winner: dict[str, Any]
    choices: dict[str, dict[str, FiniteFloat]] = Field(default_factory=dict)
    worker_seconds: FiniteFloat
    features_computed: int
    features_again: int
    features_read: int


@dataclass(frozen=True, slots=True)
class FoldPredictions:
    """Predictions of an outer fold.

    Attributes:
        rows: Row of each image in the patch set, shape (images,).
        labels: Class indices, shape (images,).
        groups: Patient of each image, shape (images,).
        probabilities: Role -> calibrated probabilities, shape (images, classes).
    """

    rows: IntArray
    labels: IntArray
    groups: NDArray[np.str_]
    probabilities: Mapping[Role, FloatArray]


def write_outer_fold(inner: RunFolder, fold: OuterFold, predictions: FoldPredictions) -> None:
    """Write the predictions, then the record, so that its presence means that both are whole."""
    buffer = io.BytesIO()
    arrays = {f"p_{role}": values for role, values in predictions.probabilities.items()}
    np.savez_compressed(
        buffer,
        rows=predictions.rows,
        labels=predictions.labels,
        groups=predictions.groups,
        **arrays,  # type: ignore[arg-type] # stubs take the names for options
    )
    write_atomically(inner.outer_predictions_file, buffer.getvalue())
    write_atomically(inner.outer_fold_file, fold.model_dump_json(indent=1) + "\n")


def read_outer_fold(inner: RunFolder) -> tuple[OuterFold, FoldPredictions] | None:
    """Read an outer fold; None where it was not predicted yet.

    Raises:
        DamagedFileError: If a file does not hold what it should.
    """
    try:
        fold = OuterFold.model_validate_json(inner.outer_fold_file.read_bytes())
        with np.load(io.BytesIO(inner.outer_predictions_file.read_bytes()), allow_pickle=False) as stored:
            found = FoldPredictions(
                stored["rows"],
                stored["labels"],
                stored["groups"],
                {role: stored[f"p_{role}"] for role in ROLES if f"p_{role}" in stored},
            )
    except FileNotFoundError:
        return None
    except (ValidationError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise damaged_outer_fold(inner, first_line(error)) from error
    fault = _fault(fold, found)
    if fault is not None:
        raise damaged_outer_fold(inner, fault)
    return fold, found


def damaged_outer_fold(inner: RunFolder, fault: str) -> DamagedFileError:
    """Return the error that names the files of a damaged outer fold, and says what can be done about it."""
    return DamagedFileError(
        f"{inner.outer_fold_file} or the predictions beside it are damaged: {fault}; remove both to predict "
        "the fold again"
    )


def _fault(fold: OuterFold, found: FoldPredictions) -> str | None:
    """What is wrong with the predictions of an outer fold, as the end of a sentence; None if nothing is."""
    if missing := fold.models.keys() - found.probabilities.keys():
        return f"it lacks predictions of {min(missing)}"
    for role, probabilities in found.probabilities.items():
        folds = np.full(found.rows.shape, fold.fold - 1)
        fault = predictions_fault(OutOfFold(found.rows, found.labels, folds, found.groups, probabilities))
        if fault is not None:
            return f"{role}: {fault}"
    return None
