"""`stack_logistic`: logistic regression on the members' logits."""

from typing import Literal

import numpy as np
from pydantic import FiniteFloat

from results.ensembles.fitted import Method, Parameters, Standardiser, Vector, fit_standardiser
from results.ensembles.members import Members, positive_logits, two_columns
from results.scores.calibration import sigmoid
from trainables.common.types import FloatArray


class LogisticStack(Parameters):
    """P(positive) = sigmoid(x @ coefficients + intercept), with x the standardised logits (images, members).

    Attributes:
        coefficients: Coefficient of each member's logit, shape (members,).
    """

    kind: Literal["logistic"] = "logistic"
    inputs: Standardiser
    coefficients: Vector
    intercept: FiniteFloat

    def combine(self, probabilities: FloatArray) -> FloatArray:
        """Combine predictions of shape (members, images, 2) into (images, 2)."""
        inputs = self.inputs.apply(positive_logits(probabilities))
        return two_columns(sigmoid(inputs @ np.asarray(self.coefficients) + self.intercept))


def fit_logistic(members: Members, seed: int) -> LogisticStack:
    """Fit with an L2 penalty (C = 1) on standardised logits."""
    from sklearn.linear_model import (
        LogisticRegression,
    )  # slow to import, and the leaderboard does not need it

    logits = positive_logits(members.probabilities)
    inputs = fit_standardiser(logits)
    model = LogisticRegression(C=1.0, max_iter=1000).fit(inputs.apply(logits), members.labels)
    return LogisticStack(
        inputs=inputs, coefficients=tuple(model.coef_[0].tolist()), intercept=float(model.intercept_[0])
    )


STACK_LOGISTIC = Method("stack_logistic", fit_logistic, LogisticStack, complexity=30, is_binary=True)
