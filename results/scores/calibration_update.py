"""How much of a calibration to change on a small local set: nothing, the intercept, or slope and intercept.

A closed test takes the simplest update that the local patients do not speak against, so that a few of them do
not replace what many have taught. Deviances are divided by the design effect of patients with several images.

Source:
    Vergouwe, Nieboer, Oostenbrink and others (2017), "A closed testing procedure to select an appropriate
    method for updating prediction models", Statistics in Medicine 36:4529.
"""

from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat

from results.errors import ScoreError
from results.scores.auc_interval import cluster_size
from results.scores.calibration import Platt, log_odds, sigmoid
from results.scores.cross_fitting import fewest_patients
from trainables.common.frozen import FrozenModel
from trainables.common.types import FloatArray, IntArray
from trainables.data.group_names import group_unit

Update = Literal["nothing", "intercept", "slope and intercept"]

FEWEST_PATIENTS: Final = 10  # of each class that an update needs
_ALPHA: Final = 0.05
_LARGEST_SLOPE: Final = 20.0


class CalibrationUpdate(FrozenModel):
    """What is changed of a calibration.

    Attributes:
        update: What changed.
        calibration: What is applied to the logits of the model, as it was.
        p_values: Chance of deviances this large if nothing needed to change, and if the intercept alone did.
    """

    update: Update
    calibration: Platt
    p_values: tuple[FiniteFloat, FiniteFloat]


def fit_update(labels: IntArray, probabilities: FloatArray, groups: NDArray[Any]) -> CalibrationUpdate:
    """Choose and fit an update.

    Args:
        labels: Labels, 0 or 1, shape (images,).
        probabilities: Probabilities of the model, shape (images, 2).
        groups: Patient of each image, shape (images,).

    Raises:
        ScoreError: If there are too few patients of a class.
    """
    from scipy.stats import chi2  # slow to import

    have = fewest_patients(labels, groups)
    if have < FEWEST_PATIENTS:
        raise ScoreError(
            f"a calibration needs {FEWEST_PATIENTS} {group_unit(groups)}s of each class, found {have} of "
            "one: give more local data, or use the model as it is"
        )
    logits, effect = log_odds(probabilities), cluster_size(groups)
    intercept, both = _fitted(labels, logits, has_slope=False), _fitted(labels, logits, has_slope=True)
    deviances = [_deviance(labels, logits, one) / effect for one in (Platt(), intercept, both)]
    for_any = float(chi2.sf(max(deviances[0] - deviances[2], 0.0), 2))
    for_slope = float(chi2.sf(max(deviances[1] - deviances[2], 0.0), 1))
    p_values = (for_any, for_slope)
    if for_any > _ALPHA:
        return CalibrationUpdate(update="nothing", calibration=Platt(), p_values=p_values)
    if for_slope > _ALPHA:
        return CalibrationUpdate(update="intercept", calibration=intercept, p_values=p_values)
    return CalibrationUpdate(update="slope and intercept", calibration=both, p_values=p_values)


def composed(first: Platt, second: Platt) -> Platt:
    """Return the calibration that applies the first, and the second to its logits.

    >>> composed(Platt(slope=2.0, intercept=1.0), Platt(slope=0.5, intercept=-1.0))
    Platt(slope=1.0, intercept=-0.5)
    """
    return Platt(
        slope=first.slope * second.slope, intercept=second.slope * first.intercept + second.intercept
    )


def _deviance(labels: IntArray, logits: FloatArray, one: Platt) -> float:
    score = one.slope * logits + one.intercept
    return float(2 * (np.logaddexp(0.0, score) - labels * score).sum())


def _fitted(labels: IntArray, logits: FloatArray, *, has_slope: bool) -> Platt:
    from scipy.optimize import minimize  # slow to import

    scale = max(float(logits.std()), 1e-9)

    def loss(found: FloatArray) -> tuple[float, FloatArray]:
        slope = found[1] if has_slope else 1.0
        score = slope * logits + found[0]
        residual = sigmoid(score) - labels
        gradient = [residual.sum(), (residual * logits).sum()][: len(found)]
        return float((np.logaddexp(0.0, score) - labels * score).sum()), np.array(gradient)

    start = np.array([0.0, 1.0] if has_slope else [0.0])
    bounds = [(None, None), (1e-3, _LARGEST_SLOPE / min(scale, 1.0))][: len(start)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Platt(slope=float(found[1]) if has_slope else 1.0, intercept=float(found[0]))
