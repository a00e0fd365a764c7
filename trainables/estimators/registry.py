"""Registry of the estimators, by the name that the user types."""

from types import MappingProxyType
from typing import Final

from trainables.common.discovery import constants_of
from trainables.common.errors import UnknownNameError
from trainables.estimators import kinds
from trainables.estimators.estimator import Estimator

ESTIMATORS: Final = MappingProxyType({one.name: one for one in constants_of(kinds, Estimator)})


def estimator_named(name: str) -> Estimator:
    """Return the estimator of a name.

    Raises:
        UnknownNameError: If there is none; the message holds the nearest name.

    >>> estimator_named("logistic").settings
    ('c',)
    """
    if name not in ESTIMATORS:
        raise UnknownNameError("classical.name", name, ("none", *ESTIMATORS))
    return ESTIMATORS[name]
