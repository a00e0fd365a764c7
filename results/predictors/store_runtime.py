"""The features that a search stored, as its models read them after its end."""

from collections.abc import Mapping
from pathlib import Path

import torch

from results.run.feature_limit import features_gb
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from trainables.models.weights import WeightsFile
from trainables.runtime.fill_limit import FillLimit
from trainables.runtime.trial_runtime import TrialRuntime


def store_runtime(
    run: RunFolder,
    search: SearchRecord,
    weights: Mapping[str, WeightsFile | None],
    *,
    device: torch.device | None = None,
    fill_limit: FillLimit | None = None,
) -> TrialRuntime:
    """Return what reads the features of a search, and computes those that its store lacks.

    What it stores has the room that the disk budget of the search leaves, as in a trial.

    Args:
        run: Folder of the search.
        search: Record of the search.
        weights: Backbone -> its pretrained file; None for none.
        device: Device that computes; None takes the CPU.
        fill_limit: When passes through frozen stages must end; None for no limit.
    """
    return TrialRuntime(
        Path(search.store),
        torch.device("cpu") if device is None else device,
        dict(weights),
        features=search.request.features,
        store_gb=features_gb(run, search),
        shared_store=search.request.shared_store,
        fill_limit=fill_limit,
    )
