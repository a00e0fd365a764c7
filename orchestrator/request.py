"""The request of a search: read from the command line or a file, and checked before any data are read."""

import shlex
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from results.errors import RunError
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from results.run.search_request import DEFAULT_FOLDS, SearchRequest, parse_request
from search_spaces.registry import space_named
from trainables.common.errors import ConfigError
from trainables.config.tasks import task_named
from trainables.models.registry import backbone_named

__all__ = [
    "DEFAULT_FOLDS",
    "SearchRequest",
    "check_request",
    "parse_request",
    "read_config",
    "typed_command",
]


def check_request(request: SearchRequest) -> RunFolder:
    """Check the options that need no data, and name the run folder.

    Raises:
        OrchestrateError: On an unknown task or space, options that exclude each other, or a run folder that
            exists.
    """
    task_named(request.task)
    space_named(request.space_name)
    if request.holdout is not None and request.folds is not None:
        raise ConfigError(
            f"--holdout {request.holdout:g} has one validation part and --folds {request.folds} has "
            f"{request.folds}: give one of the two"
        )
    if request.weights_dir is not None and not request.weights_dir.is_dir():
        raise ConfigError(f"--weights-dir {request.weights_dir} is not a folder")
    fixed = request.fixed_params.get("model.backbone")
    if fixed is not None:
        backbone_named(str(fixed))
    name = request.name or datetime.now().strftime("%Y%m%d-%H%M%S")
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name.startswith("."):
        raise ConfigError(f"--name {name!r}: letters, digits, dots, dashes and underscores only")
    run = RunFolder(request.runs / request.task / name)
    if run.path.exists():
        raise RunError(
            f"run folder {run.path} exists and is left as it is; give another --name, or go on with: "
            f"orchestrate resume {run.path}"
        )
    return run


def read_config(path: Path) -> dict[str, Any]:
    """Read options from a YAML file: names and values of `SearchRequest`, or the `search.yaml` of a run.

    The search of a run is repeated under a name of its own, so its name is not among the options.

    Raises:
        ConfigError: If the file cannot be read or is not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(f"--config {path} cannot be read: {error.strerror or error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"--config {path} is not valid YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(values, Mapping):
        raise ConfigError(f"--config {path} must hold names and values of options, such as `trials: 24`")
    if "fingerprint" not in values:
        return dict(values)
    asked = SearchRecord.model_validate(dict(values)).request.model_dump(exclude_defaults=True)
    return {name: value for name, value in asked.items() if name != "name"}


def typed_command(arguments: list[str]) -> str:
    """Return the command line, as it could be typed again."""
    return shlex.join(["orchestrate", *arguments])
