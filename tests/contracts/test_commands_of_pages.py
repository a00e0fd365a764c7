"""Every command of a page is run by a test, understood by what would run it, or marked as not run.

The id of each test says which: `README.md:49 parsed`.
"""

import argparse
import re
import shlex
from pathlib import Path

import pytest
from fenced_blocks import Block, blocks_of
from page_commands import BLOCKS, PAGES, ROOT, SHELL, check, commands_of, status

from orchestrator.cli.main import VERBS, build_parser

pytestmark = pytest.mark.slow

INLINE = re.compile(r"`(orchestrate [^`]+)`")
BARE = re.compile(r"(?<!`)`(--[^`]+)`")
FLAG = re.compile(r"(?:^|(?<= ))--[a-z-]+")
OF_OTHERS = {"--exclusive"}  # of Slurm
OF_THE_PAST = ("CHANGELOG.md", "lab_log.md")  # what was true on a day stays as it was written


def shell(text: str, comment: str = "") -> Block:
    return Block(Path("page.md"), 1, "sh", "", "", comment, text)


@pytest.mark.parametrize("block", SHELL, ids=lambda block: f"{block} {status(block)}")
def test_every_command_is_understood_run_or_marked(block: Block) -> None:
    assert commands_of(block) != []
    if status(block) == "parsed":
        for words in commands_of(block):
            check(words)


def test_the_pages_hold_commands_of_every_kind() -> None:
    found = {status(block) for block in SHELL}
    assert found == {"run", "not run", "parsed"}
    commands = [words for block in SHELL if status(block) != "not run" for words in commands_of(block)]
    shown = {words[1] for words in commands if words[0] == "orchestrate"}
    assert shown == set(VERBS), "a verb that no page shows"


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_names_its_language(block: Block) -> None:
    known = {"sh", "text", "python", "diff", "yaml", "json"}
    assert block.language in known, f"{block}: sh for commands, text for what they print"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "python"], ids=str)
def test_python_of_a_page_compiles(block: Block) -> None:
    compile(block.text, str(block), "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_within_sentences_exist(page: Path) -> None:
    if page.name in OF_THE_PAST:
        return
    for typed in INLINE.findall(without_blocks(page.read_text())):
        known = flags_of(next(iter(build_parser()._subparsers._group_actions)).choices[typed.split()[1]])
        assert unknown_flags(typed, known) == [], typed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_that_stand_by_themselves_exist(page: Path, known_flags: set[str]) -> None:
    if page.name in OF_THE_PAST or page.parent.name == "adr":
        return
    for typed in BARE.findall(without_blocks(page.read_text())):
        assert unknown_flags(typed, known_flags) == [], typed


def test_an_option_that_does_not_exist_is_seen(known_flags: set[str]) -> None:
    text = "`--recipes` names\n```sh\nmake --quick\n```\nand `--trials 3 --set x=--y`"
    typed = BARE.findall(without_blocks(text))
    assert [flag for one in typed for flag in unknown_flags(one, known_flags)] == ["--recipes"]


@pytest.fixture(scope="module")
def known_flags() -> set[str]:
    """Every option of every verb, of the benchmarks, and of other programs that pages speak of."""
    benchmarks = "".join(path.read_text() for path in (ROOT / "benchmarks").rglob("*.py"))
    return flags_of(build_parser()) | set(re.findall(r'"(--[a-z-]+)"', benchmarks)) | OF_OTHERS


def without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL).replace("\n", " ")


def unknown_flags(typed: str, known: set[str]) -> list[str]:
    return [flag for flag in FLAG.findall(typed) if flag not in known]


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    """Every option of a parser and of its verbs or actions."""
    parsers, found = [parser], set()
    while parsers:
        for action in parsers.pop()._actions:
            found |= set(action.option_strings)
            if isinstance(action.choices, dict):
                parsers += action.choices.values()
    return found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("orchestrate search idc --trails 3", "does not understand"),
        ("orchestrate serach idc", "does not understand"),
        ("make everything", "no everything"),
        ("curl example.org", "no check for 'curl'"),
        ("python3 -m venv elsewhere", "make does not run"),
    ],
)
def test_a_command_that_would_fail_is_seen(text: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check(shlex.split(text))


def test_a_block_is_read_as_a_shell_reads_it() -> None:
    text = "A=1 orchestrate plan idc \\\n    --trials 3  # quick\n\nmake check && make test > log.txt\n"
    assert commands_of(shell(text)) == [
        ["orchestrate", "plan", "idc", "--trials", "3"],
        ["make", "check"],
        ["make", "test"],
    ]


def test_not_run_needs_a_reason() -> None:
    assert status(shell("", "not run: needs a second machine")) == "not run"
    with pytest.raises(AssertionError, match="say why"):
        status(shell("", "not run"))


def test_a_fence_that_is_not_closed_is_named(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("text\n\n```sh\nmake\n")
    with pytest.raises(AssertionError, match=r"page\.md:3 is not closed"):
        blocks_of(tmp_path / "page.md")
