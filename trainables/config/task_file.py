"""Own tasks from a YAML file: a task's name, and below it its definition."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from trainables.common.errors import ConfigError, UnknownNameError
from trainables.common.plain_yaml import PlainYamlError, load_yaml
from trainables.config.tasks import TASKS, Task

# Key of a definition -> field of `Task`.
_FIELDS: Final = {
    "classes": "classes",
    "positive": "positive",
    "ordinal": "is_ordinal",
    "question": "question",
    "metric": "metric",
    "codes": "codes",
    "folders": "folders",
    "left_out": "left_out",
    "takes_table": "takes_table",
}
_YES_OR_NO: Final = ("ordinal", "takes_table")
_EXAMPLE: Final = "such as `density: {classes: [a, b, c, d], ordinal: true}`"


def read_tasks(path: Path) -> dict[str, Task]:
    """Read the tasks that a file defines, by name.

    Args:
        path: YAML file: names of tasks, each with `classes` and, where wanted, `positive`, `ordinal`,
            `question`, `metric`, `codes`, `folders`, `left_out` and `takes_table`.

    Raises:
        ConfigError: If the file cannot be read, or a definition is not one; the message names the file, the
            task and the key.
        UnknownNameError: If there is no such key; the message holds the nearest one.
    """
    try:
        found = load_yaml(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"--task {path} cannot be read: {error.strerror or error}{_about(path)}") from error
    except PlainYamlError as error:
        raise ConfigError(f"--task {path} is not valid YAML: {error}") from error
    if not isinstance(found, Mapping) or not found:
        raise ConfigError(f"--task {path} must hold names of tasks with their definitions, {_EXAMPLE}")
    if not set(found).isdisjoint(_FIELDS) and not isinstance(next(iter(found.values())), Mapping):
        raise ConfigError(
            f"--task {path} holds a definition without a name: write the task's name above it, {_EXAMPLE}"
        )
    return {str(name): _task(path, name, definition) for name, definition in found.items()}


def task_in(path: Path, name: str | None) -> Task:
    """Return the task of that name in a file, or the only one that it defines.

    Raises:
        ConfigError: If the file cannot be used, or defines several tasks and none is named.
        UnknownNameError: If it does not define that task.
    """
    found = read_tasks(path)
    if name is None and len(found) > 1:
        raise ConfigError(f"--task {path} defines {', '.join(found)}; say which: TASK --task {path}")
    if name is None:
        return next(iter(found.values()))
    if name not in found:
        raise UnknownNameError(f"task in {path}", name, found)
    return found[name]


def check_own(task: Task) -> Task:
    """Return an own task, unless it has the name of a built-in one.

    Raises:
        ConfigError: If it has.
    """
    if task.name in TASKS:
        raise ConfigError(f"task {task.name} is built in; give a task of your own another name")
    return task


def _about(path: Path) -> str:
    """The other meaning of a task that is typed after --task, if there is one."""
    return f"; to search the built-in task, leave --task out: {path}" if str(path) in TASKS else ""


def _task(path: Path, name: Any, definition: Any) -> Task:
    where = f"--task {path}, task {name}"
    if not isinstance(name, str):
        raise ConfigError(f"{where}: a task's name must be a text, found {name!r}; put it in quotes")
    if not isinstance(definition, Mapping):
        raise ConfigError(f"{where} must hold keys and values, {_EXAMPLE}; found {definition!r}")
    for key in definition:
        if key not in _FIELDS:
            raise UnknownNameError(f"key in {where}:", str(key), _FIELDS)
    values = {key: value for key, value in definition.items() if value is not None}
    if "classes" not in values:
        raise ConfigError(f"{where}: classes is missing; give the names of at least two, classes: [a, b]")
    plain = {_FIELDS[key]: _plain(f"{where}: {key}", key, value) for key, value in values.items()}
    try:
        return check_own(Task(name=name, **plain))
    except ConfigError as error:
        raise ConfigError(f"--task {path}: {error}") from error


def _plain(where: str, key: str, value: Any) -> Any:
    """A value with its numbers as text; what YAML has taken for yes or no is refused."""
    if key in _YES_OR_NO:
        if not isinstance(value, bool):
            raise ConfigError(f"{where} must be true or false, found {value!r}")
        return value
    wanted, kind = {
        "classes": ("a list of names, [a, b]", list),
        "left_out": ("a list of labels or names of folders, [9]", list),
        "codes": ("labels with their classes, {1: a, 2: b}", Mapping),
        "folders": ("names of folders with their classes, {folder: a}", Mapping),
    }.get(key, ("a text", (str, int, float)))
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ConfigError(f"{where} must be {wanted}, found {value!r}{_quote(value)}")
    if isinstance(value, Mapping):
        return {_text(where, one): _text(where, other) for one, other in value.items()}
    return [_text(where, one) for one in value] if isinstance(value, list) else _text(where, value)


def _text(where: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigError(f"{where} holds {value!r} where a text or a number is needed{_quote(value)}")
    return str(value)


def _quote(value: Any) -> str:
    return '; YAML reads yes, no, on and off so: put them in quotes, "no"' if isinstance(value, bool) else ""


def named_after_task(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a search in which a task itself may stand for its name, and an own one names it.

    Args:
        values: Options, with `task` and `own_task` if they were given.
    """
    found = dict(values)
    if isinstance(found.get("task"), Task):
        task = found["task"]
        found |= {"task": task.name, "own_task": task if task.is_own else found.get("own_task")}
    own = found.get("own_task")
    if isinstance(own, Task | Mapping) and "task" not in found:
        found["task"] = own.name if isinstance(own, Task) else own.get("name")
    return found
