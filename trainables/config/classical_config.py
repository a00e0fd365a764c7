"""Settings of a closed-form head."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from trainables.common.frozen import FrozenModel


def _zero_if_none(value: Any) -> Any:
    return 0 if value in ("none", None) else value


class ClassicalConfig(FrozenModel):
    """A closed-form head in place of the trained one, fitted once on frozen features or on a table.

    Attributes:
        name: `none` trains a net; else the name of an estimator in `trainables.estimators.kinds`.
        standardize: Scale every feature to zero mean and unit variance, with the statistics of the training
            part.
        pca: Number of principal components of the features that the head is fitted on, or as many as the
            rows have; 0, or `none`, takes all features.
        c: Inverse strength of the penalty; for `logistic`, `ridge`, `linear_svm`, `svm` and
            `kernel_logistic`.
        gamma: Width of a radial kernel, as a factor of 1 / (features * variance); for `svm` and
            `kernel_logistic`.
        shrinkage: Share of the identity in the covariance of `lda`, in [0, 1]; `auto` is that of Ledoit and
            Wolf.
        neighbours: Number of neighbours, for `knn`.
        minkowski_p: Exponent of the Minkowski distance, for `knn`: 1 city block, 2 Euclidean.
        depth: Largest depth of the `tree`, and of the trees of `boosting`.
        trees: Number of steps of `boosting`, each a tree for each class.
        boosting_lr: Learning rate of `boosting`.
        l2: L2 penalty of the `mlp`, and of the leaves of `boosting`.
        lr: Learning rate of the `mlp`, with stochastic gradient descent.
        epochs: Number of epochs of the `mlp`.
    """

    name: str = "none"
    standardize: bool = False
    pca: Annotated[Annotated[int, Field(ge=0, le=4096)], BeforeValidator(_zero_if_none)] = 0
    c: float = Field(default=1.0, gt=0.0, le=1000.0)
    gamma: float = Field(default=1.0, gt=0.0, le=1000.0)
    shrinkage: Literal["auto"] | Annotated[float, Field(ge=0.0, le=1.0)] = "auto"
    neighbours: int = Field(default=5, ge=1, le=100)
    minkowski_p: Literal[1, 2] = 2
    depth: int = Field(default=5, ge=1, le=100)
    trees: int = Field(default=100, ge=1, le=2000)
    boosting_lr: float = Field(default=0.1, gt=0.0, le=1.0)
    l2: float = Field(default=0.01, ge=0.0, le=10.0)
    lr: float = Field(default=0.003, gt=0.0, le=1.0)
    epochs: int = Field(default=100, ge=1, le=2000)
