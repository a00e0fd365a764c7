"""What the documentation takes from the code, made anew: `python docs/generate.py`.

A page holds `<!-- made: NAME -->` and `<!-- end -->`; what stands between them is replaced. Reference pages
and diagrams are made whole. A test compares, so that a page cannot say something else than the code.
"""

import ast
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from diagrams import DIAGRAMS
from reference_pages import PACKAGES, REFERENCE_PAGES

from orchestrator.cli.main import EXIT_CODES
from orchestrator.study.pruners import pruners
from orchestrator.study.samplers import samplers
from results.ensembles.methods import METHODS
from results.relevance.methods import RELEVANCE_METHODS
from trainables.config.tasks import TASKS
from trainables.data.collections import COLLECTIONS
from trainables.data.sources import SOURCES
from trainables.models.registry import BACKBONES, DEFAULT_BACKBONES, OPTIONAL_BACKBONES
from trainables.models.stages import Backbone
from trainables.relevance.methods import GRADIENT_METHODS

DOCS: Final = Path(__file__).parent
ROOT: Final = DOCS.parent
_NAME_CHARACTERS: Final = 17  # of the names of packages beside their floors
_FLOOR_CHARACTERS: Final = 110
_MADE: Final = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def rooms() -> str:
    """Every folder with its docstring, and every module in it with the first sentence of its own."""
    return "\n".join(line for package in PACKAGES for line in _room(ROOT / package))


