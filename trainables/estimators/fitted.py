"""A fitted estimator as plain arrays: prepared inputs, a rule, and how scores become probabilities.

The arrays are kept with a finished trial, and `modules` builds the torch module that predicts with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trainables.common.types import Float64Array, FloatArray, IntArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Projection:
    """Inputs of a rule: (features - centre) / scale, and then their products with a basis.

    Attributes:
        centre: Subtracted from the features, shape (D,).
        scale: Divides them, shape (D,).
        basis: Directions, shape (D, k); None keeps all features.
    """

    centre: Float64Array
    scale: Float64Array
    basis: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class Affine:
    """Scores that are linear in the features: (features - centre) @ coefficients + intercept.

    Attributes:
        centre: Subtracted from the features, so that large ones lose no digits, shape (D,).
        coefficients: Shape (D, K): one column for each class, or one alone for two classes.
        intercept: Shape (K,).
    """

    name: ClassVar[str] = "affine"
    centre: Float64Array
    coefficients: Float64Array
    intercept: Float64Array


@dataclass(frozen=True, slots=True)
class RadialKernel:
    """Scores from similarities exp(-gamma |x - point|^2) to points of the training part.

    Attributes:
        points: Shape (P, d).
        coefficients: Shape (P, K).
        intercept: Shape (K,).
        gamma: Shape ().
    """

    name: ClassVar[str] = "kernel"
    points: FloatArray
    coefficients: Float64Array
    intercept: Float64Array
    gamma: Float64Array


@dataclass(frozen=True, slots=True)
class PairwiseVotes:
    """A radial kernel whose K (K - 1) / 2 scores each compare two classes, as scikit-learn's `SVC` has them.

    The scores of the classes are their votes, and the confidences of the pairs decide between equals.
    """

    name: ClassVar[str] = "votes"
    points: FloatArray
    coefficients: Float64Array
    intercept: Float64Array
    gamma: Float64Array


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Shares of the classes among the nearest rows; rows as far as the last of them share its place.

    Attributes:
        points: Shape (P, d).
        labels: Index into the classes that are present, shape (P,).
        count: Number of neighbours, shape ().
        exponent: 1 for city-block, 2 for Euclidean distances, shape ().
    """

    name: ClassVar[str] = "neighbours"
    points: FloatArray
    labels: IntArray
    count: IntArray
    exponent: IntArray


@dataclass(frozen=True, slots=True)
class Trees:
    """A sum of decision trees, whose nodes are rows of arrays that are as long as the largest tree.

    Attributes:
        feature: Column that a node looks at, shape (trees, nodes).
        threshold: Rows at or below it go left, shape (trees, nodes).
        left: Node to go to, shape (trees, nodes); a leaf leads to itself.
        right: Node to go to otherwise, shape (trees, nodes).
        value: What a leaf adds to the scores, shape (trees, nodes, K).
        start: Scores before the first tree, shape (K,).
        depth: Number of steps from the root to the deepest leaf, shape ().
    """

    name: ClassVar[str] = "trees"
    feature: IntArray
    threshold: Float64Array
    left: IntArray
    right: IntArray
    value: Float64Array
    start: Float64Array
    depth: IntArray


@dataclass(frozen=True, slots=True)
class Perceptron:
    """Dense layers with ReLU between them.

    Attributes:
        weights: Weights of all layers, one after the other, shape (sum of inputs * outputs,).
        biases: Biases of all layers, one after the other, shape (sum of outputs,).
        widths: Widths of the inputs and of every layer, shape (layers + 1,).
    """

    name: ClassVar[str] = "perceptron"
    weights: Float64Array
    biases: Float64Array
    widths: IntArray


@dataclass(frozen=True, slots=True)
class Shares:
    """The same shares of the classes for every row.

    Attributes:
        shares: Shape (K,).
    """

    name: ClassVar[str] = "shares"
    shares: Float64Array


@dataclass(frozen=True, slots=True)
class Guess:
    """A class drawn at random for every row, by the shares of the classes.

    Attributes:
        shares: Shape (K,).
        seed: Seed of the draws, shape ().
    """

    name: ClassVar[str] = "guess"
    shares: Float64Array
    seed: IntArray


@dataclass(frozen=True, slots=True)
class GatedAttention:
    """A linear score of each image, and its attention among the images of its unit before the softmax.

    The attention is (tanh(x V + v) * sigmoid(x U + u)) @ w, and the unit's logit is the mean of its images'
    scores with the softmax of their attention as weights.

    Attributes:
        coefficients: Of the score, shape (d, 1).
        intercept: Of the score, shape (1,).
        signal: V, shape (d, L).
        signal_bias: v, shape (L,).
        gate: U, shape (d, L).
        gate_bias: u, shape (L,).
        attention: w, shape (L, 1).
    """

    name: ClassVar[str] = "attention"
    coefficients: Float64Array
    intercept: Float64Array
    signal: Float64Array
    signal_bias: Float64Array
    gate: Float64Array
    gate_bias: Float64Array
    attention: Float64Array


Rule = (
    Affine | RadialKernel | PairwiseVotes | Neighbours | Trees | Perceptron | Shares | Guess | GatedAttention
)


@dataclass(frozen=True, slots=True)
class Sigmoids:
    """Platt scaling of scores: probabilities sigmoid(-(slope * score + offset)), made to sum to 1.

    Attributes:
        slope: Shape (K,).
        offset: Shape (K,).
    """

    slope: Float64Array
    offset: Float64Array


@dataclass(frozen=True, slots=True)
class FittedEstimator:
    """A fitted estimator.

    Without `sigmoids` and `counted`, scores of the rule are logits: one for two classes, else one a class.

    Attributes:
        rule: Rule from prepared inputs to scores.
        present: Classes that were among the rows, ascending, shape (K,); others get probability 0.
        inputs: Preparation of the inputs; None leaves the features as they are.
        sigmoids: Turns scores into probabilities; None for scores that need none.
        counted: Number of rows, where the scores are shares of counted rows. One more row of each class is
            then mixed in, since 0 and 1 have no logit; neither rankings nor decisions change.
    """

    rule: Rule
    present: IntArray
    inputs: Projection | None = None
    sigmoids: Sigmoids | None = None
    counted: int | None = None

    def arrays(self) -> dict[str, Array]:
        """All numbers by name, such as `affine.coefficients`."""
        found = {"present": np.asarray(self.present, dtype=np.int64)}
        if self.counted is not None:
            found["counted"] = np.asarray(self.counted, dtype=np.int64)
        parts = {"inputs": self.inputs, self.rule.name: self.rule, "sigmoids": self.sigmoids}
        for name, part in parts.items():
            if part is not None:
                found |= {f"{name}.{field}": value for field, value in _contents(part).items()}
        return found

    @property
    def is_finite(self) -> bool:
        """True if every number is finite."""
        return all(np.isfinite(array).all() for array in self.arrays().values())


def _contents(part: Any) -> Mapping[str, Array]:
    values = {field.name: getattr(part, field.name) for field in fields(part)}
    return {name: np.asarray(value) for name, value in values.items() if value is not None}
