"""`boosting`: gradient-boosted trees on binned features."""

from typing import Any, Final

import numpy as np

from trainables.common.types import Float64Array, IntArray
from trainables.config.trial_config import TrialConfig
from trainables.estimators.estimator import Estimator, Rows
from trainables.estimators.fitted import FittedEstimator, Trees
from trainables.estimators.preparation import prepared_inputs


def fit_boosting(trial: TrialConfig, rows: Rows, seed: int) -> FittedEstimator:
    """Grow trees one after the other, without early stopping; their sums are logits.

    Source:
        Ke et al. (2017), "LightGBM: a highly efficient gradient boosting decision tree", as in scikit-learn.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    config = trial.classical
    inputs, projection = prepared_inputs(config, rows)
    model = HistGradientBoostingClassifier(
        learning_rate=config.boosting_lr,
        max_iter=config.trees,
        max_depth=config.depth,
        l2_regularization=config.l2,
        early_stopping=False,
        random_state=seed,
    ).fit(inputs, rows.labels, sample_weight=rows.weights)
    start = np.ravel(model._baseline_prediction)  # scikit-learn has no public way to its trees
    grown = [(grove, tree) for step in model._predictors for grove, tree in enumerate(step)]
    return FittedEstimator(_together(grown, start), rows.present, inputs=projection)


def _together(grown: list[tuple[int, Any]], start: Float64Array) -> Trees:
    """All trees as rows of arrays; each adds to the score of its own class."""
    nodes = max(len(tree.nodes) for _, tree in grown)
    shape = (len(grown), nodes)
    feature, left, right = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    threshold, value = np.zeros(shape), np.zeros((*shape, len(start)))
    depth = 0
    for row, (grove, tree) in enumerate(grown):
        own, itself = tree.nodes, np.arange(len(tree.nodes))
        is_leaf, here = own["is_leaf"].astype(bool), slice(0, len(own))
        feature[row, here] = np.where(is_leaf, 0, own["feature_idx"])
        threshold[row, here] = np.where(is_leaf, 0.0, own["num_threshold"])
        left[row, here] = _to(own["left"], itself, is_leaf)
        right[row, here] = _to(own["right"], itself, is_leaf)
        value[row, here, grove] = np.where(is_leaf, own["value"], 0.0)
        depth = max(depth, int(own["depth"].max()))
    return Trees(feature, threshold, left, right, value, start, np.asarray(depth))


def _to(child: IntArray, itself: IntArray, is_leaf: Any) -> IntArray:
    found: IntArray = np.where(is_leaf, itself, child.astype(np.int64))
    return found


BOOSTING: Final = Estimator(
    "boosting",
    "gradient-boosted trees",
    fit_boosting,
    ("trees", "depth", "boosting_lr", "l2"),
    weighs_rows=True,
)
