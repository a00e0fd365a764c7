"""What the documentation site needs besides the pages of this folder; mkdocs calls these functions.

The first page, how to contribute and the changes lie above this folder, where a visitor of the repository
looks for them. A notebook becomes a page of its cells. An entry of the navigation with a star is filled in.
"""

import fnmatch
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT: Final = Path(__file__).parents[1]
PAGES_ABOVE: Final = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_LINK: Final = re.compile(r"(\]\()((?:\.\./)*)([\w./-]+?)((?:#[\w-]+)?\))")


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the pages that lie above this folder, and those of notebooks; then fill in the navigation."""
    from mkdocs.structure.files import File

    for above, page in PAGES_ABOVE.items():
        text = moved_links((ROOT / above).read_text())
        files.append(File.generated(config, page, content=text))
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        text = notebook_page(json.loads(Path(str(notebook.abs_src_path)).read_text()))
        files.append(File.generated(config, notebook.src_uri.replace(".ipynb", ".md"), content=text))
    pages = [file.src_uri for file in files.documentation_pages()]
    config.nav = filled_in(config.nav or [], pages)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links to the pages above this folder lead to where the site has them."""
    up = "../" * page.file.src_uri.count("/")

    def moved(link: re.Match[str]) -> str:
        target = link[3]
        is_above = link[2] == f"{up}../"
        if is_above and target in PAGES_ABOVE:
            return f"{link[1]}{up}{PAGES_ABOVE[target]}{link[4]}"
        return link[0].replace(".ipynb", ".md")

    return _LINK.sub(moved, markdown)


def moved_links(text: str) -> str:
    """Return a page from above this folder with its links as they are within it.

    >>> moved_links("[a](docs/how-to-data.md), [b](docs/adr/README.md#index), [c](CONTRIBUTING.md)")
    '[a](how-to-data.md), [b](adr/README.md#index), [c](contributing.md)'
    """

    def moved(link: re.Match[str]) -> str:
        target = PAGES_ABOVE.get(link[3], link[3].removeprefix("docs/"))
        return f"{link[1]}{link[2]}{target}{link[4]}"

    return _LINK.sub(moved, text)


def notebook_page(notebook: dict[str, Any]) -> str:
    """Return the cells of a notebook as a page in Markdown."""
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"]).strip()
        if text:
            parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def filled_in(entries: list[Any], pages: list[str]) -> list[Any]:
    """Return navigation in which an entry with a star stands for all pages that no other entry names.

    >>> filled_in([{"How to": ["how-to-a.md", "how-to-*.md"]}], ["how-to-a.md", "how-to-b.md", "index.md"])
    [{'How to': ['how-to-a.md', 'how-to-b.md']}]
    """
    return _filled(entries, sorted(set(pages) - set(_named(entries))))


def _named(entries: Any) -> list[str]:
    if isinstance(entries, str):
        return [entries]
    parts = entries.values() if isinstance(entries, dict) else entries
    return [name for part in parts for name in _named(part)]


def _filled(entries: list[Any], unnamed: list[str]) -> list[Any]:
    filled: list[Any] = []
    for entry in entries:
        if isinstance(entry, str) and "*" in entry:
            filled += fnmatch.filter(unnamed, entry)
        elif isinstance(entry, dict):
            filled.append(
                {
                    title: _filled(part, unnamed) if isinstance(part, list) else part
                    for title, part in entry.items()
                }
            )
        else:
            filled.append(entry)
    return filled
