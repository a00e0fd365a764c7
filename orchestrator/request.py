"""The request of a search: read from the command line or a file, and checked before any data are read.

Importing this takes no torch: what needs a search space or a net imports it where it is asked for.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, get_origin

from pydantic import ValidationError

from results.errors import RunError
from results.run.records import SearchRecord
from results.run.request_options import flag_of, parse_request, plain_type
from results.run.run_folder import RunFolder
from results.run.search_options import DEFAULT_FOLDS
from results.run.search_request import SearchRequest
from results.run.storage_url import check_has_no_password, without_password
from results.scores.metric import Metric
from results.scores.metrics import metric_named
from results.scores.ranking import Objectives, Requirement, requirements_of
from trainables.common.errors import ConfigError, OrchestrateError, UnknownNameError
from trainables.common.plain_yaml import PlainYamlError, load_yaml
from trainables.common.text import command_text, first_line, is_folder_name, typed_path
from trainables.config.task_file import task_in
from trainables.config.tasks import Task
from trainables.config.trial_config import checked_settings

DEFAULT_METRIC: Final = "auc"

# Options of several texts; in a file one of them needs no list.
_LISTS: Final = tuple(
    name
    for name, field in SearchRequest.model_fields.items()
    if get_origin(plain_type(field.annotation)) is tuple
)
_ONLY_TYPED: Final = ("address", "config", "finish", "format")  # they are not of a search but of one command

__all__ = [
    "DEFAULT_FOLDS",
    "DEFAULT_METRIC",
    "SearchRequest",
    "asked_objectives",
    "check_request",
    "parse_config",
    "parse_request",
    "passes_quick_checks",
    "read_config",
    "typed_command",
    "with_own_task",
]


def check_request(request: SearchRequest) -> RunFolder:
    """Check the options that need no data, and name the run folder.

    Raises:
        OrchestrateError: On an unknown task or space, options that exclude each other, or a run folder that
            exists.
    """
    from search_spaces.registry import space_for

    space_for(request.task_definition, request.space)  # first: its code may register what is named elsewhere
    _check_options(request)
    fixed = request.fixed_params.get("model.backbone")
    if fixed is not None:
        from trainables.models.registry import backbone_named

        backbone_named(str(fixed))
    return _new_run(request)


def passes_quick_checks(request: SearchRequest) -> bool:
    """Tell whether a search will be tried, as far as that is known without what takes seconds to import.

    Args:
        request: Options of a search, to be checked by `check_request` afterwards.
    """
    try:
        _check_options(request)
        _new_run(request)
    except OrchestrateError:  # or it will not, or the code of a space of its own registers what is named
        return False
    return True


def _check_options(request: SearchRequest) -> None:
    asked_objectives(request)
    if request.holdout is not None and request.folds is not None:
        raise ConfigError(
            f"--holdout {request.holdout:g} has one validation part and --folds {request.folds} has "
            f"{request.folds}: give one of the two"
        )
    _check_unit(request)
    _check_outer(request)
    _check_repeats(request)
    _check_study(request)
    if request.weights_dir is not None and not request.weights_dir.is_dir():
        raise ConfigError(f"--weights-dir {request.weights_dir} is not a folder")


def _new_run(request: SearchRequest) -> RunFolder:
    name = request.name or datetime.now().strftime("%Y%m%d-%H%M%S")
    if not is_folder_name(name):
        raise ConfigError(f"--name {name!r}: letters, digits, dots, dashes and underscores only")
    run = RunFolder(request.runs / request.task / name)
    if run.path.exists():
        raise RunError(
            f"run folder {run.path} exists and is left as it is; give another --name, or go on with: "
            f"{command_text('orchestrate', 'resume', typed_path(run.path))}"
        )
    return run


def _check_unit(request: SearchRequest) -> None:
    if request.unit == "image":
        return
    if request.naive_split:
        raise ConfigError(
            f"--unit {request.unit} keeps the images of a {request.unit} together, and --naive-split parts "
            "them: give one of the two"
        )
    if request.type_from is not None:
        raise ConfigError(
            f"--type-from gives the type of single images, and this search is by {request.unit}: leave one "
            "out"
        )


def _check_outer(request: SearchRequest) -> None:
    if request.outer is None:
        return
    if request.naive_split:
        raise ConfigError(
            f"--outer {request.outer} scores a search on patients that it has not seen, and --naive-split "
            "parts the images of a patient, so nothing could be claimed for new ones: give one of the two"
        )
    for option in ("start_from", "type_from"):
        if getattr(request, option) is not None:
            raise ConfigError(
                f"--outer {request.outer} scores a search on patients that it has not seen, and the trial of "
                f"{flag_of(option)} has seen them: give one of the two"
            )


def _check_repeats(request: SearchRequest) -> None:
    for option in ("start_from", "type_from"):
        if request.repeats is not None and getattr(request, option) is not None:
            raise ConfigError(
                f"--repeats {request.repeats} cuts the patients into other folds, and the trial of "
                f"{flag_of(option)} has seen all but those of its own fold: give one of the two"
            )


def _check_study(request: SearchRequest) -> None:
    if request.study_storage is not None:
        check_has_no_password(request.study_storage)
    if request.study is None:
        return
    if request.study_storage is None:
        raise ConfigError(
            f"--study {request.study} is a study of several searches, and needs --study-storage URL: a "
            "database or a journal that all of them see"
        )
    if not is_folder_name(request.study):
        raise ConfigError(f"--study {request.study!r}: letters, digits, dots, dashes and underscores only")
    if request.outer is not None:
        raise ConfigError(
            f"--outer {request.outer} repeats a whole search, and one of the searches of --study has a part "
            "of the trials only: give one of the two"
        )


def asked_objectives(request: SearchRequest) -> Objectives:
    """Return what a request optimises and requires, by the names under which results are kept.

    Raises:
        UnknownNameError: If there is no such metric.
        ConfigError: If a metric does not fit the task, is named twice, or cannot lead a search, or no model
            can keep what is required.
    """
    task = request.task_definition
    asked = request.metrics or (task.metric or DEFAULT_METRIC,)
    names = tuple(metric_named(name).name for name in asked)
    objectives = Objectives(names, requirements_of(request))
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(f"--metric {twice[0]} is given twice; name each metric once")
    for name in objectives.needed:
        _check_fits(metric_named(name), task)
    if metric_named(names[0]).is_cost:
        raise ConfigError(
            f"--metric {names[0]} is known when a trial has ended, so it cannot be the first: name a metric "
            f"of predictions before it, such as --metric auc --metric {names[0]}"
        )
    _check_can_be_kept(objectives.requirements)
    return objectives


def _check_can_be_kept(requirements: Sequence[Requirement]) -> None:
    for one in requirements:
        metric = metric_named(one.metric)
        if one.is_at_least and one.bound > metric.high:
            part = (
                f"; for {one.bound:g} % write {one.metric}>={one.bound / 100:g}" if one.bound <= 100 else ""
            )
            raise ConfigError(
                f"--require {one.text}: no model keeps it, {one.metric} is at most {metric.high:g}{part}"
            )
        if not one.is_at_least and one.bound < metric.low:
            raise ConfigError(
                f"--require {one.text}: no model keeps it, {one.metric} is at least {metric.low:g}"
            )
    for least in requirements:
        for most in requirements:
            is_pair = least.metric == most.metric and least.is_at_least and not most.is_at_least
            if is_pair and least.bound > most.bound:
                raise ConfigError(
                    f"--require {least.text} and --require {most.text} exclude each other: leave one out"
                )


def _check_fits(metric: Metric, task: Task) -> None:
    classes = len(task.classes)
    if metric.classes == "two" and classes != 2:
        raise ConfigError(
            f"{metric.name} is for two classes; task {task.name} has {classes}. Take another metric, such as "
            "auc or balanced_accuracy"
        )
    if metric.classes == "ordinal" and not task.is_ordinal:
        raise ConfigError(
            f"{metric.name} is for classes that have an order; task {task.name} has none. Take another "
            "metric, such as balanced_accuracy or mcc"
        )


def read_config(path: Path) -> dict[str, Any]:
    """Read options from a YAML file: names and values of `SearchRequest`, or the `search.yaml` of a run.

    The search of a run is repeated under a name of its own, so its name is not among the options.

    Raises:
        UnknownNameError: If there is no such option or setting.
        ConfigError: If the file cannot be read, or a value is not allowed.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"--config {path} cannot be read: {error.strerror or error}") from error
    return parse_config(content, path)


