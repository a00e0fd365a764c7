"""What the page on simulation shows is run as it stands there, and what pages say of the table is true."""

import re
from pathlib import Path

import pytest
from fenced_blocks import blocks_of

from orchestrator import packaged_table

DOCS = Path(__file__).parents[4] / "docs"
PAGE = blocks_of(DOCS / "how-to-simulate.md")


@pytest.mark.long
def test_the_code_of_the_page_runs_and_prints_what_the_page_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = [block.text for block in PAGE if block.language == "python"]
    assert len(code) == 6
    found: dict[str, object] = {}
    for text in code:
        exec(text, found)  # the page's own code, block after block
    printed = capsys.readouterr().out.splitlines()
    (shown,) = [block.text for block in PAGE if block.language == "text"]
    assert printed[-1] == shown.strip()
    assert len(printed) == 1 + 8 + 1 + 2 + 1 + 1 + 2 + 1
    assert re.fullmatch(r"regret 0\.\d+ with points of the other sets, 0\.\d+ without", printed[12])


def test_the_page_of_performance_counts_what_is_in_the_table() -> None:
    table, text = packaged_table(), (DOCS / "performance.md").read_text()
    said = [int(count) for count in re.findall(r"(\d+) configurations on INFN", text)]
    assert said
    assert set(said) == {len(table.settings)}
