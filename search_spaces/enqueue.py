"""Initial points: configurations that are tried before the sampler proposes any.

A point may hold values that the space would never propose, such as a backbone that the space leaves out. The
sampler learns only the parameters that the space has, with values that the space could have proposed.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna

from search_spaces.context import SpaceContext
from trainables.common.errors import ConfigError, UnknownNameError
from trainables.config.trial_config import TrialConfig, decode, flatten, parse_setting

SpaceFunction = Callable[[optuna.trial.BaseTrial, SpaceContext], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class InitialPoint:
    """A configuration to try first.

    Attributes:
        recipe: Name of the recipe that the configuration belongs to.
        settings: Dotted setting -> value; settings that are missing have their defaults.
    """

    recipe: str
    settings: Mapping[str, Any]

    def configure(self, fixed_params: Mapping[str, Any], *, epochs: int) -> TrialConfig:
        """Return the configuration to run: its epochs are cut to the search's limit, and fixed settings win.

        Args:
            fixed_params: Settings held fixed.
            epochs: Largest number of epochs of a trial.

        Raises:
            ConfigError: If it is not a valid configuration.
        """
        settings = flatten(self.settings)
        settings["training.epochs"] = min(int(settings.get("training.epochs", epochs)), epochs)
        if "training.first_phase_epochs" in settings:
            first = int(settings["training.first_phase_epochs"])
            settings["training.first_phase_epochs"] = min(first, epochs)
        try:
            return decode(settings | dict(fixed_params))
        except (ConfigError, UnknownNameError) as error:
            raise ConfigError(f"recipe {self.recipe} cannot run: {error}") from error


def matching_params(function: SpaceFunction, context: SpaceContext, config: TrialConfig) -> dict[str, Any]:
    """Return the parameters with which a space would propose a configuration, as far as it can.

    Args:
        function: Function of the space.
        context: Facts that its conditions depend on.
        config: Any configuration.
    """
    walk = _ReplayTrial(config, None)
    _replay(function, context, walk)
    return walk.params


def matching_numbers(
    function: SpaceFunction, context: SpaceContext, config: TrialConfig
) -> dict[str, tuple[float, tuple[float, float]]]:
    """Return the numbers on logarithmic scales with which a space would propose a configuration.

    Args:
        function: Function of the space.
        context: Facts that its conditions depend on.
        config: Any configuration.

    Returns:
        Parameter -> its value, and the ends of its range.
    """
    walk = _ReplayTrial(config, None)
    _replay(function, context, walk)
    return walk.numbers


def suggest_enqueued(
    function: SpaceFunction, context: SpaceContext, config: TrialConfig, trial: optuna.trial.BaseTrial
) -> None:
    """Let a trial that was enqueued with `matching_params` suggest them, so that the sampler learns."""
    _replay(function, context, _ReplayTrial(config, trial))


def _replay(function: SpaceFunction, context: SpaceContext, walk: "_ReplayTrial") -> None:
    # A space, which may be the user's own code, can raise on values that it would never propose. The
    # parameters that it suggested until then are still right.
    with contextlib.suppress(Exception):
        function(walk, context)  # type: ignore[arg-type]


class _ReplayTrial:
    """A trial that answers with a configuration's values, and notes those that the space could propose."""

    def __init__(self, config: TrialConfig, trial: optuna.trial.BaseTrial | None) -> None:
        self._settings = flatten(config.model_dump())
        self._trial = trial
        self.params: dict[str, Any] = {}
        self.numbers: dict[str, tuple[float, tuple[float, float]]] = {}  # of logarithmic scales, with ends

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Return the choice that means the configuration's value, else that value itself."""
        setting = name.partition("@")[0]
        wanted = self._settings.get(setting, choices[0])
        for choice in choices:
            if setting in self._settings and _means(setting, choice, wanted):
                if self._trial is not None:
                    self._trial.suggest_categorical(name, choices)
                self.params[name] = choice
                return choice
        return wanted

    def suggest_float(self, name: str, low: float, high: float, **options: Any) -> Any:
        """Return the configuration's number."""
        return self._number(name, low, high, options, "suggest_float")

    def suggest_int(self, name: str, low: int, high: int, **options: Any) -> Any:
        """Return the configuration's whole number."""
        return self._number(name, low, high, options, "suggest_int")

    def _number(self, name: str, low: float, high: float, options: dict[str, Any], ask: str) -> Any:
        wanted = self._settings.get(name.partition("@")[0])
        if wanted is None or not low <= wanted <= high or options.get("step"):
            return low if wanted is None else wanted
        if self._trial is not None:
            getattr(self._trial, ask)(name, low, high, **options)
        self.params[name] = wanted
        if options.get("log"):
            self.numbers[name] = float(wanted), (low, high)
        return wanted


def _means(setting: str, choice: Any, wanted: Any) -> bool:
    """Tell whether a choice, which may be text, is the setting's value.

    Further taps have no order, and a choice may list several heads, of which another parameter takes one.
    """
    value = parse_setting(setting, choice)
    if setting == "model.also":
        return sorted(value) == sorted(wanted)
    return bool(value == wanted) or (setting == "classical.name" and wanted in value.split(","))