def parse_config(content: bytes, path: Path) -> dict[str, Any]:
    """Return the options in the content of a file of `--config`, as `read_config` does.

    Args:
        content: The content, YAML in UTF-8.
        path: The file, which messages name.

    Raises:
        UnknownNameError: If there is no such option or setting.
        ConfigError: If it is not such a file, or a value is not allowed.
    """
    try:
        values = load_yaml(content)
    except PlainYamlError as error:
        raise ConfigError(f"--config {path} is not valid YAML: {error}") from error
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise ConfigError(f"--config {path} must hold names and values of options, such as `trials: 24`")
    if "fingerprint" in values:
        return _asked_by_run(path, values)
    _check_known(values)
    if "data" in values and values["data"] is None:
        raise ConfigError(
            f"data in {path} has no value; give the path of the data, or leave it out for the phantom"
        )
    options = {name: value for name, value in values.items() if value is not None}
    for name in _LISTS:
        if isinstance(options.get(name), str):
            options[name] = [options[name]]
        if not isinstance(options.get(name, []), list):
            raise ConfigError(f"{name} in {path} must be a list of names, found {options[name]!r}")
    options["fixed_params"] = _checked_params(options.get("fixed_params", {}), path)
    return options


def with_own_task(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return options by name, with the file of `--task` read and the task named that the search is of.

    Raises:
        ConfigError: If the file cannot be used, or no task is given.
        UnknownNameError: If the file does not define the task.
    """
    found, own = dict(asked), asked.get("own_task")
    if isinstance(own, str | Path):
        found["own_task"] = task_in(Path(own), asked.get("task"))
    elif isinstance(own, Mapping):  # as a run has recorded it
        found["own_task"] = Task(**own)
    if "task" not in found and own is None:
        raise ConfigError(
            "no task is given: orchestrate search TASK, `task:` in the file of --config, or one of your own "
            "with --task FILE"
        )
    if isinstance(found.get("own_task"), Task):
        found["task"] = found["own_task"].name
    return found


def _asked_by_run(path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a run but its name: those at their defaults too, else its recipes would set them."""
    try:
        request = SearchRecord.model_validate(dict(values)).request
    except (ValidationError, ConfigError, KeyError, TypeError, AttributeError) as error:
        reason = first_line(error)
        raise ConfigError(f"--config {path} cannot be read: {reason}; was it edited by hand?") from error
    return {name: value for name, value in request.model_dump().items() if name != "name"}


def _check_known(values: Mapping[str, Any]) -> None:
    for name in values:
        if name in SearchRequest.model_fields:
            continue
        typed = f"--{name.replace('_', '-')}"
        field = next((other for other in SearchRequest.model_fields if flag_of(other) == typed), None)
        if field is not None:
            raise ConfigError(f"{typed} is called {field} in a file")
        if name in _ONLY_TYPED:
            raise ConfigError(f"{typed} can only be typed; a file does not hold it")
        raise UnknownNameError("option", name, SearchRequest.model_fields)


def _checked_params(params: Any, path: Path) -> dict[str, Any]:
    if not isinstance(params, Mapping):
        raise ConfigError(f"fixed_params in {path} must hold names and values of settings, found {params!r}")
    return checked_settings(params)


def typed_command(arguments: list[str]) -> str:
    """Return the command line, as it could be typed again; passwords of URLs are left out."""
    return command_text("orchestrate", *map(without_password, arguments))
