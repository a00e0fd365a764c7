"""Options of a search on the command line and in the reference page, made from `SearchRequest`."""

import argparse
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from orchestrator.study.pruners import pruner_names
from orchestrator.study.samplers import sampler_names
from results.run.option import GROUPS
from results.run.request_options import bounds_text, facts_of, flag_of, plain_type
from results.run.search_request import SearchRequest

_NAMES: Final[Mapping[str, Callable[[], Sequence[str]]]] = MappingProxyType(
    {"sampler": sampler_names, "pruner": pruner_names}
)


def add_options(parser: argparse.ArgumentParser, names: Sequence[str] | None = None) -> None:
    """Declare an option for every field of `SearchRequest`, in its groups.

    An option that is not given is missing in the parsed arguments, so that a file or a recipe may set it.

    Args:
        parser: Parser of the verb.
        names: Names of the fields to declare, for a verb that takes some of them; None declares all.
    """
    fields = {
        name: field for name, field in SearchRequest.model_fields.items() if names is None or name in names
    }
    used = {facts_of(name)["group"] for name in fields}
    groups = {name: parser.add_argument_group(GROUPS[name].lower()) for name in GROUPS if name in used}
    for name, field in fields.items():
        facts = facts_of(name)
        if field.is_required():
            groups[facts["group"]].add_argument(
                name, metavar=facts["metavar"], nargs="?", default=argparse.SUPPRESS, help=field.description
            )
            continue
        settings: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": _help(name)}
        kind = plain_type(field.annotation)
        if kind is bool:
            settings["action"] = "store_false" if field.default is True else "store_true"
        elif facts.get("is_file"):
            settings |= {"type": Path, "metavar": facts["metavar"]}
        elif typing.get_origin(kind) is Literal:
            settings["choices"] = typing.get_args(kind)
        elif typing.get_origin(kind) in (tuple, dict):
            settings |= {"action": "append", "metavar": facts["metavar"]}
        else:
            unsaid = "N" if kind in (int, float) else "NAME"
            settings |= {"type": kind, "metavar": facts.get("metavar", unsaid)}
        groups[facts["group"]].add_argument(flag_of(name), **settings)


def given_options(arguments: argparse.Namespace, names: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the options of a search that were typed, by name.

    Args:
        arguments: What was typed.
        names: Names of the options that are wanted; None takes all of a search.
    """
    wanted = tuple(SearchRequest.model_fields) if names is None else names
    return {name: getattr(arguments, name) for name in wanted if hasattr(arguments, name)}


def reference_page() -> str:
    """Return the reference page of all options, in Markdown."""
    lines = [
        "# Options of a search",
        "",
        "Made from `results/run/search_options.py` by `python docs/generate.py`.",
        "`orchestrate search` and `orchestrate plan` take them. `--config FILE` reads them from YAML under",
        "the names of the first column; what is typed wins over the file.",
        "`--config runs/TASK/NAME/search.yaml` repeats a search.",
    ]
    for group, title in GROUPS.items():
        lines += [
            "",
            f"## {title}",
            "",
            "| in a file | typed | what it is | range | default |",
            "|---|---|---|---|---|",
        ]
        for name in SearchRequest.model_fields:
            if facts_of(name)["group"] == group:
                typed = "`TASK`" if SearchRequest.model_fields[name].is_required() else _typed(name)
                cells = [f"`{name}`", typed, _description(name), _range(name), _default(name) or "none"]
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _typed(name: str) -> str:
    """The flag of an option; one that switches a default of yes off says so."""
    is_off_switch = SearchRequest.model_fields[name].default is True
    return f"`{flag_of(name)}`" + (" (no)" if is_off_switch else "")


def _help(name: str) -> str:
    facts, field = facts_of(name), SearchRequest.model_fields[name]
    text = str(facts.get("flag_description") or _description(name))
    notes = [f"in {facts['unit']}"] if facts.get("unit") else []
    bounds = bounds_text(field)
    if bounds:
        notes.append(bounds)
    default = _default(name)
    if default and plain_type(field.annotation) is not bool:
        notes.append(f"default: {default}")
    return (text + (f" ({'; '.join(notes)})" if notes else "")).replace("%", "%%")


def _description(name: str) -> str:
    """What an option is, with the names that it takes where files of a folder are the list of them."""
    names = _NAMES.get(name)
    return (SearchRequest.model_fields[name].description or "") + (f": {', '.join(names())}" if names else "")


def _default(name: str) -> str:
    field, shown = SearchRequest.model_fields[name], facts_of(name).get("shown_default")
    if shown is not None:
        return str(shown)
    if field.is_required() or field.default is None:
        return ""
    if isinstance(field.default, bool):
        return "yes" if field.default else "no"
    return f"{field.default:g}" if isinstance(field.default, float) else str(field.default)


def _range(name: str) -> str:
    field, unit = SearchRequest.model_fields[name], facts_of(name).get("unit")
    kind = plain_type(field.annotation)
    if typing.get_origin(kind) is Literal:
        return ", ".join(map(str, typing.get_args(kind)))
    return ", ".join(part for part in (bounds_text(field), unit and f"in {unit}") if part)
