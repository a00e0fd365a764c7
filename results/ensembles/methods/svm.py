"""`stack_svm`: a support vector machine on the members' logits, calibrated by Platt scaling."""

from typing import Any, Final, Literal

import numpy as np
from pydantic import FiniteFloat, PositiveFloat

from results.ensembles.fitted import (
    Matrix,
    Method,
    Parameters,
    Standardiser,
    Vector,
    as_matrix,
    fit_standardiser,
    sample_points,
)
from results.ensembles.members import Members, positive_logits, two_columns
from results.scores.calibration import Platt, fit_platt_to_scores
from results.scores.cross_fitting import folds_or_drawn
from trainables.common.types import FloatArray, IntArray

_CELLS_AT_ONCE: Final = 4_000_000  # kernel values in memory


class SupportVectorStack(Parameters):
    """P(positive) = platt(sum_j dual_j exp(-gamma |x - v_j|^2) + intercept), x the standardised logits.

    Attributes:
        vectors: Support vectors v, standardised, shape (vectors, members).
        dual: Signed dual coefficients, shape (vectors,).
        gamma: Width of the kernel, positive.
        platt: Platt scaling of the decision values.
    """

    kind: Literal["support_vectors"] = "support_vectors"
    inputs: Standardiser
    vectors: Matrix
    dual: Vector
    gamma: PositiveFloat
    intercept: FiniteFloat
    platt: Platt

    def combine(self, probabilities: FloatArray) -> FloatArray:
        """Combine predictions of shape (members, images, 2) into (images, 2)."""
        return two_columns(self.platt.apply_to_scores(self.decision(probabilities)))

    def decision(self, probabilities: FloatArray) -> FloatArray:
        """Return signed distances to the margin for (members, images, 2), shape (images,)."""
        inputs = self.inputs.apply(positive_logits(probabilities))
        vectors, dual = np.asarray(self.vectors), np.asarray(self.dual)
        block = max(1, _CELLS_AT_ONCE // len(vectors))
        values = [
            _kernel(inputs[start : start + block], vectors, self.gamma) @ dual
            for start in range(0, len(inputs), block)
        ]
        return np.concatenate(values) + self.intercept


def fit_svm(members: Members, seed: int) -> SupportVectorStack:
    """Fit with C = 1 and balanced classes; the Platt scaling sees decision values of held-out folds only."""
    members = members.where(sample_points(members.labels, seed))
    logits = positive_logits(members.probabilities)
    inputs = fit_standardiser(logits)
    standardised = inputs.apply(logits)
    model = _machine(standardised, members.labels)
    parts = folds_or_drawn(members.labels, members.groups, members.folds, seed=seed)
    held_out = _held_out_decisions(standardised, members.labels, parts)
    return SupportVectorStack(
        inputs=inputs,
        vectors=as_matrix(model.support_vectors_),
        dual=tuple(model.dual_coef_[0].tolist()),
        gamma=_gamma(standardised),
        intercept=float(model.intercept_[0]),
        platt=fit_platt_to_scores(members.labels, held_out),
    )


def _machine(inputs: FloatArray, labels: IntArray) -> Any:
    from sklearn.svm import SVC  # slow to import, and the leaderboard does not need it

    return SVC(C=1.0, kernel="rbf", gamma=_gamma(inputs), class_weight="balanced").fit(inputs, labels)


def _gamma(inputs: FloatArray) -> float:
    return 1.0 / (inputs.shape[1] * max(float(inputs.var()), 1e-12))


def _held_out_decisions(inputs: FloatArray, labels: IntArray, folds: IntArray) -> FloatArray:
    """Decision values of each fold by a machine fitted on the others, shape (images,)."""
    values = np.zeros(len(labels))
    for fold in np.unique(folds):
        own, others = folds == fold, folds != fold
        # With too few patients for folds the machine is fitted on the fold that it predicts, too.
        fitted_on = others if len(np.unique(labels[others])) == 2 else own | others
        values[own] = _machine(inputs[fitted_on], labels[fitted_on]).decision_function(inputs[own])
    return values


def _kernel(inputs: FloatArray, vectors: FloatArray, gamma: float) -> FloatArray:
    distances = np.zeros((len(inputs), len(vectors)))
    for column in range(inputs.shape[1]):
        distances += (inputs[:, column, None] - vectors[None, :, column]) ** 2
    return np.exp(-gamma * distances)


STACK_SVM = Method("stack_svm", fit_svm, SupportVectorStack, complexity=50, is_binary=True)
