"""Settings held fixed: `--set optimizer.name=adam`."""

from collections.abc import Mapping
from typing import Any

import optuna
import yaml

from trainables.common.errors import ConfigError
from trainables.config.trial_config import checked_settings, parse_setting


def parse_fixed_params(texts: list[str]) -> dict[str, Any]:
    """Read `name=value` texts; values are YAML.

    Raises:
        ConfigError: If a text has no `=`, or its value is not valid YAML or not allowed.
        UnknownNameError: If there is no such setting.

    >>> parse_fixed_params(["optimizer.lr=0.01", "model.head.hidden=[64, 32]"])
    {'optimizer.lr': 0.01, 'model.head.hidden': [64, 32]}
    >>> parse_fixed_params(["training.share=0.5"])  # as earlier versions called it
    {'training.train_fraction': 0.5}
    """
    fixed_params: dict[str, Any] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        name = name.strip()
        if not separator:
            raise ConfigError(f"--set {text!r}: write name=value, such as --set optimizer.name=adam")
        if not value.strip():
            raise ConfigError(f"--set {text!r} needs a value, found an empty one; null is written out")
        found = _value(name, value)
        parse_setting(name, found)  # an unknown name also of an empty mapping, which says nothing
        fixed_params |= checked_settings({name: found})
    return fixed_params


def _value(name: str, text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {name}={text}: the value is not valid YAML") from error
    if isinstance(value, str):  # YAML 1.1 reads 1e-3 as text
        try:
            return float(value)
        except ValueError:
            return value
    return value


class FixedParamsTrial:
    """An Optuna trial with fixed parameters, for which the sampler is not asked.

    Conditions of the space follow the fixed values, since the space sees them as suggestions.
    """

    def __init__(self, trial: optuna.trial.BaseTrial, fixed_params: Mapping[str, Any]) -> None:
        self._trial, self._fixed = trial, fixed_params

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Return the fixed value, or the sampler's choice."""
        return self._fixed_or(name, lambda: self._trial.suggest_categorical(name, choices))

    def suggest_float(self, name: str, low: float, high: float, **options: Any) -> Any:
        """Return the fixed value, or the sampler's number."""
        return self._fixed_or(name, lambda: self._trial.suggest_float(name, low, high, **options))

    def suggest_int(self, name: str, low: int, high: int, **options: Any) -> Any:
        """Return the fixed value, or the sampler's whole number."""
        return self._fixed_or(name, lambda: self._trial.suggest_int(name, low, high, **options))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)

    def _fixed_or(self, name: str, ask: Any) -> Any:
        setting = name.partition("@")[0]
        return self._fixed[setting] if setting in self._fixed else ask()
