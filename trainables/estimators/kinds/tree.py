"""`tree`: one decision tree, split by Gini impurity."""

from typing import Final

import numpy as np

from trainables.config.trial_config import TrialConfig
from trainables.estimators.estimator import Estimator, Rows
from trainables.estimators.fitted import FittedEstimator, Trees
from trainables.estimators.preparation import prepared_inputs
from trainables.estimators.sigmoids import weights_by_class


def fit_tree(trial: TrialConfig, rows: Rows, seed: int) -> FittedEstimator:
    """Grow a tree to the depth of the settings; its leaves hold shares of counted rows."""
    from sklearn.tree import DecisionTreeClassifier

    config = trial.classical
    inputs, projection = prepared_inputs(config, rows)
    model = DecisionTreeClassifier(
        max_depth=config.depth, class_weight=weights_by_class(rows), random_state=seed
    ).fit(inputs, rows.labels)
    grown = model.tree_
    itself, is_leaf = np.arange(grown.node_count), grown.children_left < 0
    shares = grown.value[:, 0, :]
    rule = Trees(
        feature=np.where(is_leaf, 0, grown.feature)[None],
        threshold=grown.threshold[None],
        left=np.where(is_leaf, itself, grown.children_left)[None],
        right=np.where(is_leaf, itself, grown.children_right)[None],
        value=(shares / shares.sum(axis=1, keepdims=True))[None],
        start=np.zeros(len(rows.present)),
        depth=np.asarray(grown.max_depth),
    )
    return FittedEstimator(rule, rows.present, inputs=projection, counted=len(rows.labels))


TREE: Final = Estimator("tree", "decision tree", fit_tree, ("depth",), learns_one_class=True)
