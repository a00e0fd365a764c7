"""A model of a run as a function of one image that changes: what relevance maps ask and differentiate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from results.predictors.ensemble_module import EnsembleModule, combination_graph
from results.predictors.loading import OpenedModel
from results.predictors.model_inputs import BATCH, as_model_input
from trainables.common.types import Float64Array, IntArray
from trainables.inference.finished_trials import SharedBackbones
from trainables.runtime.devices import available_device, single_precision

_LEAST: Final = 1e-300  # of a probability in a logarithm


@dataclass(frozen=True, slots=True)
class ExplainedModel:
    """A model, and what belongs to the image besides its pixels.

    Attributes:
        module: Module of the model, in evaluation mode.
        beside: Input -> its value for the one image: `baseline`, (1, H, W) or (1, H, W, 3), and
            `finding_type`, (1,), where the model takes them.
    """

    module: EnsembleModule
    beside: Mapping[str, Tensor]

    @property
    def members(self) -> SharedBackbones:
        """The trials of the model, from pixels to the probabilities of their fold models."""
        return self.module.members

    def predict(self, images: NDArray[Any]) -> Float64Array:
        """Predict changed versions of the image.

        Args:
            images: Raw pixels, shape (n, H, W) or (n, H, W, 3).

        Returns:
            Calibrated probabilities, shape (n, classes); of a model of units those of a unit that has no
            other image.
        """
        found = []
        with torch.inference_mode(), single_precision():
            for start in range(0, len(images), BATCH):
                raw = as_model_input(images[start : start + BATCH]).to(self.device)
                found.append(self.probabilities(raw).cpu().numpy())
        return np.concatenate(found).astype(np.float64)

    def as_floats(self, image: NDArray[Any]) -> Tensor:
        """Return an image (H, W) or (H, W, 3) as what `log_odds` takes gradients of, shape (1, ...)."""
        return torch.from_numpy(image.astype(np.float32))[None].to(self.device)

    def log_odds(self, raw: Tensor, label: int) -> Tensor:
        """Return the log odds of a class, with gradients towards float pixels.

        Args:
            raw: Raw pixels as floats, shape (B, H, W) or (B, H, W, 3).
            label: Index of the class.

        Returns:
            Log odds, float64, shape (B,).
        """
        found = self._combined(raw)
        others = torch.cat([found[:, :label], found[:, label + 1 :]], dim=1).sum(dim=1)
        return found[:, label].clamp_min(_LEAST).log() - others.clamp_min(_LEAST).log()

    def probabilities(self, raw: Tensor) -> Tensor:
        """Map raw pixels (B, H, W) or (B, H, W, 3) to probabilities, float32, shape (B, classes)."""
        return self._combined(raw).to(torch.float32)

    def _combined(self, raw: Tensor) -> Tensor:
        beside = {name: value.expand(len(raw), *value.shape[1:]) for name, value in self.beside.items()}
        unit = torch.arange(len(raw), device=raw.device) if self.module.unit_rules else None
        return self.module.combined(self.members.by_fold(raw, **beside), unit)

    @property
    def device(self) -> torch.device:
        """Device that the model runs on."""
        return next((tensor.device for tensor in self.module.buffers()), torch.device("cpu"))


def explained_row(opened: OpenedModel, row: int, fold: int | None) -> ExplainedModel:
    """Return the model that an image of the run is explained by.

    Args:
        opened: The opened model.
        row: Row of the patch set.
        fold: Fold whose models held the image out, which then predict it alone, calibrated as fold models
            are; None for all models of the ensemble.
    """
    inputs = opened.inputs(np.array([row])).tensors()
    module = opened.module if fold is None else held_out_module(opened, fold)
    device = available_device()
    beside = {name: tensor.to(device) for name, tensor in inputs.items() if name != "raw"}
    return ExplainedModel(module.to(memory_format=torch.channels_last).to(device), beside)


def held_out_module(opened: OpenedModel, fold: int) -> EnsembleModule:
    """Return the model that did not train on a fold: each member's models of that fold alone."""
    chosen = opened.chosen
    combination = combination_graph(chosen.fitted, chosen.rule.calibration)
    return EnsembleModule(opened.module.members.only(fold), combination, opened.module.unit_rules)


def raw_image(opened: OpenedModel, row: int) -> NDArray[Any]:
    """Return the pixels of an image of the run, shape (H, W) or (H, W, 3)."""
    rows: IntArray = np.array([row])
    return np.array(opened.patch_set.images[rows][0])
