"""Reference pages that are made whole from the code: commands, files, exit codes and Python.

Each maker returns a page in Markdown. Nothing in them depends on the version of Python, so that every
machine makes the same page.
"""

import argparse
import dataclasses
import importlib
import inspect
import re
import types
import typing
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Final, Self

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from orchestrator.api.ranked import RankedTrials
from orchestrator.api.search_claims import SearchClaims
from orchestrator.cli.main import EXIT_CODES, VERBS, build_parser
from orchestrator.cli.options import reference_page
from results.ensembles.fitted import Method
from results.export import manifest, manifest_parts, model_input, precision_record
from results.export.training_reference import TrainingReference
from results.run import outer_fold, prediction_costs, records
from results.run.baseline_record import BaselineRecord
from results.run.run_folder import RunFolder
from results.run.run_paths import RunPaths
from results.run.search_request import SearchRequest
from results.run.sessions import SessionTime
from results.scores import outer_result, repeats
from results.scores.overtuning import Overtuning
from search_spaces.recipes import Recipe
from trainables.common.errors import OrchestrateError
from trainables.config.tasks import Task
from trainables.data import from_files
from trainables.data.patches import RawPatches
from trainables.data.source import Source
from trainables.features.feature_use import FeatureUse
from trainables.models.stages import Backbone

PACKAGES: Final = ("orchestrator", "search_spaces", "cluster", "results", "trainables")
_WITH_REQUEST: Final = ("search", "plan")  # verbs whose options of a search stand on their own page
_RUN: Final = "runs/TASK/NAME"
_STANDS_FOR: Final = MappingProxyType(  # arguments by which a path is found in a row of the page
    {"number": 1111, "fold": 2222, "repeat": 3333, "name": "ENSEMBLE", "method": "METHOD", "mark": "MARK"}
)
_BUNDLE: Final = MappingProxyType(
    {
        manifest.MODEL_FILE: "the model: raw pixels in, class probabilities out",
        manifest.MANIFEST_FILE: "description for programs",
        manifest.CARD_FILE: "description for people",
        manifest.CARD_DATA_FILE: "the fields of FDA's and CHAI's model cards, for programs",
        manifest.REFERENCE_FILE: "digests of the images of the search, and figures of their pixels, with "
        "which other data are compared",
        manifest.UNITS_FILE: "a second model, which combines what the first one says of the images of a "
        "unit; only where breasts, exams or patients are predicted",
        manifest.PREPARATION_FILE: "values of the steps that make a mammogram ready; only where the images "
        "of the search were made ready so",
        manifest.PREPARATION_CODE: "the code of these steps, which needs nothing of this project",
    }
)
ROOT: Final = Path(__file__).parents[1]
_DEFINES_ERROR: Final = re.compile(r"^class \w+Error\(", re.MULTILINE)
_ATTRIBUTE: Final = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)

# What people who add things define, besides what `orchestrator` offers by itself.
DEFINED: Final = (Source, RawPatches, Backbone, Task, Method, Recipe)
RECORDS: Final = (
    *(RunFolder, SearchRequest, records.SearchRecord, records.TrialRecord, manifest.Manifest),
    *(outer_result.OuterResult, repeats.Repeats, repeats.RepeatedTrial, Overtuning),
)


def commands_page() -> str:
    """Return the page of all verbs with their arguments, options and examples."""
    lines = [
        "# Commands",
        "",
        _made_from("`orchestrator/cli/`"),
        "Every verb prints the same with `--help`, and ends with one of the [exit "
        "codes](reference-exit-codes.md).",
        "",
        "| verb | what it does |",
        "| --- | --- |",
        *(f"| [`{name}`](#{name}) | {_cell(verb.HELP)} |" for name, verb in VERBS.items()),
    ]
    for name, verb in VERBS.items():
        notes, _, examples = verb.EPILOG.partition("examples:\n")
        lines += ["", f"## {name}", "", f"{verb.HELP[0].upper()}{verb.HELP[1:]}."]
        if notes.strip():
            lines += ["", notes.strip()]
        for title, parser in _parsers(name):
            lines += ["", *_options(title, parser, shared=name in _WITH_REQUEST)]
        lines += ["", "```sh", *_unindented(examples), "```"]
    return _joined(lines)


