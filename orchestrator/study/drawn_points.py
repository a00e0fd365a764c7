"""Points drawn from a space before anything runs: which settings they have, and whether all can run."""

import contextlib
from collections.abc import Mapping
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution

from search_spaces.context import SpaceContext
from search_spaces.fixed_params import FixedParamsTrial
from search_spaces.registry import Space
from trainables.common.errors import ConfigError
from trainables.config.trial_config import TrialConfig

_SAMPLE: Final = 64


def settings_of(
    space: Space, context: SpaceContext, fixed_params: Mapping[str, Any]
) -> dict[str, BaseDistribution]:
    """Return every setting that points of a space have, in order of their first appearance.

    Points are drawn at random, always the same ones. A setting whose range differs between points is left
    out: samplers draw it by itself.

    Args:
        space: Search space.
        context: Facts that its conditions depend on.
        fixed_params: Settings held fixed.
    """
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found: dict[str, BaseDistribution] = {}
    changing = set[str]()
    for _ in range(_SAMPLE):
        trial = study.ask()
        with contextlib.suppress(Exception):  # it may be the user's own; a proposal shows its error
            space.function(FixedParamsTrial(trial, fixed_params), context)  # type: ignore[arg-type]
        for name, own in trial.distributions.items():
            if found.setdefault(name, own) != own:
                changing.add(name)
    return {name: own for name, own in found.items() if name not in changing}


def check_space(space: Space, context: SpaceContext, fixed_params: Mapping[str, Any]) -> list[TrialConfig]:
    """Draw points at random before anything runs, so that a broken space stops the search before it starts.

    Returns:
        The drawn configurations.

    Raises:
        ConfigError: If a point is not a valid configuration, or the space fails.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    configs: list[TrialConfig] = []
    for _ in range(_SAMPLE):
        trial = study.ask()
        try:
            configs.append(space.configure(trial, context, fixed_params))
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(f"space {space.name} failed on {trial.params}: {error!r}") from error
    return configs
