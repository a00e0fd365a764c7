"""Augmentation of the input tensors of the trained part: noise, dropped channels and mixup.

It acts on stored features and on pixels alike, after the augmentation of views.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainables.config.trial_config import TrainingConfig
from trainables.training.random_streams import RandomStreams, bernoulli, normal


@dataclass(frozen=True, slots=True)
class Mixing:
    """Partners and shares of mixup for one batch.

    Attributes:
        partners: Index in the batch of the image that is mixed in, shape (models, B).
        shares: Share that an image keeps of itself, in [0, 1], shape (models,).
    """

    partners: Tensor
    shares: Tensor


def perturb(
    batch: Tensor, training: TrainingConfig, streams: Sequence[RandomStreams], *, is_pair: bool = False
) -> Tensor:
    """Add noise and drop channels.

    Args:
        batch: Shape (models, B, C) or (models, B, C, H, W); for pairs (models, B, 2, ...), where both images
            of a pair lose the same channels.
        training: `feature_noise` is relative to the standard deviation over the batch of each model.
        streams: Random streams, one for each model.
        is_pair: True if the third axis holds the two images of a pair.
    """
    generators = [own.noise for own in streams]
    if training.feature_noise:
        spread = batch.flatten(1).std(dim=1).view(-1, *[1] * (batch.dim() - 1))
        batch = batch + normal(batch.shape[1:], generators).to(batch) * spread * training.feature_noise
    if training.feature_dropout:
        keep = 1.0 - training.feature_dropout
        channel = 3 if is_pair else 2
        kept = bernoulli((batch.shape[1], batch.shape[channel]), keep, generators).to(batch) / keep
        ones = [1] * (batch.dim() - channel - 1)
        batch = batch * kept.view(*kept.shape[:2], *[1] * (channel - 2), kept.shape[2], *ones)
    return batch


def draw_mixing(alpha: float, images: int, streams: Sequence[RandomStreams]) -> Mixing:
    """Draw one share for each model and one partner for each of its images.

    Args:
        alpha: Parameter of the Beta(alpha, alpha) distribution of the share, above 0.
        images: Number of images of a batch.
        streams: Random streams, one for each model.

    Source:
        Zhang et al. (2018), "mixup: Beyond Empirical Risk Minimization".
    """
    device = streams[0].noise.device
    partners, shares = [], []
    for own in streams:
        seed = int(torch.randint(2**62, (1,), generator=own.noise, device=device))
        random = np.random.default_rng(seed)
        shares.append(random.beta(alpha, alpha))
        partners.append(random.permutation(images))
    return Mixing(
        torch.from_numpy(np.stack(partners)).to(device),
        torch.tensor(shares, dtype=torch.float32, device=device),
    )


def mix(batch: Tensor, mixing: Mixing) -> Tensor:
    """Mix each image with its partner; batch (models, B, ...)."""
    models = torch.arange(batch.shape[0], device=batch.device)[:, None]
    shares = mixing.shares.to(batch).view(-1, *[1] * (batch.dim() - 1))
    return shares * batch + (1.0 - shares) * batch[models, mixing.partners]
