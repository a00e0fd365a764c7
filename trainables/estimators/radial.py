"""The radial kernel exp(-gamma |x - y|^2), and its width."""

import numpy as np

from trainables.common.types import Float64Array
from trainables.config.trial_config import ClassicalConfig


def gamma_of(config: ClassicalConfig, inputs: Float64Array) -> float:
    """Return `classical.gamma` as a factor of 1 / (columns * variance), scikit-learn's `scale`.

    Args:
        config: Settings.
        inputs: Prepared rows, shape (rows, d).
    """
    spread = inputs.shape[1] * float(inputs.var())
    return config.gamma / spread if spread > 0.0 else config.gamma


def radial_kernel(first: Float64Array, second: Float64Array, gamma: float) -> Float64Array:
    """Return the kernel of rows (n, d) and (m, d), shape (n, m)."""
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2.0 * first @ second.T
    kernel: Float64Array = np.exp(-gamma * np.maximum(squares, 0.0))
    return kernel
