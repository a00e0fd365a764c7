"""States of folds that train in several places: what belongs to some of the models, and all of it together.

A state is that of `Folds.state()`. Models are numbered `fold * repeats + repeat`; those of a part follow each
other. All tensors of a result are in the memory of the machine, so that it may travel.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

State = dict[str, Any]


def part_of(state: Mapping[str, Any], models: range) -> State:
    """Return the state of some of the models, as folds that hold those alone take it.

    Args:
        state: State of all models.
        models: Numbers of the models of the part, which follow each other.
    """
    own, average = slice(models.start, models.stop), state["average"]
    if average is not None:
        average = {"averages": average["averages"][own], "steps": average["steps"][own]}
    part = {
        "how": state["how"],
        "models": state["models"][own],
        "draws": state["draws"][own],
        "optimizer": _part_of_optimizer(state, models),
        "scale": state["scale"],
        "average": average,
    }
    return _mapped(part, lambda tensor: tensor.detach().cpu())


def joined(parts: Sequence[Mapping[str, Any]]) -> State:
    """Return the state of all models from those of the parts that they trained in.

    The factor of half-precision losses, of which each part has its own, is that of the first part.

    Args:
        parts: States of one execution mode, in the order of their models; at least one.
    """
    averages = [part["average"] for part in parts if part["average"] is not None]
    return _mapped(
        {
            "how": parts[0]["how"],
            "models": [own for part in parts for own in part["models"]],
            "draws": [own for part in parts for own in part["draws"]],
            "optimizer": _joined_optimizer(parts),
            "scale": parts[0]["scale"],
            "average": {
                "averages": [own for average in averages for own in average["averages"]],
                "steps": [own for average in averages for own in average["steps"]],
            }
            if averages
            else None,
        },
        lambda tensor: tensor.detach().cpu(),
    )


def _part_of_optimizer(state: Mapping[str, Any], models: range) -> State:
    optimizer, count = state["optimizer"], len(state["models"])
    if state["how"] == "fused":  # each weight holds all models, along its first axis
        own = slice(models.start, models.stop)
        moments = {
            weight: {name: value[own] if _is_stacked(value) else value for name, value in found.items()}
            for weight, found in optimizer["state"].items()
        }
        return {"state": moments, "param_groups": optimizer["param_groups"]}
    kept = []  # the weights of the part, group by group
    for group in optimizer["param_groups"]:
        each = len(group["params"]) // count
        kept.append(group["params"][models.start * each : models.stop * each])
    return _renumbered([(optimizer, kept)])


def _joined_optimizer(parts: Sequence[Mapping[str, Any]]) -> State:
    optimizers = [part["optimizer"] for part in parts]
    if parts[0]["how"] != "fused":
        kept = [[group["params"] for group in own["param_groups"]] for own in optimizers]
        return _renumbered(list(zip(optimizers, kept, strict=True)))
    first = optimizers[0]
    moments = {
        weight: {
            name: torch.cat([own["state"][weight][name].cpu() for own in optimizers])
            if _is_stacked(value)
            else value
            for name, value in found.items()
        }
        for weight, found in first["state"].items()
    }
    return {"state": moments, "param_groups": first["param_groups"]}


def _renumbered(taken: Sequence[tuple[Mapping[str, Any], Sequence[Sequence[int]]]]) -> State:
    """State of an optimiser over weights of one or several, which are numbered anew, group by group.

    Args:
        taken: State of an optimiser, and the numbers of its weights that are taken, for each group.
    """
    moments: dict[int, Any] = {}
    groups, count = [], 0
    for number, group in enumerate(taken[0][0]["param_groups"]):
        begins = count
        for optimizer, kept in taken:
            for weight in kept[number]:
                if weight in optimizer["state"]:  # it has taken a step
                    moments[count] = optimizer["state"][weight]
                count += 1
        groups.append({**group, "params": list(range(begins, count))})
    return {"state": moments, "param_groups": groups}


def _is_stacked(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _mapped(own, change) for name, own in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(own, change) for own in value]
    return value
