"""Every command of the page on published collections is run, on the small tree of its collection."""

import shlex
from pathlib import Path

import pytest
from collections_trees import TREES
from page_commands import SHELL, commands_of

from orchestrator.cli.main import main

pytestmark = pytest.mark.slow

PAGE = [block for block in SHELL if block.page.name == "how-to-collections.md"]
PREPARING = [
    words[1:]
    for block in PAGE
    for words in commands_of(block)
    if words[1:3] == ["data", "prepare"] and len(words) > 4
]


@pytest.mark.parametrize("words", PREPARING, ids=shlex.join)
def test_a_command_prepares_a_set(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name, folder, out = words[2], Path(words[3]), Path(words[words.index("--out") + 1])
    TREES[name].build(folder)
    assert main([*words, "--workers", "1"]) in (0, 1)  # 1: the traps of the tree are named, the rest is there
    assert (out / "set.json").is_file()


def test_the_page_has_a_section_and_a_command_for_every_collection() -> None:
    assert {words[2] for words in PREPARING} == set(TREES)
