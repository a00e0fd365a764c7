"""One finished trial as a function of raw pixels."""

from torch import Tensor, nn

from trainables.inference.finished_trials import FinishedTrial, ImageFormat, SharedBackbones
from trainables.models.heads import mean_over_folds


class TrialModule(nn.Module):
    """One finished trial as a function of raw pixels; its arguments are those of `SharedBackbones`."""

    def __init__(self, trial: FinishedTrial, image: ImageFormat, *, classes: int) -> None:
        super().__init__()
        self.shared = SharedBackbones([trial], image, classes=classes)
        self.eval()

    def by_fold(
        self, raw: Tensor, baseline: Tensor | None = None, finding_type: Tensor | None = None
    ) -> Tensor:
        """Map the inputs of `SharedBackbones.by_fold` to each fold's probabilities, (folds, B, classes)."""
        return self.shared.by_fold(raw, baseline, finding_type)[0]

    def forward(
        self, raw: Tensor, baseline: Tensor | None = None, finding_type: Tensor | None = None
    ) -> Tensor:
        """Map the same to the mean over views, and of logits over folds, float64 (B, classes)."""
        return mean_over_folds(self.by_fold(raw, baseline, finding_type))
