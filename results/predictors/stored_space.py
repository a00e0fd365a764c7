"""The training images of a run in the features that a trial's head sees, out of the store."""

import time
from collections.abc import Sequence

import numpy as np

from results.novelty.neighbours import FeatureSpace, feature_space
from results.predictors.loading import weights_of
from results.predictors.novelty_module import pooled_rows
from results.predictors.store_runtime import store_runtime
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from trainables.common.errors import OrchestrateError
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.split_record import read_split
from trainables.data.training_data import TrainingData, training_data_of
from trainables.features.loading import open_plain_features
from trainables.models.registry import backbone_named
from trainables.models.taps import frozen_parts, tap_of
from trainables.runtime.fill_limit import FillLimit


def stored_space(run: RunFolder, records: Sequence[TrialRecord]) -> FeatureSpace | None:
    """Open the features of the first of some trials whose frozen stages have left them in the store.

    Nothing is computed, and the sealed test part takes no part.

    Args:
        run: Folder of the search.
        records: Complete trials, those that are preferred first.

    Returns:
        The space; None where the store holds the features of none of them, or the data are out of reach.
    """
    search = run.search()
    try:
        data = training_data_of(
            run.patch_set(), search.task_definition, read_split(run.split_file), search.request.unit
        )
    except (OrchestrateError, OSError):
        return None
    for record in records:
        try:
            found = _space_of(run, decode(record.config), search, data)
        except (OrchestrateError, OSError):
            continue  # features that were given up for room, or weights that are gone
        if found is not None:
            return found
    return None


def _space_of(
    run: RunFolder, config: TrialConfig, search: SearchRecord, data: TrainingData
) -> FeatureSpace | None:
    config = frozen_parts(config)[0]
    tap = tap_of(config, backbone_named(config.model.backbone))
    if tap is None:
        return None
    weights = {config.model.backbone: weights_of(config, search)}
    runtime = store_runtime(run, search, weights, fill_limit=FillLimit(time.monotonic()))
    features = pooled_rows(open_plain_features(config, data, runtime)[data.positions])
    if not np.isfinite(features).all():
        return None
    about = f"{tap.stage} of {config.model.backbone}"
    return feature_space(about, data.rows, data.labels, data.groups, features)
