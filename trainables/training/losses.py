"""Losses with one weight per image: in training averaged over the number of images, as Keras does."""

from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from trainables.data.units import labels_of_units
from trainables.training.random_streams import Sampling, resampled_counts

ClassWeight = str | float
BETA: Final = 0.999  # of `effective` class weights, as in the paper's experiments
_SMALLEST_MISS: Final = 1e-7  # below it the gradient of a small power of it is not finite


def class_weights(
    scheme: ClassWeight, labels: NDArray[np.int64], classes: int, *, beta: float = BETA
) -> NDArray[np.float64]:
    """Weight of each class in the loss.

    Args:
        scheme: `none`; `balanced` (n / (classes * n_class), as scikit-learn's); `other_share` (one minus the
            class's own share of the images, so that the weights of two classes sum to 1; ones where all
            images are of one class, which would weigh nothing); `effective` (one over the effective number
            (1 - beta^n_class) / (1 - beta), with a sum of `classes`); a number, the weight of every class
            but the first, which is the normal or negative one.
        labels: Class indices of the fold's training part, shape (images,).
        classes: Number of classes.
        beta: Share by which each further image counts less, in [0, 1), for `effective`.

    Returns:
        Shape (classes,).

    Source:
        Cui et al. (2019), "Class-Balanced Loss Based on Effective Number of Samples" (CVPR), for `effective`.

    >>> class_weights("other_share", np.array([0, 0, 0, 1]), 2).tolist()
    [0.25, 0.75]
    """
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    if scheme == "none":
        return np.ones(classes)
    if scheme == "balanced":
        balanced: NDArray[np.float64] = len(labels) / (classes * np.maximum(counts, 1.0))
        return balanced
    if scheme == "other_share":
        is_alone = counts.max() == len(labels)
        shares: NDArray[np.float64] = np.ones(classes) if is_alone else 1.0 - counts / len(labels)
        return shares
    if scheme == "effective":
        # A class without an image counts as one image, as it does in `balanced`.
        inverse = (1.0 - beta) / (1.0 - beta ** np.maximum(counts, 1.0))
        effective: NDArray[np.float64] = inverse * classes / inverse.sum()
        return effective
    weights = np.ones(classes)
    weights[1:] = float(scheme)
    return weights


def weighted_loss(
    logits: Tensor, labels: Tensor, weights: Tensor, *, smoothing: float = 0.0, focal_gamma: float = 0.0
) -> Tensor:
    """Cross-entropy, weighted by class, divided by the number of images (not by the sum of weights).

    Leading dimensions, such as one for the models of a trial, stay.

    Args:
        logits: Shape (..., B, 1) for two classes, (..., B, K) for more.
        labels: Class indices, shape (..., B).
        weights: Weight of each class, shape (..., K).
        smoothing: Label smoothing in [0, 0.5).
        focal_gamma: Exponent of one minus the probability of the label, in [0, 5], with which an image
            counts; 0 for cross-entropy.

    Returns:
        Shape (...,): a scalar for one model.

    Source:
        Lin et al. (2017), "Focal Loss for Dense Object Detection" (ICCV), for `focal_gamma`.

    >>> import torch
    >>> loss = weighted_loss(torch.tensor([[0.0], [0.0]]), torch.tensor([0, 1]), torch.tensor([1.0, 3.0]))
    >>> round(loss.item(), 4)  # (ln 2 + 3 ln 2) / 2
    1.3863
    """
    return _by_image(logits, labels, weights, smoothing, focal_gamma).mean(dim=-1)


def soft_loss(
    logits: Tensor, targets: Tensor, weights: Tensor, *, smoothing: float = 0.0, focal_gamma: float = 0.0
) -> Tensor:
    """Expectation of `weighted_loss` over labels that are drawn by the targets.

    Without class weights, smoothing and focal term that is the cross-entropy with the targets, and so their
    Kullback-Leibler divergence from the probabilities but for a constant.

    Args:
        logits: Shape (..., B, 1) for two classes, (..., B, K) for more.
        targets: Share of each class, which sum to 1, shape (..., B, K).
        weights: Weight of each class, shape (..., K).
        smoothing: See `weighted_loss`.
        focal_gamma: See `weighted_loss`.

    Returns:
        Shape (...,): a scalar for one model.

    Source:
        Hinton, Vinyals and Dean (2015), "Distilling the Knowledge in a Neural Network", arXiv:1503.02531.

    >>> import torch
    >>> loss = soft_loss(torch.tensor([[0.0]]), torch.tensor([[0.3, 0.7]]), torch.tensor([1.0, 3.0]))
    >>> round(loss.item(), 4)  # (0.3 + 0.7 * 3) * ln 2
    1.6636
    """
    labels = torch.zeros(targets.shape[:-1], dtype=torch.int64, device=targets.device)
    found = [
        targets[..., label] * _by_image(logits, labels + label, weights, smoothing, focal_gamma)
        for label in range(targets.shape[-1])
    ]
    return torch.stack(found).sum(dim=0).mean(dim=-1)


