"""Relevance methods of both kinds by one name: those that ask the model, and those that look into the net."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from results.relevance.explaining import relevance_map, score_of
from results.relevance.method import RelevanceMap, RelevanceMethod, RelevanceSettings
from results.relevance.methods import RELEVANCE_METHODS
from results.relevance.methods.windows import WINDOWS
from trainables.common.errors import UnknownNameError

if TYPE_CHECKING:  # torch takes seconds to import
    from results.predictors.explained_model import ExplainedModel
    from trainables.relevance.gradient_method import GradientMethod

# Model, image (H, W) or (H, W, 3), class, settings -> map.
Compute = Callable[["ExplainedModel", NDArray[Any], int, RelevanceSettings], RelevanceMap]


@dataclass(frozen=True, slots=True)
class AnyMethod:
    """A relevance method.

    Attributes:
        name: Name that the user types.
        about: What a value of the map means, in a sentence.
        source: Paper.
        compute: Computes a map.
        settings: Names of the `RelevanceSettings` that change its maps; none for one that looks into the net.
    """

    name: str
    about: str
    source: str
    compute: Compute
    settings: tuple[str, ...]


def any_method(name: str) -> AnyMethod:
    """Return the method of that name, or raise `UnknownNameError` with the nearest one."""
    if name in RELEVANCE_METHODS:
        return _asking(RELEVANCE_METHODS[name])
    from trainables.relevance.methods import GRADIENT_METHODS

    if name not in GRADIENT_METHODS:
        raise UnknownNameError("relevance method", name, (*RELEVANCE_METHODS, *GRADIENT_METHODS))
    return _looking(GRADIENT_METHODS[name])


def _asking(method: RelevanceMethod) -> AnyMethod:
    def compute(
        model: "ExplainedModel", image: NDArray[Any], label: int, settings: RelevanceSettings
    ) -> RelevanceMap:
        if method.name == WINDOWS.name and settings.masks is None and (side := settings.window_px):
            from results.predictors.whole_film import can_pass_once, film_map

            if min(image.shape[:2]) > side and can_pass_once(model):
                return film_map(model, image, label, window_px=side)
        return relevance_map(method.name, score_of(model.predict, label), image, settings)

    return AnyMethod(method.name, method.about, method.source, compute, method.settings)


def _looking(method: "GradientMethod") -> AnyMethod:
    def compute(
        model: "ExplainedModel", image: NDArray[Any], label: int, settings: RelevanceSettings
    ) -> RelevanceMap:
        from trainables.relevance.gradient_method import GradientSettings

        values = method.compute(model, model.as_floats(image), label, GradientSettings())
        return RelevanceMap(values, 1)

    return AnyMethod(method.name, method.about, method.source, compute, ())
