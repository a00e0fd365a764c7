"""Registry of the search spaces by task, and lookup of a user's own space."""

import importlib.machinery
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import optuna

from search_spaces.classical_models import table_classifier
from search_spaces.context import SpaceContext
from search_spaces.enqueue import SpaceFunction
from search_spaces.fixed_params import FixedParamsTrial
from search_spaces.image_classifier import image_classifier
from search_spaces.recipes import Recipe, recipes_of
from trainables.common.errors import ConfigError, UnknownNameError
from trainables.common.imports import module_named
from trainables.common.registered import register, registered
from trainables.config.tasks import TASKS, Task
from trainables.config.trial_config import TrialConfig, decode, flatten

# The space of each task, unless the user brings one.
TASK_SPACES: Final[Mapping[str, SpaceFunction]] = MappingProxyType(
    {name: table_classifier if task.takes_table else image_classifier for name, task in TASKS.items()}
)

# Names under which searches of earlier versions were recorded.
_MOVED: Final = MappingProxyType(
    {"search_spaces.classical:frozen_features": "search_spaces.classical_models:frozen_features"}
)


@dataclass(frozen=True, slots=True)
class Space:
    """A search space with its recipes.

    Attributes:
        name: Name in the form `module:function`.
        function: Function that suggests the settings of one trial.
        recipes: Recipes to try first, best first.
    """

    name: str
    function: SpaceFunction
    recipes: tuple[Recipe, ...]

    def configure(
        self, trial: optuna.trial.BaseTrial, context: SpaceContext, fixed_params: Mapping[str, Any]
    ) -> TrialConfig:
        """Ask for one point and check it.

        Raises:
            ConfigError: If the point is not a valid configuration; the message holds the space and the point.
        """
        asked = flatten(self.function(FixedParamsTrial(trial, fixed_params), context))  # type: ignore[arg-type]
        settings = {"training.epochs": context.epochs} | asked | dict(fixed_params)
        if settings.get("model.backbone") in context.from_scratch:
            settings = {"model.weights": "random", "model.trained_stages": "all"} | settings
        try:
            return decode(settings)
        except (ConfigError, UnknownNameError) as error:
            held = f" with {', '.join(f'--set {name}' for name in fixed_params)}" if fixed_params else ""
            raise ConfigError(f"space {self.name}{held} proposed a point that cannot run: {error}") from error


def name_of_function(function: SpaceFunction) -> str:
    """Return the name `module:function` under which a search records a function as its space.

    A function that other processes cannot import by that name, such as one of a notebook, is registered, so
    that `space_named` finds it in this process.

    Raises:
        ConfigError: If it is no function, or one without a name of its own.
    """
    module = getattr(function, "__module__", None)
    qualified = getattr(function, "__qualname__", "")
    if not (callable(function) and qualified):
        raise ConfigError(
            "space must be a function of a trial and the context, or a text MODULE:FUNCTION, found "
            f"{function!r}"
        )
    name = f"{module}:{qualified}"
    if _is_of_a_program(name) or getattr(sys.modules.get(str(module)), qualified, None) != function:
        register("space", name, function, replace=True)
    return name


def _is_of_a_program(name: str) -> bool:
    """True for a function that only the program which defined it knows: of its main script, or nested."""
    return name.startswith("__main__:") or "<" in name


def space_named(name: str) -> Space:
    """Return the space of a task, or a user's own.

    Args:
        name: Name of a task, or `module:function`; the module may also be a file in the working folder, and
            the function one that `name_of_function` has registered.

    Raises:
        UnknownNameError: If there is no space of that task.
        ConfigError: If the module or function cannot be imported.
    """
    if name in registered("space"):
        return Space(name, registered("space")[name], ())
    if _is_of_a_program(name):
        raise ConfigError(
            f"space {name} is a function of the Python program that started the search; go on with it there: "
            "orchestrator.resume_search(RUN, space=FUNCTION)"
        )
    if ":" not in name:
        if name not in TASK_SPACES:
            raise UnknownNameError("space", name, TASK_SPACES, own="MODULE:FUNCTION")
        function = TASK_SPACES[name]
        return Space(_name_of(function), function, recipes_of(name))
    module_name, _, function_name = _MOVED.get(name, name).partition(":")
    user_module = module_named(module_name, f"--space {name}")
    own_space = getattr(user_module, function_name, None)
    if not callable(own_space):
        raise ConfigError(f"--space {name}: module {module_name} has no function {function_name!r}")
    return Space(name, own_space, tuple(getattr(user_module, "RECIPES", ())))


def space_for(task: Task, own_space: str | None) -> Space:
    """Return the space of a search: the user's own, or that of the task, which may be an own one.

    Args:
        task: Task of the search; an own one has the space of its kind of data, and no recipes.
        own_space: `module:function` of the user's own space, or None.

    Raises:
        UnknownNameError, ConfigError: As `space_named` does.
    """
    if own_space is not None:
        return space_named(own_space)
    if not task.is_own:
        return space_named(task.name)
    function = _space_of_kind(task)
    return Space(_name_of(function), function, recipes_of(task.name))


def _space_of_kind(task: Task) -> SpaceFunction:
    return table_classifier if task.takes_table else image_classifier


def _name_of(function: SpaceFunction) -> str:
    return f"{function.__module__}:{function.__name__}"


def file_in_working_folder(name: str) -> Path | None:
    """Return the file that a user's own space would be imported from, if only the working folder has it.

    Nothing is imported.

    Args:
        name: Name of a space, as in `space_named`.
    """
    if ":" not in name or _is_of_a_program(name) or name in registered("space"):
        return None
    here, top = Path.cwd(), _MOVED.get(name, name).partition(":")[0].partition(".")[0]
    if top in sys.builtin_module_names:
        return None
    elsewhere = [entry for entry in sys.path if Path(entry).resolve() != here.resolve()]
    if importlib.machinery.PathFinder.find_spec(top, elsewhere) is not None:
        return None
    found = importlib.machinery.PathFinder.find_spec(top, [str(here)])
    return None if found is None else Path(found.origin or here / top)
