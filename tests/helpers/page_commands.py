"""Commands of the documentation's pages, and how each is checked.

A block of commands is a fence of the language `sh`. It is one of three:

    run      `<!-- run -->` stands above it: `tests/integration/test_pages.py` runs the block as it stands
    not run  `<!-- not run: REASON -->` stands above it
    parsed   nothing stands above it: every command is understood by what would run it
"""

import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from fenced_blocks import Block, blocks_of

from cluster.render import render
from orchestrator.cli.main import build_parser
from orchestrator.cli.search import request_of
from search_spaces.recipes import recipe_named

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md")))
BLOCKS = tuple(block for page in PAGES for block in blocks_of(page))
SHELL = tuple(block for block in BLOCKS if block.language == "sh")

_NOT_RUN = re.compile(r"^not run: \w.*")
_ASSIGNMENT = re.compile(r"^\w+=")
_TAKEN_INTO_A_VARIABLE = re.compile(r"^\w+=\$\((.*)\)$")


def status(block: Block) -> str:
    """`run`, `not run` or `parsed`; an error for a comment that is none of these."""
    if block.comment == "run":
        return "run"
    if block.comment.startswith("not run"):
        assert _NOT_RUN.match(block.comment), f"{block}: say why, <!-- not run: REASON -->"
        return "not run"
    return "parsed"


def commands_of(block: Block) -> list[list[str]]:
    """Commands of a block, word by word, without comments, redirections and variables that are set."""
    text = block.text.replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        words = shlex.split(_TAKEN_INTO_A_VARIABLE.sub(r"\1", line), comments=True)
        while words and _ASSIGNMENT.match(words[0]):
            words = words[1:]
        for end in (place for place, word in enumerate(words) if word in (">", "|")):
            words = words[:end]
            break
        while words:
            cut = words.index("&&") if "&&" in words else len(words)
            found.append(words[:cut])
            words = words[cut + 1 :]
    return found


def check(words: list[str]) -> None:
    """Check one command; an error says what is wrong with it.

    Raises:
        AssertionError: If it is not understood, or nothing here can tell.
    """
    program = Path(words[0]).name if words[0].startswith(".venv/bin/") else words[0]
    assert program in CHECKS, f"no check for {program!r}: write one, or mark the block as not run"
    CHECKS[program](words)


def _orchestrate(words: list[str]) -> None:
    try:
        parsed = build_parser().parse_args(words[1:])
    except SystemExit as error:
        raise AssertionError(f"orchestrate does not understand {shlex.join(words)}") from error
    own_task = getattr(parsed, "own_task", None)
    has_files = own_task is None or (ROOT / own_task).is_file()  # an example may name a file of the reader's
    if parsed.verb in ("search", "plan") and parsed.config is None and has_files:
        request = request_of(parsed)
        for recipe in request.recipes:
            recipe_named(recipe, request.task)
    if parsed.verb == "recipes" and parsed.action == "show":
        recipe_named(parsed.recipe, parsed.task)


def _make(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([\w-]+):", makefile, flags=re.MULTILINE)
    variables = re.findall(r"^(\w+) \?=", makefile, flags=re.MULTILINE)
    for word in words[1:]:
        name, is_variable, _ = word.partition("=")
        assert name in (variables if is_variable else targets), f"the Makefile has no {word}"


def _tensorboard(words: list[str]) -> None:
    assert words[1] == "--logdir", words


def _python(words: list[str]) -> None:
    """A module of ours, a script of ours, or a line of the Makefile."""
    if words[1] == "-m" and words[2].startswith("benchmarks."):
        source = (ROOT / f"{words[2].replace('.', '/')}.py").read_text()
        assert all(f'"{word}"' in source for word in words if word.startswith("--")), words
    elif words[1:3] == ["-m", "cluster.render"]:
        flags, values = words[4::2], words[5::2]
        assert set(flags) == {"--set"}, words
        assert render((ROOT / words[3]).read_text(), values)
    elif words[1].endswith(".py"):
        assert (ROOT / words[1]).is_file(), words
    else:
        _as_in_the_makefile(words)


def _as_in_the_makefile(words: list[str]) -> None:
    """A line that `make` runs too, variables filled in."""
    lines = (ROOT / "Makefile").read_text().replace("$(BIN)", ".venv/bin").replace("$(PYTHON)", "python3")
    lines = lines.replace(" --quiet --disable-pip-version-check", "")
    run = [
        shlex.split(line)
        for line in lines.splitlines()
        if line.startswith("\t") and "'import sys" not in line
    ]
    assert words in run, f"make does not run {shlex.join(words)}"


CHECKS: Mapping[str, Callable[[list[str]], None]] = MappingProxyType(
    {
        "orchestrate": _orchestrate,
        "make": _make,
        "tensorboard": _tensorboard,
        "python": _python,
        "python3": _python,
        "ruff": _as_in_the_makefile,
        "mypy": _as_in_the_makefile,
        "lint-imports": _as_in_the_makefile,
    }
)
