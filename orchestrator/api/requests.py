"""Requests of searches from Python: a task with options or a `SearchRequest`, data as paths or arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_origin

from orchestrator.api.arrays import ArrayLike, check_arrays, store_arrays
from orchestrator.preflight.recipe_protocol import protocol_of_recipes
from orchestrator.request import SearchRequest, parse_request, with_own_task
from results.run.request_options import plain_type
from search_spaces.fixed_params import parse_fixed_params
from trainables.common.errors import ConfigError
from trainables.config.tasks import Task, task_named
from trainables.config.trial_config import checked_settings
from trainables.data.sources import default_data

if TYPE_CHECKING:
    from search_spaces.enqueue import SpaceFunction

_EPOCHS: Final = "training.epochs"  # the setting whose largest value is the option `epochs`
_PATHS: Final = ("data", "weights_dir", "runs", "store", "shared_store")


@dataclass(frozen=True, slots=True)
class Arrays:
    """Labelled images in memory.

    Attributes:
        images: Grey images (n, h, w) or RGB images (n, h, w, 3) of uint8, uint16 or float in [0, 1].
        labels: Class of each image, by number or by name, shape (n,).
        patient: Patient of each image, shape (n,); None where unknown.
    """

    images: ArrayLike
    labels: ArrayLike
    patient: ArrayLike | None = None


def arrays_of(images: ArrayLike | None, labels: ArrayLike | None, patient: ArrayLike | None) -> Arrays | None:
    """Return the arrays that were given together; None without any.

    Raises:
        ConfigError: If images come without labels, or the reverse.
    """
    if images is None and labels is None and patient is None:
        return None
    if images is None or labels is None:
        missing = "images" if images is None else "labels"
        raise ConfigError(f"arrays need images and labels, one each an image; {missing} missing")
    return Arrays(images, labels, patient)


def request_of(
    request_or_task: SearchRequest | Task | str,
    data: str | Path | None = None,
    *,
    arrays: Arrays | None = None,
    space: "SpaceFunction | str | None" = None,
    options: Mapping[str, Any],
) -> SearchRequest:
    """Return the request of a search; arrays are written to the store.

    Args:
        request_or_task: A request, whose options are kept unless others are given, a task, or its name.
        data: Path of the data, or name of built-in ones.
        arrays: The data, if they are in memory.
        space: A function that is the search space, or the name `MODULE:FUNCTION` of one.
        options: Options by the names of the fields of `SearchRequest`.

    Raises:
        OrchestrateError: If an option does not exist, its value is not allowed, or the arrays do not fit
            together.
    """
    asked = _asked(request_or_task)
    given = {name: value for name, value in options.items() if value is not None}
    if data is not None:
        given["data"] = data
    if space is not None:
        from search_spaces.registry import name_of_function  # it imports torch, which takes seconds

        given["space"] = space if isinstance(space, str) else name_of_function(space)
    given |= {name: str(given[name]) for name in _PATHS if isinstance(given.get(name), Path)}
    given |= {name: (text,) for name, text in given.items() if isinstance(text, str) and _is_list(name)}
    if "fixed_params" in given:
        given["fixed_params"] = _fixed_params(given["fixed_params"])
    for name, other in (("folds", "holdout"), ("holdout", "folds")):  # they exclude each other
        if name in given and other not in given:
            asked.pop(other, None)
    asked |= given
    if arrays is None:
        return completed(asked)
    if asked.get("data") is not None:
        raise ConfigError(f"data {asked['data']} and arrays are both given; give one of the two")
    return _with_arrays(asked, arrays)


def completed(asked: Mapping[str, Any]) -> SearchRequest:
    """Return the request of options that were asked for; then recipes decide, then defaults.

    Raises:
        OrchestrateError: If an option does not exist, or its value is not allowed.
    """
    asked = with_own_task(asked)
    if not asked.get("own_task"):
        task_named(str(asked["task"]))  # a misspelt task is said before a recipe of another one
    protocol = protocol_of_recipes(asked.get("recipes", ()), str(asked["task"]))
    held = asked.get("fixed_params", {}).get(_EPOCHS)
    if held is not None:  # it is the number of all trials, the recipes' too, which are cut to the largest one
        asked["epochs"] = held
    if "folds" in asked or "holdout" in asked:  # one of the two takes the place of the recipes' protocol
        protocol = {name: value for name, value in protocol.items() if name not in ("folds", "holdout")}
    request = parse_request(protocol | dict(asked))
    if request.data:
        return request
    return request.model_copy(update={"data": default_data(request.task_definition)})


def _asked(request_or_task: SearchRequest | Task | str) -> dict[str, Any]:
    if isinstance(request_or_task, str):
        return {"task": request_or_task}
    if isinstance(request_or_task, Task):
        own = {"own_task": request_or_task} if request_or_task.is_own else {}
        return {"task": request_or_task.name, **own}
    if isinstance(request_or_task, SearchRequest):
        return {name: getattr(request_or_task, name) for name in request_or_task.model_fields_set}
    raise ConfigError(f"a SearchRequest, a Task or the name of one is needed, found {request_or_task!r}")


def _is_list(name: str) -> bool:
    """True for an option that takes several texts, of which a single one may be given by itself."""
    field = SearchRequest.model_fields.get(name)
    return field is not None and get_origin(plain_type(field.annotation)) is tuple


def _fixed_params(params: Any) -> dict[str, Any]:
    """Settings to hold, as a mapping, nested or dotted, or as texts `NAME=VALUE`."""
    if not isinstance(params, Mapping):
        return dict(parse_fixed_params([params] if isinstance(params, str) else params))
    return checked_settings(params)


def _with_arrays(asked: Mapping[str, Any], arrays: Arrays) -> SearchRequest:
    from orchestrator.preflight.search_data import make_store  # it imports torch, too

    request = completed({**asked, "data": "arrays"})
    checked = check_arrays(arrays.images, arrays.labels, arrays.patient, request.task_definition)
    if checked.is_by_name:
        request = request.model_copy(update={"label_codes": request.label_codes or "task"})
    return request.model_copy(update={"data": str(store_arrays(checked, make_store(request)))})
