"""Fenced blocks of pages in Markdown: language, title, section and the comment that stands above them."""

import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^( *)```(\w*)(.*)$")
_TITLE = re.compile(r'title="([^"]+)"')
_COMMENT = re.compile(r"^ *<!-- (.*) -->$")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: File that it stands in.
        line: 1-based line of its opening fence.
        language: Word after the opening fence, such as `sh`; empty without one.
        title: File that the block is, from `title="..."`; empty without one.
        section: Heading above it, without `#`.
        comment: Text of an HTML comment directly above it; empty without one.
        text: Its lines without the indentation of the fence.
    """

    page: Path
    line: int
    language: str
    title: str
    section: str
    comment: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Blocks of a page, in order; an error names a fence that is not closed."""
    found, section, above = [], "", ""
    lines = page.read_text().splitlines()
    position = 0
    while position < len(lines):
        line = lines[position]
        fence = _FENCE.match(line)
        if fence:
            end = position + 1
            while end < len(lines) and lines[end].strip() != "```":
                end += 1
            assert end < len(lines), f"{page.name}:{position + 1} is not closed"
            inside = [text.removeprefix(fence[1]) for text in lines[position + 1 : end]]
            title = _TITLE.search(fence[3])
            comment = _COMMENT.match(above)
            found.append(
                Block(
                    page,
                    position + 1,
                    fence[2],
                    title[1] if title else "",
                    section,
                    comment[1] if comment else "",
                    "\n".join(inside) + "\n",
                )
            )
            position, above = end + 1, ""
            continue
        if line.startswith("#"):
            section = line.lstrip("#").strip()
        above = line if line.strip() else above
        position += 1
    return found
