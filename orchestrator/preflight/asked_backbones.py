"""Backbones that a search looks at: those that its settings and first points allow, with weights or not.

What no backbone or head has is refused here, since it needs neither data nor a Ray.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from orchestrator.preflight.initial_points import InitialPoints, backbones_of
from trainables.common.errors import ConfigError, UnknownNameError
from trainables.config.trial_config import parse_setting
from trainables.estimators.registry import estimator_named
from trainables.models.registry import backbone_named, default_backbones
from trainables.models.table import TABLE
from trainables.models.weights import Inventory, take_inventory
from trainables.models.weights_folder import with_nets_of_folder

# Settings of nets, which statistics without weights have not.
_OF_NETS: Final = (
    "model.trained_stages",
    "model.weights",
    "model.channels",
    "model.pair",
    "model.type_input",
)


def check_held(
    fixed: Mapping[str, Any], first: InitialPoints, *, is_table: bool, weights_dir: Path | None
) -> None:
    """Check settings that are held fixed against the backbones and heads that there are.

    Args:
        fixed: Settings that every trial has, each of an allowed value.
        first: Points that the search tries first.
        is_table: The task takes a table of measurements.
        weights_dir: Folder of the user's files, which may bring further backbones, or None.

    Raises:
        UnknownNameError: If there is no such head or further tap, or no backbone of the search has the cut.
        ConfigError: If more stages are to train than any backbone of the search keeps.
    """
    if fixed.get("classical.name", "none") != "none":
        estimator_named(fixed["classical.name"])
    for tap in parse_setting("model.also", fixed.get("model.also", "none")):
        backbone, _, cut = tap.rpartition("/")
        backbone_named(backbone).cut_index(cut)
    brings_more = weights_dir is not None or fixed.get("model.weights") == "start"
    if brings_more and "model.backbone" not in fixed:
        return
    others = {name: value for name, value in fixed.items() if name != "model.cut"}
    names = asked_backbones(others, first, is_table=is_table)
    able = [name for name in names if _has_cut(name, fixed)]
    if not able:
        raise _unknown_cut(str(fixed["model.cut"]), names)
    _check_depth(able, fixed)


def _unknown_cut(cut: str, names: Sequence[str]) -> UnknownNameError:
    backbones = [backbone_named(name) for name in names]
    known = {own for one in backbones for own in (*one.cut_names, *one.readout_cuts, *one.stage_names)}
    return UnknownNameError(f"cut of {names[0]}" if len(names) == 1 else "model.cut", cut, known)


def _check_depth(names: Sequence[str], fixed: Mapping[str, Any]) -> None:
    depth, cut = fixed.get("model.trained_stages", 0), str(fixed.get("model.cut", "top"))
    most, deepest = max((backbone_named(name).cut_index(cut), name) for name in names)
    if isinstance(depth, int) and depth > most:
        raise ConfigError(
            f"model.trained_stages={depth}: no backbone of this search has so many stages; {deepest} keeps "
            f"{most} at cut {cut}"
        )


def inventory_of(
    fixed: Mapping[str, Any],
    first: InitialPoints,
    *,
    is_table: bool,
    weights_dir: Path | None,
    may_download: bool,
) -> Inventory:
    """Look for the weights of the backbones of a search, with the reasons against those that take no part.

    A search that names no backbone also takes the networks of timm whose weights lie in the folder.

    Args:
        fixed: Settings that every trial has.
        first: Points that the search tries first.
        is_table: The data are a table of measurements.
        weights_dir: Folder of the user's files, or None.
        may_download: True if torchvision may download files.
    """
    is_random = fixed.get("model.weights") == "random"
    found = take_inventory(
        asked_backbones(fixed, first, is_table=is_table),
        weights_dir=weights_dir,
        may_download=may_download,
        is_random=is_random,
    )
    is_named = is_table or is_random or "model.backbone" in fixed or first.is_by_name
    return found if is_named else _with_the_cut(with_nets_of_folder(found, weights_dir), fixed)


def _with_the_cut(found: Inventory, fixed: Mapping[str, Any]) -> Inventory:
    """Leave out nets of the folder that lack a cut that is held fixed."""
    without = [name for name in found.usable if not _has_cut(name, fixed)]
    return dataclasses.replace(
        found,
        usable={name: file for name, file in found.usable.items() if name not in without},
        left_out=found.left_out | dict.fromkeys(without, f"it has no cut {fixed.get('model.cut')!r}"),
    )


def asked_backbones(fixed: Mapping[str, Any], first: InitialPoints, *, is_table: bool) -> tuple[str, ...]:
    """Backbones that the fixed settings allow: nets without pretrained weights train in all their stages.

    Args:
        fixed: Settings that every trial has.
        first: Points that the search tries first.
        is_table: The data are a table of measurements.

    Raises:
        ConfigError: If a table is asked for, and the data are images.
    """
    if is_table:
        return (TABLE.name,)
    if fixed.get("model.backbone") == TABLE.name:
        raise ConfigError("model.backbone=table is for tables of measurements; these data are images")
    if "model.backbone" in fixed:
        return (str(fixed["model.backbone"]),)
    if first.is_by_name:
        return first.backbones
    if first.is_all:
        return tuple(dict.fromkeys((*default_backbones(), *first.backbones)))
    known = dict.fromkeys((*default_backbones(), *backbones_of(first.earlier)))
    names = [name for name in known if _is_for(name, fixed)]
    if fixed.get("classical.name", "none") == "none" and fixed.get("model.trained_stages", "all") == "all":
        return tuple(names)
    return tuple(name for name in names if not backbone_named(name).trains_from_scratch)


def _is_for(name: str, fixed: Mapping[str, Any]) -> bool:
    """True if a backbone has the settings that are held fixed."""
    is_of_nets = fixed.get("classical.name") == "none" or any(name.startswith("optimizer.") for name in fixed)
    is_of_nets |= any(setting in fixed for setting in _OF_NETS)
    return _has_cut(name, fixed) and not (is_of_nets and backbone_named(name).is_fixed)


def _has_cut(name: str, fixed: Mapping[str, Any]) -> bool:
    """True if a backbone has the cut that is held fixed, or none is."""
    if "model.cut" not in fixed:
        return True
    try:
        backbone_named(name).cut_index(str(fixed["model.cut"]))
    except UnknownNameError:
        return False
    return True
