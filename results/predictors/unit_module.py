"""Models of units in two parts: single images to predictions, and these to the probabilities of their units.

In two parts, the images of a unit may differ in size and number, and are never in memory at once.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from trainables.config.unit_config import ATTENTION, Combine
from trainables.inference.finished_trials import SharedBackbones
from trainables.models.heads import mean_over_folds
from trainables.models.unit_pooling import pool_units

IMAGE_OUTPUT: Final = "image_predictions"  # of the file that takes single images


class ImagePredictions(nn.Module):
    """Pixels to the predictions of all fold models of all members.

    Args:
        members: The trials of the model.
        rules: Rule of each of them that combines the images of a unit.
    """

    def __init__(self, members: SharedBackbones, rules: Sequence[Combine]) -> None:
        super().__init__()
        self.members, self.rules = members, tuple(rules)
        self.eval().requires_grad_(False)

    def forward(
        self, raw: Tensor, baseline: Tensor | None = None, finding_type: Tensor | None = None
    ) -> Tensor:
        """Map the inputs of `SharedBackbones.by_fold` to float64 (B, models, classes + 1).

        The last column is the attention of the image, 0 for models that have none.
        """
        return self.of_folds(self.members.by_fold(raw, baseline, finding_type))

    def of_folds(self, by_fold: Sequence[Tensor]) -> Tensor:
        """Map each member's fold predictions, (folds, B, K), to (B, models, classes + 1)."""
        return side_by_side(by_fold, self.rules)


class UnitPredictions(nn.Module):
    """Predictions of images to calibrated probabilities of their units.

    Args:
        combination: Rule from the members' probabilities to those of the ensemble.
        rules: Rule of each member that combines the images of a unit.
        folds: Number of fold models of each member.
    """

    def __init__(self, combination: nn.Module, rules: Sequence[Combine], folds: Sequence[int]) -> None:
        super().__init__()
        self.combination, self.rules, self.folds = combination, tuple(rules), tuple(folds)
        self.eval().requires_grad_(False)

    def forward(self, predictions: Tensor, unit: Tensor) -> Tensor:
        """Map predictions (B, models, classes + 1) and 0-based units (B,) to float32 (B, classes).

        Row u is the probability of unit u; rows beyond the last unit have no meaning.
        """
        own = one_after_the_other(predictions, self.folds, self.rules)
        pooled = pooled_members(own, unit, predictions.shape[0], self.rules)
        found: Tensor = self.combination(torch.stack([mean_over_folds(folds) for folds in pooled]))
        return found.to(torch.float32)


def side_by_side(by_fold: Sequence[Tensor], rules: Sequence[Combine]) -> Tensor:
    """Predictions of each member's fold models, (folds, B, K) each, as (B, models, classes + 1)."""
    padded = [
        folds if rule == ATTENTION else torch.cat([folds, torch.zeros_like(folds[..., :1])], dim=-1)
        for folds, rule in zip(by_fold, rules, strict=True)
    ]
    return torch.cat(padded).movedim(0, 1)


def without_units(members: int) -> tuple[Combine, ...]:
    """Return rules for members that predict single images, which combine nothing and weigh nothing."""
    rule: Combine = "mean"
    return (rule,) * members


def one_after_the_other(predictions: Tensor, folds: Sequence[int], rules: Sequence[Combine]) -> list[Tensor]:
    """Take predictions (B, models, classes + 1) apart again: each member's fold models, (folds, B, K)."""
    by_fold = predictions.movedim(1, 0).split(list(folds))
    return [own if rule == ATTENTION else own[..., :-1] for own, rule in zip(by_fold, rules, strict=True)]


def pooled_members(
    by_fold: Sequence[Tensor], unit: Tensor, units: int, rules: Sequence[Combine]
) -> list[Tensor]:
    """Pool the fold models of each member, (folds, B, K) each, to units, (folds, units, classes) each."""
    return [pool_units(folds, unit, units, rule) for folds, rule in zip(by_fold, rules, strict=True)]
