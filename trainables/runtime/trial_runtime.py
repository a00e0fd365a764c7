"""Where a trial runs, and the finished trial that it may start from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from trainables.config.feature_storage import FeatureStorage
from trainables.config.trial_config import TrialConfig
from trainables.models.taps import Tap
from trainables.models.weights import WeightsFile


@dataclass(frozen=True, slots=True)
class WarmStart:
    """A finished trial that others start from.

    Attributes:
        config: Its configuration.
        folds: What it keeps of each fold, in the folds of the trials that start from it.
    """

    config: TrialConfig
    folds: Sequence[Mapping[str, Tensor]]


@dataclass(frozen=True, slots=True)
class TrialRuntime:
    """Where a trial runs.

    Attributes:
        store: Folder of the prefix store.
        features: Number type that stored features have; `off` stores none and computes them for each trial.
        store_gb: Most that stored features may take on disk, in 10^9 bytes; None for a rule.
        shared_store: Folder from which nodes copy features that others computed; None where there is none.
        device: Where it computes.
        weights: Pretrained file of each usable backbone; None for nets trained from scratch.
        taps: For each backbone, the features to fill whenever it runs.
        dtype: Of weights and batches.
        start: Finished trial that `model.weights=start` means; None without one.
        fusion: Whether the models of a trial run fused, one after the other, or as measured.
    """

    store: Path
    device: torch.device
    weights: dict[str, WeightsFile | None]
    taps: dict[str, tuple[Tap, ...]] = field(default_factory=dict)
    features: FeatureStorage = "float16"
    store_gb: float | None = None
    shared_store: Path | None = None
    dtype: torch.dtype = torch.float32
    start: WarmStart | None = None
    fusion: Literal["auto", "fused", "sequential"] = "auto"
