"""Losses with one weight per image: in training averaged over the number of images, as Keras does."""

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from trainables.training.random_streams import Sampling, resampled_counts

ClassWeight = str | float


def class_weights(scheme: ClassWeight, labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Weight of each class in the loss.

    Args:
        scheme: `none`; `balanced` (n / (classes * n_class), as scikit-learn's); `other_share` (one minus the
            class's own share of the images, so that the weights of two classes sum to 1); a number, the
            weight of every class but the first, which is the normal or negative one.
        labels: Class indices of the fold's training part, shape (images,).
        classes: Number of classes.

    Returns:
        Shape (classes,).

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
        shares: NDArray[np.float64] = 1.0 - counts / len(labels)
        return shares
    weights = np.ones(classes)
    weights[1:] = float(scheme)
    return weights


def weighted_loss(logits: Tensor, labels: Tensor, weights: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy, weighted by class, divided by the number of images (not by the sum of weights).

    Leading dimensions, such as one for the models of a trial, stay.

    Args:
        logits: Shape (..., B, 1) for two classes, (..., B, K) for more.
        labels: Class indices, shape (..., B).
        weights: Weight of each class, shape (..., K).
        smoothing: Label smoothing in [0, 0.5).

    Returns:
        Shape (...,): a scalar for one model.

    >>> import torch
    >>> loss = weighted_loss(torch.tensor([[0.0], [0.0]]), torch.tensor([0, 1]), torch.tensor([1.0, 3.0]))
    >>> round(loss.item(), 4)  # (ln 2 + 3 ln 2) / 2
    1.3863
    """
    if logits.shape[-1] == 1:
        targets = labels.to(logits.dtype) * (1.0 - 2.0 * smoothing) + smoothing
        losses = F.binary_cross_entropy_with_logits(logits.squeeze(-1), targets, reduction="none")
    else:
        by_image = F.cross_entropy(
            logits.flatten(0, -2), labels.flatten(), reduction="none", label_smoothing=smoothing
        )
        losses = by_image.view(labels.shape)
    return (losses * weights.gather(-1, labels)).mean(dim=-1)


def learned_weights(
    scheme: ClassWeight, sampling: Sampling, labels: NDArray[np.int64], classes: int
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
    weights = class_weights(scheme, np.repeat(np.arange(classes), drawn), classes)
    return np.divide(weights * drawn, counts, out=weights.copy(), where=counts > 0)


def log_loss(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    weights: NDArray[np.float64] | None = None,
) -> float:
    """Mean negative log-likelihood, divided by the sum of the images' weights, so that ln 2 is chance.

    Args:
        labels: Class indices, shape (images,).
        probabilities: Shape (images, classes); clipped to 1e-7.
        weights: Weight of each class, shape (classes,); None for equal ones.

    >>> round(log_loss(np.array([1]), np.array([[0.5, 0.5]])), 4)
    0.6931
    >>> round(log_loss(np.array([0, 1]), np.array([[0.5, 0.5], [0.0, 1.0]]), np.array([1.0, 3.0])), 4)
    0.1733
    """
    chosen = probabilities[np.arange(len(labels)), labels]
    losses = -np.log(np.clip(chosen.astype(np.float64), 1e-7, 1.0))
    return float(losses.mean() if weights is None else np.average(losses, weights=weights[labels]))
