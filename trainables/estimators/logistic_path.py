"""The path of L2-penalised logistic regressions, from strong penalties to weak ones."""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from trainables.common.types import Float64Array
from trainables.estimators.estimator import Rows
from trainables.estimators.remembered import MEMORY

ANCHORS: Final = tuple(10.0**power for power in range(-4, 4))  # strengths at which the path is remembered
_MOST_ITERATIONS: Final = 2000  # limit for a solver that stops by itself once it has converged
_TOLERANCE: Final = 1e-5  # of the gradient; scikit-learn stops at 1e-4
_ANCHOR_TOLERANCE: Final = 1e-3  # where others only start from
_NEWTON_TOLERANCE: Final = 1e-6  # of Newton's steps, which are few and double the digits
# Up to this many coefficients a Newton step is cheaper than the many steps of L-BFGS.
_MOST_FOR_NEWTON: Final = 256

Solution = tuple[Float64Array, Float64Array]


@dataclass(slots=True)
class LogisticPath:
    """Solutions at the anchors, each started from the one before it.

    A solution at any strength starts from the nearest anchor below it, so that it is the same whichever
    strengths were asked for before.

    Attributes:
        solutions: Coefficients (K, r) and intercept (K,) at the first anchors, in order and roughly: a weak
            penalty on a thousand columns takes thousands of steps, most of them on digits nobody reads.
    """

    solutions: list[Solution] = field(default_factory=list)

    def at(self, c: float, coordinates: Float64Array, rows: Rows) -> Solution:
        """Return coefficients (r, K) and intercept (K,) at an inverse strength of the penalty.

        Args:
            c: Inverse strength of the penalty, as in scikit-learn.
            coordinates: Rows in the coordinates of the path, shape (rows, r).
            rows: Labels and weights of the rows.
        """
        below = [anchor for anchor in ANCHORS if anchor < c]
        for anchor in below[len(self.solutions) :]:
            before = self.solutions[-1] if self.solutions else None
            self.solutions.append(_solved(anchor, coordinates, rows, before, _ANCHOR_TOLERANCE))
        start = self.solutions[len(below) - 1] if below else None
        coefficients, intercept = _solved(c, coordinates, rows, start, _TOLERANCE)
        return coefficients.T, intercept


def fit_on_path(
    c: float, coordinates: Float64Array, rows: Rows, *, space: tuple[object, ...]
) -> tuple[Float64Array, Float64Array]:
    """Return the logistic regression at one strength; the path is remembered for rows with a key.

    Args:
        c: Inverse strength of the penalty.
        coordinates: Shape (rows, r).
        rows: Labels and weights of the rows.
        space: Everything besides the rows that the coordinates depend on.

    Returns:
        Coefficients (r, K) and intercept (K,); K is 1 for two classes.
    """
    path = LogisticPath()
    if rows.key:
        key = ("path", rows.key, space, tuple(rows.class_weights))
        path = MEMORY.recall(key, LogisticPath)
    return path.at(c, coordinates, rows)


def _solved(
    c: float, coordinates: Float64Array, rows: Rows, start: Solution | None, tolerance: float
) -> Solution:
    from sklearn.linear_model import LogisticRegression  # slow to import, and nets do not need it

    classes = len(rows.present)
    outputs = 1 if classes == 2 else classes
    is_small = coordinates.shape[1] * outputs <= _MOST_FOR_NEWTON
    model: Any = LogisticRegression(
        C=c,
        solver="newton-cholesky" if is_small else "lbfgs",
        tol=_NEWTON_TOLERANCE if is_small else tolerance,
        max_iter=_MOST_ITERATIONS,
        warm_start=True,
    )
    if start is not None:
        model.coef_, model.intercept_ = np.array(start[0]), np.array(start[1])
    model.fit(coordinates, rows.labels, sample_weight=rows.weights)
    return model.coef_, model.intercept_
