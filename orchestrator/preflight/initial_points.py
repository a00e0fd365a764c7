"""Recipes that a search tries before the sampler proposes anything."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from orchestrator.preflight.feasibility import SMALL_PX
from orchestrator.preflight.recipe_protocol import ALL
from orchestrator.study.price import Pricing, free
from search_spaces.closed_form import shared_sizes
from search_spaces.context import SpaceContext
from search_spaces.enqueue import InitialPoint
from search_spaces.recipes import Recipe, recipe_named
from search_spaces.registry import Space
from trainables.common.errors import ConfigError, OrchestrateError
from trainables.common.text import clock_text
from trainables.config.baseline import is_baseline
from trainables.config.trial_config import TrialConfig
from trainables.models.registry import backbone_named

_MOST: Final = 8  # unless the user names recipes, a search gives at most so many trials to them,
_SHARE: Final = 2  # at most half of its trials,
_MOST_EARLIER: Final = 4  # of them to trials of the search that it starts from,
_MAKE_A_POINT: Final = ("model.backbone", "classical.name")  # with others held there it is another point
_OF_A_BACKBONE: Final = 2  # and at most two to nets on one backbone
LONGEST_SHARE: Final = 0.2  # of the longest time of a trial, that one of them may train

_ENLARGED: Final = 2  # times that small images are enlarged at least
_LONGEST_WITH_PASSES: Final = 4  # longest times of training that a trained head may take with its passes
_NAMED: Final = 3  # slow recipes that the message names; it counts the others

ConfigCheck = Callable[[TrialConfig], None]


@dataclass(frozen=True, slots=True)
class FittingPoints:
    """Initial points that can run, in the order in which they are tried, and those that are left out.

    Attributes:
        points: The points: as the user named them, else the baseline on colour and intensity, the cheapest
            one on a learned net, and then the others, the cheapest first.
        unfit: Recipe -> reason why its point cannot run.
        slow: Recipe -> seconds that its point would take. Initial points are never pruned, so that a single
            one could hold a worker for as long as many others take; the sampler's trials are pruned.
    """

    points: tuple[InitialPoint, ...]
    unfit: Mapping[str, str]
    slow: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class InitialPoints:
    """Points that a search tries first.

    Attributes:
        points: Points, the best recipe first.
        recipes: Names of the recipes that the user named; empty if the search chooses by itself.
        is_by_name: The user named the recipes, so each of their points must run.
        is_all: The user wants all recipes of the task.
        earlier: Best trials of the search that this one starts from, the best first. They come before all
            others, as they were, unless the user names recipes.
    """

    points: tuple[InitialPoint, ...]
    recipes: tuple[Recipe, ...] = ()
    is_by_name: bool = False
    is_all: bool = False
    earlier: tuple[InitialPoint, ...] = ()

    @property
    def backbones(self) -> tuple[str, ...]:
        """Backbones of the points, each once."""
        return backbones_of(self.points)

    def after(self, earlier: Sequence[InitialPoint]) -> "InitialPoints":
        """Return the points with those of an earlier search before them, unless the user named recipes."""
        return self if self.is_by_name or self.is_all else replace(self, earlier=tuple(earlier))

    def enlarging(self, context: SpaceContext) -> "InitialPoints":
        """Return the points with small images enlarged for closed-form heads, where their nets take that.

        Pretrained nets see more in patches of 50 pixels that are enlarged: the more, the larger. So points
        are tried at the largest side whose passes the search has the time for, and the best one also at
        the smallest, so that a score of a learned feature is soon there. Points that people named stay as
        they are.

        Args:
            context: Facts of the search.
        """
        if self.is_by_name or self.is_all or context.image_px > SMALL_PX:
            return self
        points = list[InitialPoint]()
        has_small = False
        for point in self.points:
            smallest, *larger = _enlarged(point, context)
            if larger and not has_small:
                points.append(smallest)
                has_small = True
            points.append(larger[-1] if larger else smallest)
        return replace(self, points=tuple(points))

    def fitting(
        self,
        check: ConfigCheck,
        fixed_params: Mapping[str, Any],
        *,
        epochs: int,
        trials: int,
        price: Pricing = free,
        longest_seconds: float = math.inf,
    ) -> FittingPoints:
        """Return the points to try, and those that are left out with the reasons.

        Args:
            check: Check of a configuration; it raises if the configuration cannot run on these data.
            fixed_params: Settings held fixed.
            epochs: Largest number of epochs of a trial.
            trials: Number of trials of the search.
            price: Estimate of a configuration's time.
            longest_seconds: Longest time that a point may train, unless the user asked for it.

        Raises:
            OrchestrateError: If a point that the user named cannot run.
        """
        is_free = self.is_by_name or self.is_all
        most = len(self.points) if is_free else max(1, min(_MOST, trials // _SHARE))
        fitting, unfit, slow = list[tuple[float, InitialPoint]](), dict[str, str](), dict[str, float]()
        first = self._earlier_fitting(check, fixed_params, epochs=epochs, most=most, unfit=unfit)
        most -= len(first)
        of_backbone = Counter[str]()
        for asked in self.points:
            point = asked
            is_first = not self.is_by_name and is_baseline({**point.settings, **fixed_params})
            is_another = not self.is_by_name and _is_another(point, fixed_params)
            if is_another or (len(fitting) == most and not is_first):
                continue
            try:
                point, config = _checked(asked, fixed_params, epochs, check, may_adapt=not is_free)
            except OrchestrateError as error:
                if self.is_by_name:
                    raise ConfigError(f"recipe {point.recipe}: {error}") from error
                unfit[point.recipe] = str(error)
                continue
            cost = price(config)
            if is_first:
                if not any(is_baseline({**own.settings, **fixed_params}) for _, own in fitting):
                    fitting.append((-1.0, point))
                    most += 1
                continue
            is_net = config.classical.name == "none"
            most_seconds = _LONGEST_WITH_PASSES * longest_seconds if is_net else math.inf
            if not is_free and (cost.training > longest_seconds or cost.seconds > most_seconds):
                slow.setdefault(point.recipe, cost.seconds)
                continue
            if not is_free and any(own.settings == point.settings for _, own in fitting):
                continue  # points that differ in nets which are not there
            of_backbone[config.model.backbone] += is_net
            if is_free or not is_net or of_backbone[config.model.backbone] <= _OF_A_BACKBONE:
                fitting.append((cost.seconds, point))
        if not self.is_by_name:
            fitting.sort(key=lambda priced: priced[0])  # of equals, the better recipe stays first
        ordered = [point for _, point in fitting]
        if not self.is_by_name:
            ordered = _soon_learned(ordered, fixed_params)
        return FittingPoints((*first, *ordered), unfit, slow)

    def _earlier_fitting(
        self,
        check: ConfigCheck,
        fixed_params: Mapping[str, Any],
        *,
        epochs: int,
        most: int,
        unfit: dict[str, str],
    ) -> list[InitialPoint]:
        """Best points of the earlier search that can run here; two that are the same here are one."""
        found, configs = list[InitialPoint](), list[TrialConfig]()
        for point in self.earlier:
            if len(found) == min(most, _MOST_EARLIER):
                break
            if _is_another(point, fixed_params):
                continue
            try:
                _, config = _checked(point, fixed_params, epochs, check, may_adapt=False)
            except OrchestrateError as error:
                unfit[point.recipe] = str(error)
                continue
            if config not in configs:
                found.append(point)
                configs.append(config)
        return found


def _is_another(point: InitialPoint, fixed_params: Mapping[str, Any]) -> bool:
    """True if settings that are held fixed make another point of it."""
    held = {name: fixed_params[name] for name in _MAKE_A_POINT if name in fixed_params}
    return any(point.settings.get(name, "none") != value for name, value in held.items())


def about_earlier(first: InitialPoints, found: FittingPoints) -> list[str]:
    """Return a sentence on trials of the earlier search that cannot be tried here; none if all can.

    Args:
        first: The points that were to be tried.
        found: Those that can run.
    """
    reasons = {one.recipe: found.unfit[one.recipe] for one in first.earlier if one.recipe in found.unfit}
    if not reasons:
        return []
    name, reason = next(iter(reasons.items()))
    more = f", nor can {len(reasons) - 1} more" if len(reasons) > 1 else ""
    return [f"{name} cannot be tried first here ({reason}){more}"]


def about_slow_recipes(slow: Mapping[str, float], longest: float) -> list[str]:
    """Return a sentence on recipes that are not tried first, since they would hold a worker for too long.

    Args:
        slow: Recipe -> seconds that it would take.
        longest: Seconds that a point may train.
    """
    if not slow:
        return []
    named = [f"{name} ({clock_text(seconds)})" for name, seconds in slow.items()]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return [
        f"not tried first, since each would train for more than {clock_text(longest)} here, or take more "
        f"than {clock_text(_LONGEST_WITH_PASSES * longest)} with its passes, and recipes are never pruned: "
        f"{', '.join(named[:_NAMED])}{more}; to try one: --recipe {next(iter(slow))}"
    ]


def backbones_of(points: Sequence[InitialPoint]) -> tuple[str, ...]:
    """Return the backbones of points, each once."""
    return tuple(dict.fromkeys(str(point.settings["model.backbone"]) for point in points))


def _enlarged(point: InitialPoint, context: SpaceContext) -> tuple[InitialPoint, ...]:
    """The point with its images enlarged, by growing sides, or else with those of one of its nets.

    A point whose nets take no other side stays as it is.
    """
    settings = point.settings
    if settings.get("classical.name", "none") == "none" or settings.get("input.size_px") is not None:
        return (point,)
    for candidate in (point, *_with_one_net(point)):
        taps = [tap for tap in candidate.settings.get("model.also") or () if "/" in tap]
        nets = (str(candidate.settings["model.backbone"]), *(tap.partition("/")[0] for tap in taps))
        sizes = [side for side in shared_sizes(context, nets) if side >= _ENLARGED * context.image_px]
        if sizes:
            return tuple(
                replace(candidate, settings={**candidate.settings, "input.size_px": side}) for side in sizes
            )
    return (point,)


def _checked(
    point: InitialPoint, fixed_params: Mapping[str, Any], epochs: int, check: ConfigCheck, *, may_adapt: bool
) -> tuple[InitialPoint, TrialConfig]:
    """Return a point that can run, with its configuration: the point, or else the same with one of its nets.

    Raises:
        OrchestrateError: If the point cannot run, and the search may not or cannot adapt it.
    """
    first: OrchestrateError | None = None
    for candidate in (point, *(_with_one_net(point) if may_adapt else ())):
        try:
            config = candidate.configure(fixed_params, epochs=epochs)
            check(config)
        except OrchestrateError as error:
            first = first or error
        else:
            return candidate, config
    raise first or ConfigError(f"recipe {point.recipe} has no points")


def _soon_learned(points: list[InitialPoint], fixed_params: Mapping[str, Any]) -> list[InitialPoint]:
    """Points with the first one on a learned net right after the baseline, so that its score is soon there.

    Statistics of pixels may be cheaper, but they seldom make the best model, and workers are two or more.
    """
    begin = int(bool(points) and is_baseline({**points[0].settings, **fixed_params}))
    rest = points[begin:]
    place = next((place for place, point in enumerate(rest) if _has_learned_net(point)), 0)
    return [*points[:begin], *rest[place : place + 1], *rest[:place], *rest[place + 1 :]]


def _has_learned_net(point: InitialPoint) -> bool:
    further = (tap for tap in point.settings.get("model.also") or () if "/" in tap)
    taps = (str(point.settings["model.backbone"]), *further)
    return any(not backbone_named(tap.partition("/")[0]).is_fixed for tap in taps)


def _with_one_net(point: InitialPoint) -> Iterator[InitialPoint]:
    """The point with each of its nets alone, whose weights may be at hand where others are not."""
    further = [tap for tap in point.settings.get("model.also") or () if "/" in tap]
    taps = [f"{point.settings['model.backbone']}/{point.settings.get('model.cut', 'top')}", *further]
    nets = dict.fromkeys(tap.partition("/")[0] for tap in taps)
    learned = [net for net in nets if not backbone_named(net).is_fixed]
    if len(learned) < 2:
        return
    for net in learned:
        (backbone, _, cut), *others = (
            tap.partition("/")
            for tap in taps
            if tap.startswith(f"{net}/") or backbone_named(tap.partition("/")[0]).is_fixed
        )
        also = ["".join(tap) for tap in others]
        settings = {"model.backbone": backbone, "model.cut": cut, "model.also": also}
        yield replace(point, settings={**point.settings, **settings})


def choose_initial_points(names: Sequence[str], task: str, space: Space) -> InitialPoints:
    """Look up the points that a search tries first.

    Args:
        names: Ids of recipes, or `all`; empty leaves the choice to the search.
        task: Name of the task.
        space: Search space of the task.

    Raises:
        UnknownNameError: If there is no such recipe.
        ConfigError: If a recipe is of another task.
    """
    if not names or ALL in names:
        return InitialPoints(_points(space.recipes), is_all=ALL in names)
    named = [recipe_named(name, task) for name in names]
    members = dict.fromkeys(member for recipe in named for member in (recipe.members or (recipe.name,)))
    return InitialPoints(
        _points([recipe_named(member, task) for member in members]),
        recipes=tuple(named),
        is_by_name=True,
    )


def _points(recipes: Sequence[Recipe]) -> tuple[InitialPoint, ...]:
    return tuple(InitialPoint(recipe.name, settings) for recipe in recipes for settings in recipe.points)