def exit_codes_page() -> str:
    """Return the page of exit codes, with the errors that end with each."""
    errors = sorted(_errors(), key=lambda error: (error.exit_code, error.__name__, error.__module__))
    rows = [
        f"| {error.exit_code} | `{error.__name__}` | {_cell(_summary(error))} | `{error.__module__}` |"
        for error in errors
    ]
    return _joined(
        [
            "# Exit codes",
            "",
            _made_from("every `OrchestrateError`"),
            "",
            "| code | meaning |",
            "| --- | --- |",
            *(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()),
            "",
            "A verb that fails prints one sentence to standard error, after its own name: what was needed, "
            "what was found and what to do. `ORCHESTRATE_TRACEBACK=1` shows where an unexpected error comes "
            "from. In Python the same errors are exceptions, all of them "
            "`trainables.common.errors.OrchestrateError`.",
            "",
            "| code | error | meaning | defined in |",
            "| --- | --- | --- | --- |",
            *rows,
        ]
    )


def files_page() -> str:
    """Return the page of the files of a run folder and of a bundle, with the fields of each."""
    return _joined(
        [
            "# Files",
            "",
            _made_from("the records that are written"),
            "Files are written whole or not at all. Unknown fields are refused, and what an earlier version "
            "wrote is still read.",
            "",
            "## Run folder",
            "",
            "| path | what it is |",
            "| --- | --- |",
            *_run_paths(),
            "",
            *_fields("search.yaml", records.SearchRecord),
            *_fields("record.json", records.TrialRecord),
            *_fields("prefix", FeatureUse, intro="The use of stored features, in the record of a trial."),
            *_fields("oof.npz", records.OutOfFold, only=records.OutOfFold.ARRAYS),
            *_fields("baseline/record.json", BaselineRecord),
            *_fields("repeats.json", repeats.Repeats),
            *_fields("RepeatedTrial", repeats.RepeatedTrial),
            *_fields("sessions.jsonl", SessionTime),
            *_fields("outer.json", outer_result.OuterResult),
            *_fields("RoleScore", outer_result.RoleScore),
            *_fields("outer_fold.json", outer_fold.OuterFold),
            *_fields("FoldModel", outer_fold.FoldModel),
            *_fields("prediction_costs.json", prediction_costs.PredictionCosts),
            *_fields("PredictionTime", prediction_costs.PredictionTime),
            "## Bundle",
            "",
            "| path | what it is |",
            "| --- | --- |",
            *(f"| `{name}` | {text} |" for name, text in _BUNDLE.items()),
            "",
            *_fields(manifest.MANIFEST_FILE, manifest.Manifest),
            *(line for part in _parts_of_manifest() for line in _fields(part.__name__, part)),
            *_fields(manifest.REFERENCE_FILE, TrainingReference),
        ]
    )


def python_page() -> str:
    """Return the page of public Python names, whose text mkdocstrings takes from the docstrings."""
    lines = [
        "# Python",
        "",
        "Names, arguments and types as the docstrings give them.",
        "This page is filled in on the documentation site (`make docs`); elsewhere, read the modules that it "
        "names.",
    ]
    for title, intro, names in _public_names():
        if names:
            lines += ["", f"## {title}", "", intro]
            lines += [line for name in names for line in ("", f"::: {name}", *_INHERITED.get(name, ()))]
    return _joined(lines)


# Objects whose page shows what they inherit, too.
_INHERITED: Final = MappingProxyType(
    {"orchestrator.api.result.SearchResult": ("    options:", "      inherited_members: true")}
)


REFERENCE_PAGES: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {
        "reference-search.md": reference_page,
        "reference-commands.md": commands_page,
        "reference-files.md": files_page,
        "reference-exit-codes.md": exit_codes_page,
        "reference-python.md": python_page,
    }
)


