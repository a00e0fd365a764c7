"""The documentation site is whole and needs no other address. Built where `make docs` has been."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

pytest.importorskip("mkdocs", reason="`make docs` installs what builds the site")

ROOT = Path(__file__).parents[2]
LOADED = re.compile(
    r"""<(?:script|img|iframe)[^>]*\ssrc=["']?([^"'\s>]+)|<link[^>]*\shref=["']?([^"'\s>]+)"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return folder


def test_every_page_is_built(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    built = {path.relative_to(site) for path in site.rglob("*.html")}
    named = {Path(str(page).replace("README", "index")) for page in pages}
    assert named <= built
    assert built >= {Path("index.html"), Path("contributing.html"), Path("changelog.html")}


def test_no_page_loads_anything_from_another_address(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        loaded = [script or style for script, style in LOADED.findall(page.read_text())]
        assert loaded
        assert [address for address in loaded if re.match(r"(https?:)?//", address)] == [], page


def test_no_style_loads_anything_from_another_address(site: Path) -> None:
    styles = [*site.rglob("*.css"), *site.rglob("*.svg")]
    assert len(styles) > 3
    for style in styles:
        assert re.findall(r"url\(\s*[\"']?(?:https?:)?//[^)]*\)|@import[^;]*//", style.read_text()) == [], (
            style
        )


def test_the_python_page_is_filled_in(site: Path) -> None:
    text = (site / "reference-python.html").read_text()
    assert ":::" not in text
    assert "Builds the stages with random weights" in text


def test_the_pages_of_this_project_lead_to_each_other_within_the_site(site: Path) -> None:
    text = (site / "index.html").read_text()
    assert 'href="how-to-data.html"' in text
    assert 'href="contributing.html"' in text
    assert "docs/how-to" not in re.sub(r"<code>.*?</code>", "", text)


def test_no_list_or_table_is_shown_as_plain_text(site: Path) -> None:
    """Markdown of the site wants four spaces within a list, and an empty line before a list or table."""
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        paragraphs = re.findall(r"<p>(.*?)</p>", page.read_text(), flags=re.DOTALL)
        broken = [
            text for text in paragraphs if re.search(r"^(- |\d+\. |\| )|```|<!-- made", text, re.MULTILINE)
        ]
        assert broken == [], page