def _by_image(
    logits: Tensor, labels: Tensor, weights: Tensor, smoothing: float, focal_gamma: float
) -> Tensor:
    """Weighted loss of each image, shape (..., B)."""
    if logits.shape[-1] == 1:
        targets = labels.to(logits.dtype) * (1.0 - 2.0 * smoothing) + smoothing
        losses = F.binary_cross_entropy_with_logits(logits.squeeze(-1), targets, reduction="none")
    else:
        by_image = F.cross_entropy(
            logits.flatten(0, -2), labels.flatten(), reduction="none", label_smoothing=smoothing
        )
        losses = by_image.view(labels.shape)
    if focal_gamma:
        losses = losses * _misses(logits, labels, smoothing).pow(focal_gamma)
    return losses * weights.gather(-1, labels)


def _misses(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """One minus the probability that is given to the target, which smoothing spreads, shape (..., B)."""
    if logits.shape[-1] == 1:
        targets = labels.to(logits.dtype) * (1.0 - 2.0 * smoothing) + smoothing
        positive = logits.squeeze(-1).sigmoid()
        hit = positive * targets + (1.0 - positive) * (1.0 - targets)
    else:
        own = logits.softmax(dim=-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
        hit = own * (1.0 - smoothing) + smoothing / logits.shape[-1]
    return (1.0 - hit).clamp_min(_SMALLEST_MISS)


def learned_weights(
    scheme: ClassWeight,
    sampling: Sampling,
    labels: NDArray[np.int64],
    classes: int,
    *,
    beta: float = BETA,
) -> NDArray[np.float64]:
    """Weight that training gives to a class, by weights in the loss and by resampling together.

    Learning with such weights moves the logit of a class by their logarithm, on purpose: a model of two
    classes learns the odds times `weights[1] / weights[0]`. A validation loss with the same weights has its
    minimum where training leads; an unweighted one rises from the first epoch on.

    Args:
        scheme: Class weights, see `class_weights`; they are taken from what resampling leaves.
        sampling: Resampling of the training part, see `resampled`.
        labels: Class indices of the fold's training part before resampling, shape (images,).
        classes: Number of classes.
        beta: See `class_weights`.

    Returns:
        Shape (classes,). A class without an image in the training part cannot be resampled.

    Source:
        Elkan (2001), "The Foundations of Cost-Sensitive Learning" (IJCAI), theorem 2: resampling and weights
        change the same thing.

    >>> labels = np.array([0, 0, 0, 1])
    >>> weights = learned_weights("none", "over", labels, 2)
    >>> float(weights[1] / weights[0])
    3.0
    """
    counts = np.bincount(labels, minlength=classes)
    drawn = resampled_counts(counts, sampling)
    weights = class_weights(scheme, np.repeat(np.arange(classes), drawn), classes, beta=beta)
    return np.divide(weights * drawn, counts, out=weights.copy(), where=counts > 0)


def weights_of_units(
    weights: NDArray[np.float64], labels: NDArray[np.int64], units: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Weight of a unit of each class, from that of an image: in all, a class keeps what training gives it.

    Args:
        weights: Weight of an image of each class in training, shape (classes,).
        labels: Class indices of the training part, shape (images,).
        units: Unit of each image, whose class is the largest of its images, shape (images,).

    Returns:
        Shape (classes,); a class without a unit keeps the weight of its images.

    >>> labels, units = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 2, 2, 2])
    >>> weights_of_units(np.array([1.0, 1.0]), labels, units).tolist()  # three images, but one unit
    [1.0, 3.0]
    """
    images, counts = (
        np.bincount(own, minlength=len(weights)) for own in (labels, labels_of_units(labels, units))
    )
    return np.divide(weights * images, counts, out=weights.copy(), where=counts > 0)


def log_loss(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    weights: NDArray[np.float64] | None = None,
    *,
    focal_gamma: float = 0.0,
) -> float:
    """Mean negative log-likelihood, divided by the sum of the images' weights, so that ln 2 is chance.

    Args:
        labels: Class indices, shape (images,).
        probabilities: Shape (images, classes); clipped to 1e-7.
        weights: Weight of each class, shape (classes,); None for equal ones.
        focal_gamma: See `weighted_loss`.

    >>> round(log_loss(np.array([1]), np.array([[0.5, 0.5]])), 4)
    0.6931
    >>> round(log_loss(np.array([0, 1]), np.array([[0.5, 0.5], [0.0, 1.0]]), np.array([1.0, 3.0])), 4)
    0.1733
    """
    chosen = probabilities[np.arange(len(labels)), labels]
    losses = -np.log(np.clip(chosen.astype(np.float64), 1e-7, 1.0))
    if focal_gamma:
        losses *= (1.0 - chosen.astype(np.float64)) ** focal_gamma
    return float(losses.mean() if weights is None else np.average(losses, weights=weights[labels]))
