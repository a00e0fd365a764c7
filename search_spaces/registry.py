"""All spaces, and how a user's own is found."""

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Final

import optuna

from search_spaces import (
    benign_malignant,
    finding_pathology,
    finding_type,
    five_class,
    healthy_sick,
    idc,
    mass_calcification,
    normal_abnormal,
    wisconsin,
)
from search_spaces.context import SpaceContext
from search_spaces.pins import PinnedTrial
from search_spaces.points import SpaceFunction
from search_spaces.recipes import Recipe, recipes_of
from trainables.config import TrialConfig, decode, flatten
from trainables.errors import ConfigError, UnknownNameError

SPACES: Final = MappingProxyType(
    {
        "benign_malignant": benign_malignant,
        "mass_calcification": mass_calcification,
        "normal_abnormal": normal_abnormal,
        "five_class": five_class,
        "finding_type": finding_type,
        "finding_pathology": finding_pathology,
        "idc": idc,
        "healthy_sick": healthy_sick,
        "wisconsin": wisconsin,
    }
)


@dataclass(frozen=True, slots=True)
class Space:
    """A space with its first points.

    Attributes:
        name: `module:function`.
        function: Suggests the settings of one trial.
        recipes: Points to try first, best first.
    """

    name: str
    function: SpaceFunction
    recipes: tuple[Recipe, ...]

    def configure(
        self, trial: optuna.trial.BaseTrial, context: SpaceContext, pins: Mapping[str, Any]
    ) -> TrialConfig:
        """Ask for one point and check it.

        Raises:
            ConfigError: If the point is no valid configuration; the message holds the space and the point.
        """
        asked = flatten(self.function(PinnedTrial(trial, pins), context))  # type: ignore[arg-type]
        settings = {"training.epochs": context.epochs} | asked | dict(pins)
        if settings.get("model.backbone") in context.from_scratch:
            settings = {"model.weights": "random", "model.trained_stages": "all"} | settings
        try:
            return decode(settings)
        except (ConfigError, UnknownNameError) as error:
            held = f" with {', '.join(f'--set {name}' for name in pins)}" if pins else ""
            raise ConfigError(f"space {self.name}{held} proposed a point that cannot run: {error}") from error


def space_named(name: str) -> Space:
    """Return the space of a task, or a user's own.

    Args:
        name: A task, or `module:function`; the module may also be a file in the working folder.

    Raises:
        UnknownNameError: If there is no space of that task.
        ConfigError: If the module or function cannot be imported.
    """
    if ":" not in name:
        if name not in SPACES:
            raise UnknownNameError("space", name, SPACES)
        module = SPACES[name]
        return Space(f"{module.__name__}:space", module.space, recipes_of(name))
    module_name, _, function_name = name.partition(":")
    user_module = _import(module_name)
    function = getattr(user_module, function_name, None)
    if not callable(function):
        raise ConfigError(f"--space {name}: module {module_name} has no function {function_name!r}")
    return Space(name, function, tuple(getattr(user_module, "RECIPES", ())))


def _import(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ConfigError(f"--space {name}: the module cannot be imported: {error}") from error