def floors() -> str:
    """Floors of each package, highest first, as import-linter holds them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [one for one in contracts if one["type"] == "layers"]
    of_package = {one["containers"][0]: one["layers"] for one in layers if "containers" in one}
    packages = next(one["layers"] for one in layers if "containers" not in one)
    parts = [
        "\n\n".join("\n".join(_floors_of(package, of_package[package])) for package in row.split(" | "))
        for row in packages
    ]
    return "\n".join(["```text", f"\n{'-' * _FLOOR_CHARACTERS}\n".join(parts), "```"])


def _floors_of(package: str, layers: list[str]) -> Iterator[str]:
    name = f"{package}/"
    for layer in layers:
        for line in textwrap.wrap(
            layer.replace("(", "").replace(")", ""), _FLOOR_CHARACTERS - _NAME_CHARACTERS
        ):
            yield f"{name:{_NAME_CHARACTERS}}{line}"
            name = ""


def tasks() -> str:
    """Tasks with their classes and question."""
    rows = [f"| `{name}` | {', '.join(task.classes)} | {task.question} |" for name, task in TASKS.items()]
    return "\n".join(["| task | classes | question |", "| --- | --- | --- |", *rows])


def sources() -> str:
    """Data sources with what they read."""
    rows = [f"| `{name}` | {source.accepts} |" for name, source in SOURCES.items()]
    return "\n".join(["| source | reads |", "| --- | --- |", *rows])


def collections() -> str:
    """Collections with what they read, the sizes of what they become, and how a search takes them."""
    how = {True: "as it is", False: "prepares it"}
    rows = [
        f"| `{name}` | {one.title} | {one.accepts} | {one.own_sizes or '-'} | {how[one.is_read_directly]} |"
        for name, one in COLLECTIONS.items()
    ]
    head = [
        "| collection | what it is | reads | own size | `search --data PATH` |",
        "| --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *rows])


def relevance() -> str:
    """Relevance methods with what a map shows and what they need."""
    rows = [
        f"| `{one.name}` | {one.about} | {needs} | {one.source} |"
        for needs, methods in (("predictions", RELEVANCE_METHODS), ("the net", GRADIENT_METHODS))
        for one in methods.values()
    ]
    head = ["| method | a map shows | needs | source |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *rows])


def _weights_of(backbone: Backbone) -> str:
    if backbone.is_fixed:
        return "none"
    return "ImageNet" if backbone.has_imagenet_weights else "from scratch"


def _tried(name: str) -> str:
    if name in OPTIONAL_BACKBONES:
        return "by itself, where installed"
    return "by itself" if name in DEFAULT_BACKBONES else "on request"


def backbones() -> str:
    """Backbones with their paper and what a search does with them."""
    rows = [
        f"| `{name}` | {backbone.source} | {_weights_of(backbone)} | {_tried(name)} |"
        for name, backbone in BACKBONES.items()
    ]
    return "\n".join(["| backbone | source | weights | tried |", "| --- | --- | --- | --- |", *rows])


def methods() -> str:
    """Ensemble methods, simplest first, with the first sentence of their module."""
    rows = []
    for name, method in METHODS.items():
        path = ROOT / f"{method.fit.__module__.replace('.', '/')}.py"
        rows.append(f"| `{name}` | {_summary(path).partition(': ')[2]} |")
    return "\n".join(["| method | what it does |", "| --- | --- |", *rows])


def sampler_table() -> str:
    """Samplers with what they do and whether they take several metrics."""
    rows = [
        f"| `{name}` | {sampler.about} | {'yes' if sampler.takes_many_metrics else 'no'} |"
        for name, sampler in sorted(samplers().items())
    ]
    return "\n".join(["| sampler | what it proposes | several metrics |", "| --- | --- | --- |", *rows])


def pruner_table() -> str:
    """Pruners with what they do and the share of trials that the plan lets outlive a comparison."""
    rows = [
        f"| `{name}` | {pruner.about} | {pruner.survival:.0%} |" for name, pruner in sorted(pruners().items())
    ]
    head = ["| pruner | what it does | share that goes on in a plan |", "| --- | --- | --- |"]
    return "\n".join([*head, *rows])


def decisions() -> str:
    """Decisions with their status, newest last."""
    rows = []
    for path in sorted((DOCS / "adr").glob("[0-9]*.md")):
        lines = path.read_text().splitlines()
        number, _, title = lines[0].removeprefix("# ").partition(". ")
        status = next(line for line in lines if line.startswith("Status: ")).removeprefix("Status: ")
        rows.append(f"| {number} | [{title}]({path.name}) | {status.rstrip('.')} |")
    return "\n".join(["| | decision | status |", "| --- | --- | --- |", *rows])


def exit_codes() -> str:
    """Exit codes of the command line."""
    rows = [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    return "\n".join(["| code | meaning |", "| --- | --- |", *rows])


MADE: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {
        "floors": floors,
        "rooms": rooms,
        "tasks": tasks,
        "sources": sources,
        "collections": collections,
        "backbones": backbones,
        "relevance": relevance,
        "methods": methods,
        "samplers": sampler_table,
        "pruners": pruner_table,
        "decisions": decisions,
        "exit_codes": exit_codes,
    }
)


def made(page: str) -> str:
    """Return a page with every marked part made anew."""
    return _MADE.sub(lambda part: f"{part[1]}{MADE[part[2]]()}\n{part[3]}", page)


def _room(folder: Path, depth: int = 0) -> Iterator[str]:
    indent = "    " * depth
    name = folder.relative_to(ROOT) if depth == 0 else folder.name
    yield f"{indent}- **{name}/** {_summary(folder / '__init__.py')}"
    for path in sorted(folder.iterdir()):
        if path.suffix == ".py" and path.name != "__init__.py":
            yield f"{indent}    - `{path.name}` {_summary(path)}"
    for path in sorted(folder.iterdir()):
        if path.is_dir() and (path / "__init__.py").is_file():
            yield from _room(path, depth + 1)


def _summary(path: Path) -> str:
    """First sentence, or first paragraph, of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return " ".join(text.partition("\n\n")[0].split())


def whole() -> dict[Path, str]:
    """Files that are made whole, with their text."""
    pages = {DOCS / name: make() for name, make in REFERENCE_PAGES.items()}
    return pages | {DOCS / "images" / name: draw() for name, draw in DIAGRAMS.items()}


def main() -> None:
    """Write every page anew."""
    for path, text in whole().items():
        path.write_text(text)
    for path in (ROOT / "README.md", *DOCS.glob("**/*.md")):
        text = path.read_text()
        if made(text) != text:
            path.write_text(made(text))


if __name__ == "__main__":
    main()
