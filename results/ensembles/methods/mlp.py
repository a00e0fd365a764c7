"""`stack_mlp`: a small perceptron on the members' logits."""

import warnings
from typing import Final, Literal

import numpy as np

from results.ensembles.fitted import (
    Matrix,
    Method,
    Parameters,
    Standardiser,
    Vector,
    as_matrix,
    fit_standardiser,
)
from results.ensembles.members import Members, positive_logits, two_columns
from results.scores.calibration import sigmoid
from trainables.common.frozen import FrozenModel
from trainables.common.seeds import scikit_learn_seed
from trainables.common.types import FloatArray

HIDDEN_UNITS: Final = 8
PENALTY: Final = 1.0
MOST_ITERATIONS: Final = 200


class Layer(FrozenModel):
    """A dense layer, x @ weights + bias.

    Attributes:
        weights: Weight matrix, shape (inputs, outputs).
        bias: Bias vector, shape (outputs,).
    """

    weights: Matrix
    bias: Vector

    def apply(self, inputs: FloatArray) -> FloatArray:
        """Map (images, inputs) to (images, outputs)."""
        return inputs @ np.asarray(self.weights) + np.asarray(self.bias)


class PerceptronStack(Parameters):
    """P(positive) = sigmoid(output(tanh(hidden(x)))), x the standardised logits (images, members).

    Attributes:
        hidden: Layer from members to hidden units.
        output: Layer from hidden units to one logit.
    """

    kind: Literal["perceptron"] = "perceptron"
    inputs: Standardiser
    hidden: Layer
    output: Layer

    def combine(self, probabilities: FloatArray) -> FloatArray:
        """Combine predictions of shape (members, images, 2) into (images, 2)."""
        inputs = self.inputs.apply(positive_logits(probabilities))
        return two_columns(sigmoid(self.output.apply(np.tanh(self.hidden.apply(inputs)))[:, 0]))


def fit_mlp(members: Members, seed: int) -> PerceptronStack:
    """Fit eight tanh units with an L2 penalty by L-BFGS."""
    from sklearn.exceptions import ConvergenceWarning  # slow to import, not needed by the leaderboard
    from sklearn.neural_network import MLPClassifier

    logits = positive_logits(members.probabilities)
    inputs = fit_standardiser(logits)
    model = MLPClassifier(
        (HIDDEN_UNITS,),
        activation="tanh",
        solver="lbfgs",
        alpha=PENALTY,
        max_iter=MOST_ITERATIONS,
        random_state=scikit_learn_seed(seed),
    )
    with warnings.catch_warnings():
        # The number of iterations is limited on purpose: reaching the limit is not a failure.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(inputs.apply(logits), members.labels)
    hidden, output = (
        Layer(weights=as_matrix(weights), bias=tuple(bias.tolist()))
        for weights, bias in zip(model.coefs_, model.intercepts_, strict=True)
    )
    return PerceptronStack(inputs=inputs, hidden=hidden, output=output)


STACK_MLP = Method("stack_mlp", fit_mlp, PerceptronStack, complexity=60, is_binary=True)