def _joined(lines: list[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


def _made_from(what: str) -> str:
    return f"`python docs/generate.py` makes this page from {what}."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _unindented(examples: str) -> list[str]:
    """Examples of a help text as shell lines: what is no command becomes a comment."""
    lines, goes_on = [], False
    for line in examples.rstrip().splitlines():
        is_command = goes_on or line.startswith("  orchestrate ")
        lines.append(line[2:] if is_command else f"# {line.strip()}")
        goes_on = is_command and line.endswith("\\")
    return lines


def _parsers(verb: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The parser of a verb, or those of its actions."""
    parser = _choices(build_parser())[verb]
    actions = _choices(parser)
    if not actions:
        yield f"orchestrate {verb}", parser
    for name, action in actions.items():
        yield f"orchestrate {verb} {name}", action


def _choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _options(title: str, parser: argparse.ArgumentParser, *, shared: bool) -> list[str]:
    """Usage in a line, and a row for each argument; those of a search stand on their own page."""
    own = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    if shared:
        own = [action for action in own if action.dest not in SearchRequest.model_fields]
    places = [_placeholder(action) for action in own if not action.option_strings]
    usage = " ".join([title, *(["[TASK]"] if shared else []), *places, "[OPTION...]"])
    lines = [f"`{usage}`", ""]
    if shared:
        lines += ["Takes every [option of a search](reference-search.md), and:", ""]
    rows = [f"| `{_typed(action)}` | {_cell(_help(parser, action))} |" for action in own]
    return [*lines, "| argument | what it is |", "| --- | --- |", *rows]


def _placeholder(action: argparse.Action) -> str:
    name = str(action.metavar or action.dest.upper())
    several = {"?": f"[{name}]", "*": f"[{name}...]", "+": f"{name}..."}
    return several.get(str(action.nargs), name)


def _typed(action: argparse.Action) -> str:
    if not action.option_strings:
        return _placeholder(action).replace("|", "\\|")
    if action.nargs == 0:
        return ", ".join(action.option_strings)
    value = "|".join(map(str, action.choices)) if action.choices else _placeholder(action)
    return f"{', '.join(action.option_strings)} {value}".replace("|", "\\|")


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = (action.help or "").replace("%(default)s", str(action.default)).replace("%(prog)s", parser.prog)
    return text.replace("%%", "%")


def _errors() -> set[type[OrchestrateError]]:
    """Every error of the packages; the modules that define one are imported."""
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        if _DEFINES_ERROR.search(path.read_text()):
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    found, open_ends = set(), [OrchestrateError]
    while open_ends:
        error = open_ends.pop()
        if error.__module__.split(".")[0] in PACKAGES:
            found.add(error)
        open_ends += error.__subclasses__()
    return found


def _summary(thing: Any) -> str:
    """First sentence of a docstring."""
    text = " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())
    return text.split(". ")[0].rstrip(".")


def _run_paths() -> Iterator[str]:
    """Rows of the files and folders that `RunPaths` names, each once."""
    folder, shown = RunPaths(Path(_RUN)), {_RUN}
    for member in vars(RunPaths).values():
        made = member.fget if isinstance(member, property) else member
        if not inspect.isfunction(made) or not _gives_path(made):
            continue
        needed = [parameter for parameter in inspect.signature(made).parameters if parameter != "self"]
        found = made(folder, *(_STANDS_FOR[parameter] for parameter in needed))
        path = (found.path if isinstance(found, RunPaths) else found).as_posix()
        if path in shown:
            continue
        shown.add(path)
        text = path.removeprefix(f"{_RUN}/")
        for parameter in needed:
            if isinstance(_STANDS_FOR[parameter], int):
                text = text.replace(str(_STANDS_FOR[parameter]), parameter.upper())
        yield f"| `{text}` | {_cell(_summary(member))} |"


def _gives_path(function: Any) -> bool:
    """Whether a method of a run folder gives a path, or the run folder of a search within it."""
    known = {"self", *_STANDS_FOR} >= set(inspect.signature(function).parameters)
    return known and typing.get_type_hints(function).get("return") in (Path, Self)


def _parts_of_manifest() -> list[type[BaseModel]]:
    """Records inside the manifest, in the order of their definition."""
    return [
        part
        for module in (model_input, from_files, manifest_parts, precision_record)
        for part in vars(module).values()
        if inspect.isclass(part) and issubclass(part, BaseModel) and part.__module__ == module.__name__
    ]


def _fields(
    title: str, record: Any, *, intro: str | None = None, only: Container[str] | None = None
) -> list[str]:
    """A section with the fields of a record: name, type, default and the text of its docstring."""
    described = _attributes(record)
    opening = intro or (inspect.getdoc(record) or "").partition("\n\n")[0]
    rows = [
        f"| `{name}` | {_cell(kind)} | {_cell(default)} | {_cell(described.get(name, ''))} |"
        for name, kind, default in _typed_fields(record)
        if only is None or name in only
    ]
    return [
        f"### {title}",
        "",
        " ".join(opening.split()),
        "",
        "| field | type | default | what it is |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
    ]


def _attributes(record: Any) -> dict[str, str]:
    """Texts of the section `Attributes:` of a docstring, by name; those of a record that it extends, too."""
    found: dict[str, str] = {}
    for one in reversed(record.__mro__):
        _, _, text = inspect.cleandoc(one.__doc__ or "").partition("Attributes:\n")
        attributes = _ATTRIBUTE.findall(text.partition("\n\n")[0])
        found |= {name: " ".join(said.split()) for name, said in attributes}
    return found


def _typed_fields(record: Any) -> Iterator[tuple[str, str, str]]:
    """Name, type and default of each field of a pydantic model or a dataclass."""
    hints = typing.get_type_hints(record, include_extras=False)
    if issubclass(record, BaseModel):
        for name, field in record.model_fields.items():
            is_needed = field.is_required()
            yield name, _type_text(hints[name]), "" if is_needed else _default_text(field.default)
    else:
        for field in dataclasses.fields(record):
            is_needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            yield field.name, _type_text(hints[field.name]), "" if is_needed else _default_text(field.default)


def _default_text(value: Any) -> str:
    if value in ("", (), {}) or value is dataclasses.MISSING or value is PydanticUndefined:
        return "empty"
    return f"`{value}`"


def _type_text(kind: Any) -> str:
    """A type in short: `int or None`, `list of str`.

    >>> _type_text(dict[str, float]), _type_text(tuple[int, ...] | None)
    ('map of str to float', 'list of int or None')
    """
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type_text(part) for part in parts))
    if origin is typing.Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin is typing.Annotated:
        return _type_text(parts[0])
    if origin is dict:
        return f"map of {_type_text(parts[0])} to {_type_text(parts[1])}"
    if origin is tuple:
        return f"list of {_type_text(parts[0])}"
    name = (origin or kind).__name__
    return {"Any": "anything", "datetime": "time", "ndarray": "array", "NoneType": "None"}.get(name, name)


def _public_names() -> Iterator[tuple[str, str, list[str]]]:
    face: ModuleType = importlib.import_module("orchestrator")
    offered = [_path_of(getattr(face, name)) for name in getattr(face, "__all__", ())]
    offered = [
        name for name in dict.fromkeys([*offered, _path_of(RankedTrials), _path_of(SearchClaims)]) if name
    ]
    yield "Searching", "What `orchestrator` offers.", offered
    defined = [name for kind in DEFINED if (name := _path_of(kind)) not in offered]
    yield "What you define", "To add a thing, a file holds a constant of one of these types.", defined
    written = [name for kind in RECORDS if (name := _path_of(kind)) not in offered]
    yield "Files", "What a run folder and a bundle hold.", written
    yield "Errors", "All are `OrchestrateError`.", [_path_of(OrchestrateError)]


def _path_of(thing: Any) -> str:
    name = getattr(thing, "__qualname__", "")
    return f"{thing.__module__}.{name}" if name else ""
