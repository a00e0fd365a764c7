"""The novelty score in the exported graph: a second output beside the predictions, at nearly no cost.

The features that it needs are on their way to the predictions anyway.
"""

from typing import Final, cast

import numpy as np
import torch
from torch import Tensor, nn

from results.novelty.reference import NoveltyReference
from results.predictors.ensemble_module import EnsembleModule, WithFolds
from results.predictors.unit_module import ImagePredictions
from trainables.common.types import FloatArray
from trainables.inference.finished_trials import SharedBackbones
from trainables.inference.shared_backbones import SharedBackbone

NOVELTY_OUTPUT: Final = "novelty_p"


class NoveltyGraph(nn.Module):
    """`NoveltyReference.p_values` in torch, in single precision."""

    mean: Tensor
    scale: Tensor
    axes: Tensor
    variances: Tensor
    rest: Tensor
    distances: Tensor
    weights: Tensor
    patients: Tensor

    def __init__(self, reference: NoveltyReference) -> None:
        super().__init__()
        cloud = reference.cloud
        for name, values in (
            ("mean", cloud.mean),
            ("scale", cloud.scale),
            ("axes", cloud.axes),
            ("variances", cloud.variances),
            ("rest", np.array(cloud.rest)),
            ("distances", reference.distances),
            ("weights", reference.weights),
            ("patients", np.array(float(reference.patients))),
        ):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32))

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, D) to p-values, float32, (B,)."""
        centred = (features - self.mean) / self.scale
        along = centred @ self.axes.T
        beside = ((centred**2).sum(dim=1) - (along**2).sum(dim=1)).clamp_min(0)
        distance = torch.sqrt((along**2 / self.variances).sum(dim=1) + beside / self.rest)
        as_far = (self.distances >= distance.unsqueeze(1)).to(torch.float32)
        return (1 + (as_far * self.weights).sum(dim=1)) / (1 + self.patients)


class WithNovelty(nn.Module):
    """A module of single images that returns the novelty of each image besides its predictions.

    Args:
        module: The module: `EnsembleModule.by_image`, or an ensemble with the predictions of its fold models.
        reference: The novelty score.
        place: Index of the shared backbone, and of its output, whose features the score takes.
    """

    def __init__(
        self,
        module: EnsembleModule | ImagePredictions | WithFolds,
        reference: NoveltyReference,
        place: tuple[int, int],
    ) -> None:
        super().__init__()
        self.module, self.novelty, self.place = module, NoveltyGraph(reference), place
        self.eval().requires_grad_(False)

    def forward(
        self, raw: Tensor, baseline: Tensor | None = None, finding_type: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Map the inputs of `SharedBackbones.by_fold` to what the module returns, and p-values (B,)."""
        members = self.module.members
        features = members.features(raw, baseline)
        p_values = self.novelty(plain_features(members, features, self.place))
        predicted = self.module.of_folds(members.by_fold_of(features, finding_type))
        return (*(predicted if isinstance(predicted, tuple) else (predicted,)), p_values)


def plain_features(members: SharedBackbones, features: list[list[Tensor]], place: tuple[int, int]) -> Tensor:
    """Return the features of the images as they are, neither turned nor their baselines, shape (B, D)."""
    backbone, output = place
    shared = cast(SharedBackbone, members.backbone_modules[backbone])
    found = features[backbone][output][shared.outputs[output].views.index(0)]
    return pooled(found[:, 1] if shared.outputs[output].is_pair else found)


def pooled(features: Tensor) -> Tensor:
    """Average maps (B, C, H, W) over positions; (B, D) stays as it is."""
    return features.mean(dim=(2, 3)) if features.dim() == 4 else features


def pooled_rows(features: FloatArray) -> FloatArray:
    """Average stored maps (n, C, H, W) over positions, a few at a time; (n, D) stays as it is."""
    if features.ndim == 2:
        return np.asarray(features, dtype=np.float32)
    parts = [
        features[start : start + 256].astype(np.float32).mean(axis=(2, 3))
        for start in range(0, len(features), 256)
    ]
    return np.concatenate(parts)
