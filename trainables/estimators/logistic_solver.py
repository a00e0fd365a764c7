"""L2-penalised logistic regression: Newton's steps on few columns, L-BFGS in even coordinates on many.

Features of a net are strongly correlated, so plain L-BFGS takes hundreds or thousands of steps where the
penalty is weak. The products of the columns, which all strengths share, and the penalty make a bound of the
curvature; in the coordinates of its triangular factor tens of steps are enough. Where the bound is loose,
since most rows are told apart with certainty, the curvature at the solution so far takes its place.

Each strength begins at zeros. From the solution of a neighbouring strength it takes as many steps (see
docs/lab_log.md), and which strengths a worker has met would show in the last digits of a score.

Source:
    Böhning and Lindsay (1988), "Monotonicity of quadratic-approximation algorithms", Annals of the Institute
    of Statistical Mathematics 40; Liu and Nocedal (1989), "On the limited memory BFGS method".
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from trainables.common.types import Float32Array, Float64Array
from trainables.estimators.estimator import Rows
from trainables.estimators.remembered import MEMORY

_TOLERANCE: Final = (
    1e-6  # of the gradient of the mean loss; at 1e-4, as in scikit-learn, probabilities err by 0.05
)
_NEWTON_TOLERANCE: Final = 1e-9  # of Newton's steps, which are few and double the digits
_NEWTON_STEPS: Final = 2000  # limit for a solver that stops by itself once it has converged
_MOST_FOR_NEWTON: Final = (
    256  # coefficients up to which a Newton step is cheaper than the steps that it saves
)
_MOST_REMEMBERED: Final = 2048  # columns up to which the products are small beside what is remembered
_STEPS: Final = 30  # with one bound of the curvature
_ROUNDS: Final = 40  # with another one
_LEAST: Final = 1e-6  # of the curvature, as a share of its mean: products are in single precision


@dataclass(frozen=True, slots=True)
class _Problem:
    """Rows with their targets, and the mean loss of outputs.

    Attributes:
        inputs: Shape (rows, r).
        targets: One for the class of a row, shape (rows, K); two classes have one column.
        weights: Share of each row of the mean loss, shape (rows,); they add up to one.
        penalty: Factor of the squared length of the coefficients, halved.
    """

    inputs: Float64Array
    targets: Float64Array
    weights: Float64Array
    penalty: float

    def loss(self, position: Float64Array) -> tuple[float, Float64Array, Float64Array]:
        """Return loss, gradient (r + 1, K) and probabilities (rows, K) at a position, shape (r + 1, K)."""
        outputs = self.inputs @ position[:-1] + position[-1]
        if outputs.shape[1] == 1:
            losses = np.logaddexp(0.0, outputs) - self.targets * outputs
            shares = 0.5 * (1.0 + np.tanh(0.5 * outputs))
        else:
            outputs -= outputs.max(axis=1, keepdims=True)
            powers = np.exp(outputs)
            sums = powers.sum(axis=1, keepdims=True)
            losses = np.log(sums) - (self.targets * outputs).sum(axis=1, keepdims=True)
            shares = powers / sums
        slopes = self.weights[:, None] * (shares - self.targets)
        gradient = np.empty_like(position)
        gradient[:-1] = self.inputs.T @ slopes + self.penalty * position[:-1]
        gradient[-1] = slopes.sum(axis=0)
        value = float(self.weights @ losses[:, 0]) + 0.5 * self.penalty * float((position[:-1] ** 2).sum())
        return value, gradient, shares

    def factor(self, curvature: Float64Array, products: Float64Array | Float32Array) -> Float64Array:
        """Lower triangular factor of the curvature, shape (r + 1, r + 1).

        Args:
            curvature: Curvature of each row's share of the loss along its output, shape (rows,).
            products: Products of the columns under it, shape (r, r).
        """
        columns = len(products)
        whole = np.empty((columns + 1, columns + 1))
        whole[:-1, :-1] = products
        whole[-1, :-1] = whole[:-1, -1] = curvature @ self.inputs
        whole[-1, -1] = curvature.sum()
        diagonal = whole.reshape(-1)[:: columns + 2]
        diagonal[:-1] += self.penalty
        diagonal += _LEAST * diagonal.mean()
        found: Float64Array = np.asarray(np.linalg.cholesky(whole), dtype=np.float64)
        return found


def solve_logistic(
    c: float,
    inputs: Float64Array,
    rows: Rows,
    *,
    space: tuple[object, ...],
    start: Float64Array | None = None,
) -> tuple[Float64Array, Float64Array]:
    """Return the logistic regression at one strength; what all strengths share is remembered with a key.

    Args:
        c: Inverse strength of the penalty, as in scikit-learn.
        inputs: Rows in the coordinates that are penalised, shape (rows, r).
        rows: Labels and weights of the rows.
        space: Everything besides the rows that the coordinates depend on.
        start: Coefficients with the intercept below them, shape (r + 1, K), where the steps of many columns
            begin; None begins at zeros. No head gives one: it is for `benchmarks/heads.py`, which measures
            what the solution of a neighbouring strength would save.

    Returns:
        Coefficients (r, K) and intercept (K,); K is 1 for two classes.
    """
    classes = len(rows.present)
    if inputs.shape[1] * (1 if classes == 2 else classes) <= _MOST_FOR_NEWTON:
        return _by_newton(c, inputs, rows)
    named = rows.present[1:] if classes == 2 else rows.present
    targets = (rows.labels[:, None] == named).astype(np.float64)
    weights = rows.weights / rows.weights.sum()
    problem = _Problem(inputs, targets, weights, 1.0 / (c * rows.weights.sum()))
    curvature = (0.25 if classes == 2 else 0.5) * weights

    def products() -> Float32Array:
        return _products(inputs, curvature)

    # Weights of the rows, and so the curvature, come from the labels too, which the key of the rows lacks.
    key = ("products", rows.key, space, hashlib.sha1(curvature.tobytes(), usedforsecurity=False).digest())
    is_kept = bool(rows.key) and inputs.shape[1] <= _MOST_REMEMBERED
    known = MEMORY.recall(key, products) if is_kept else products()
    position = np.zeros((inputs.shape[1] + 1, targets.shape[1])) if start is None else start
    for _ in range(_ROUNDS):
        position, shares, is_solved = _descended(problem, problem.factor(curvature, known), position)
        if is_solved:
            break
        curvature = weights * (shares * (1.0 - shares)).max(axis=1)
        known = products()
    return position[:-1], position[-1]


def _by_newton(c: float, inputs: Float64Array, rows: Rows) -> tuple[Float64Array, Float64Array]:
    from sklearn.linear_model import LogisticRegression  # slow to import, and nets do not need it

    model: Any = LogisticRegression(
        C=c, solver="newton-cholesky", tol=_NEWTON_TOLERANCE, max_iter=_NEWTON_STEPS
    )
    model.fit(inputs, rows.labels, sample_weight=rows.weights)
    return model.coef_.T, model.intercept_


def _products(inputs: Float64Array, curvature: Float64Array) -> Float32Array:
    scaled = (inputs * np.sqrt(curvature)[:, None]).astype(np.float32)
    products: Float32Array = scaled.T @ scaled
    return products


def _descended(
    problem: _Problem, factor: Float64Array, start: Float64Array
) -> tuple[Float64Array, Float64Array, bool]:
    """Return where L-BFGS gets to in even coordinates, the probabilities there, and whether it is solved."""
    from scipy.linalg import solve_triangular  # slow to import, and nets do not need it
    from scipy.optimize import minimize

    steepest = np.inf

    def loss(coordinates: Float64Array) -> tuple[float, Float64Array]:
        nonlocal steepest
        value, gradient, _ = problem.loss(position_of(coordinates))
        steepest = np.abs(gradient).max()
        return value, solve_triangular(factor, gradient, lower=True, check_finite=False).ravel()

    def position_of(coordinates: Float64Array) -> Float64Array:
        even = coordinates.reshape(start.shape)
        found: Float64Array = solve_triangular(factor, even, lower=True, trans="T", check_finite=False)
        return found

    def stop_when_solved(coordinates: Float64Array) -> None:
        if steepest <= _TOLERANCE:
            raise StopIteration

    ended = minimize(
        loss,
        (factor.T @ start).ravel(),
        jac=True,
        method="L-BFGS-B",
        callback=stop_when_solved,
        options={"maxiter": _STEPS, "maxcor": 20, "ftol": 0.0, "gtol": 0.0},
    )
    position = position_of(ended.x)
    _, gradient, shares = problem.loss(position)
    return position, shares, bool(np.abs(gradient).max() <= _TOLERANCE)
