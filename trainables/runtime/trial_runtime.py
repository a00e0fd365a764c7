"""Runtime settings of a trial, and the finished trial that it may start from."""

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
from trainables.runtime.fill_limit import FillLimit
from trainables.runtime.lender import FeatureLender


@dataclass(frozen=True, slots=True)
class WarmStart:
    """A finished trial that others start from.

    Attributes:
        config: Configuration of the finished trial.
        folds: Kept tensors of each fold; fold k here starts fold k of a new trial.
    """

    config: TrialConfig
    folds: Sequence[Mapping[str, Tensor]]


@dataclass(frozen=True, slots=True)
class TrialRuntime:
    """Device, number type, feature store and pretrained weights of a trial.

    Attributes:
        store: Folder of the prefix store.
        device: Device that the trial computes on.
        weights: Pretrained file of each usable backbone; None for nets trained from scratch.
        taps: Taps of each backbone whose features are stored whenever its frozen stages run.
        features: Number type of stored features; `off` stores none and computes them for each trial.
        store_gb: Disk budget of stored features, in 10^9 bytes; None for the default of the store.
        shared_store: Folder from which nodes copy features that others computed; None without one.
        lender: Brings features that other machines have computed; None without one.
        dtype: Number type of weights and batches.
        start: Finished trial that `model.weights=start` means; None without one.
        fusion: Execution mode of the models of a trial: `fused`, `sequential`, or `auto` for the faster one.
        fill_limit: When passes through frozen stages must end; None for no limit.
    """

    store: Path
    device: torch.device
    weights: Mapping[str, WeightsFile | None]
    taps: Mapping[str, tuple[Tap, ...]] = field(default_factory=dict)
    features: FeatureStorage = "float16"
    store_gb: float | None = None
    shared_store: Path | None = None
    lender: FeatureLender | None = None
    dtype: torch.dtype = torch.float32
    start: WarmStart | None = None
    fusion: Literal["auto", "fused", "sequential"] = "auto"
    fill_limit: FillLimit | None = None
