"""Every command of a page is run by a test, understood by what would run it, or marked as not run.

The id of each test says which: `README.md:49 parsed`.
"""

import re
import shlex
from pathlib import Path

import pytest
from fenced_blocks import Block, blocks_of
from page_commands import BLOCKS, PAGES, SHELL, check, commands_of, status

from orchestrator.cli.main import VERBS, build_parser

INLINE = re.compile(r"`(orchestrate [^`]+)`")


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
    if page.name in ("CHANGELOG.md", "lab_log.md"):
        return  # what was true on a day stays as it was written
    for typed in INLINE.findall(page.read_text().replace("\n", " ")):
        verb = typed.split()[1]
        flags = re.findall(r"(?<= )--[a-z-]+", typed)
        assert [flag for flag in flags if flag not in flags_of(verb)] == [], typed


def flags_of(verb: str) -> set[str]:
    """Every option of a verb and of its actions."""
    parsers, found = [next(iter(build_parser()._subparsers._group_actions)).choices[verb]], set()
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
