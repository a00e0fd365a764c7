"""The table of ensemble methods, simplest first, and the one way to fit them."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import Field

from results.ensembles.average import fit_average
from results.ensembles.greedy import fit_greedy
from results.ensembles.grid import fit_grid
from results.ensembles.knn import NeighbourStack, fit_knn
from results.ensembles.logistic import LogisticStack, fit_logistic
from results.ensembles.members import Members
from results.ensembles.mlp import PerceptronStack, fit_mlp
from results.ensembles.svm import SupportVectorStack, fit_svm
from results.ensembles.weights import WeightedMean
from trainables.common.errors import OneClassError, UnknownNameError

# What a method arrives at, told apart by `kind` when it is read back from JSON.
FittedEnsemble = Annotated[
    WeightedMean | LogisticStack | NeighbourStack | SupportVectorStack | PerceptronStack,
    Field(discriminator="kind"),
]

# The order is that of simplicity: a tie goes to the earlier method.
METHODS: Final = MappingProxyType[str, Callable[[Members, int], FittedEnsemble]](
    {
        "average": fit_average,
        "greedy": fit_greedy,
        "grid": fit_grid,
        "stack_logistic": fit_logistic,
        "stack_knn": fit_knn,
        "stack_svm": fit_svm,
        "stack_mlp": fit_mlp,
    }
)


def method_named(name: str) -> Callable[[Members, int], FittedEnsemble]:
    """Return the fitting function of that method, or raise `UnknownNameError` with the nearest one."""
    if name not in METHODS:
        raise UnknownNameError("ensemble method", name, METHODS)
    return METHODS[name]


def fit(method: str, members: Members, seed: int) -> FittedEnsemble:
    """Fit a method on out-of-fold predictions.

    Args:
        method: Name in `METHODS`.
        members: Out-of-fold predictions of the members.
        seed: Of what is random in a method: the start of the perceptron, a sample of very many images.

    Raises:
        UnknownNameError: If there is no such method.
        OneClassError: If the labels hold a single class.
        EnsembleError: If a stacked method is asked for more than two classes.
    """
    fit_members = method_named(method)
    if len(set(members.labels.tolist())) < 2:
        raise OneClassError(
            f"ensemble method {method} needs images of two classes, found one in {len(members.labels)} images"
        )
    return fit_members(members, seed)
