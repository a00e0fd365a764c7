"""Some folds of a trial in a process that trains nothing else: the other side of `FoldsElsewhere`."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from trainables.common.types import Float32Array
from trainables.config.trial_config import TrialConfig
from trainables.data.training_data import TrainingData
from trainables.features.loading import open_features
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.fold_states import State, part_of
from trainables.training.folds import Folds
from trainables.training.initialisation import build_models
from trainables.training.sequential import ExecutionMode

_NONE_YET: Final = "folds are trained here once they have been taken over"


class FoldShare:
    """Trains the folds that it takes over; may take over others later.

    Args:
        config: The trial.
        training_data: The training part.
        runtime: Store, device and weights of this machine.
        seed: Seed of the trial.

    Raises:
        OrchestrateError: If the features of the trial cannot be opened here.
    """

    def __init__(
        self, config: TrialConfig, training_data: TrainingData, runtime: TrialRuntime, *, seed: int
    ) -> None:
        self._config, self._training_data, self._runtime, self._seed = config, training_data, runtime, seed
        self._features, _ = open_features(config, training_data, runtime)
        self._taken: Folds | None = None

    def begin(self, numbers: range, state: State, *, mode: ExecutionMode, seed: int) -> None:
        """Take over folds; the arguments are those of `FoldsElsewhere.begin`."""
        self._taken = None  # its memory is needed
        folds = build_models(
            self._config,
            self._training_data,
            self._runtime,
            features=self._features,
            seed=self._seed,
            mode=mode,
            numbers=numbers,
        )
        folds.load_state(state)
        torch.manual_seed(seed)
        self._taken = folds

    def epoch(
        self, epoch: int, *, active: Sequence[bool], losses: Sequence[float]
    ) -> tuple[Float32Array, Float32Array]:
        """Train one epoch; returns losses, shape (folds,), and probabilities, shape (rows, classes).

        Raises:
            NanLossError: If a loss or prediction is not finite.
        """
        found = self._folds.train_epoch(epoch, active=active, losses=losses)
        return found, self._folds.predict()

    def kept_states(self, fold: int) -> list[dict[str, Tensor]]:
        """Weights of a fold's models, in the memory of the machine."""
        return [
            {name: tensor.detach().cpu() for name, tensor in state.items()}
            for state in self._folds.kept_states(fold)
        ]

    def state(self) -> State:
        """State of the folds, in the memory of the machine."""
        return part_of(self._folds.state(), range(len(self._folds.model_numbers)))

    @property
    def _folds(self) -> Folds:
        if self._taken is None:
            raise RuntimeError(_NONE_YET)
        return self._taken
