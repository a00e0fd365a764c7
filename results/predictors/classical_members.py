"""Closed-form heads of runs of earlier versions, which kept none of their arrays: they are fitted again.

Data, split and seed are in the run folder and its store. A check compares the new fit with the search.
"""

from typing import Final

import numpy as np
from torch import Tensor

from results.errors import ExportError, RunError
from results.predictors.store_runtime import store_runtime
from results.run.records import OutOfFold
from results.run.run_folder import RunFolder
from results.scores.metrics import scores
from trainables.common.types import FloatArray
from trainables.config.trial_config import TrialConfig
from trainables.data.patches import open_patch_set
from trainables.data.split_record import read_split
from trainables.data.training_data import TrainingData, training_data_of
from trainables.models.weights import WeightsFile
from trainables.validation.classical import ClassicalValidation

# A fit on the same numbers is the same; features computed on another device may change a nearest neighbour.
LARGEST_DIFFERENCE: Final = 0.02


def fitted_again(
    run: RunFolder, number: int, config: TrialConfig, *, weights: dict[str, WeightsFile | None]
) -> list[dict[str, Tensor]]:
    """Fit all folds of a closed-form trial again.

    Args:
        run: Folder of the search; its data must still be in the store.
        number: Trial number.
        config: Configuration of the trial.
        weights: Pretrained file of each backbone of the trial; None for a table.

    Returns:
        Arrays of each fold's head.

    Raises:
        RunError: If the trial has no record.
        ExportError: If the out-of-fold predictions of the new fit differ from the search's by more than 0.02.
        OrchestrateError: If data or split are missing or were changed.
    """
    search = run.search()
    patch_set = open_patch_set(*search.data_location)
    training_data = training_data_of(
        patch_set, search.task_definition, read_split(run.split_file), search.request.unit
    )
    runtime = store_runtime(run, search, weights)
    record = run.record(number)
    if record is None:
        raise RunError(f"trial {number} of {run.path} has no record; was its folder removed?")
    validation = ClassicalValidation(config, training_data, runtime, seed=record.seed, score=scores)
    validation.epoch()
    best = validation.best
    if best is None:
        raise RunError(f"trial {number} of {run.path} could not be fitted again")
    _check_same(number, training_data, best.probabilities, run.out_of_fold(number))
    return [dict(state) for state in best.weights]


def _check_same(number: int, training_data: TrainingData, again: FloatArray, kept: OutOfFold) -> None:
    rows = training_data.scored.rows
    order = np.argsort(rows)
    places = order[np.searchsorted(rows[order], kept.rows)]
    difference = float(np.abs(again[places] - kept.probabilities).max())
    if not difference <= LARGEST_DIFFERENCE:
        raise ExportError(
            f"trial {number}, fitted again, does not predict what it predicted in the search: out-of-fold "
            f"probabilities differ by up to {difference:.3f}, at most {LARGEST_DIFFERENCE} is "
            "allowed. Its data, its backbone's pretrained file or scikit-learn changed since; search again"
        )
