"""The files that a visitor looks for are there and in their usual forms."""

import re
import tomllib
from pathlib import Path

import pytest

from trainables.common.plain_yaml import load_yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_citation_has_what_its_schema_asks_for_and_agrees_with_the_package() -> None:
    citation = load_yaml((ROOT / "CITATION.cff").read_bytes())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert citation["title"] == PROJECT["name"]
    assert str(citation["version"]) == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["type"] == "software"


def test_everyone_who_is_cited_has_a_name() -> None:
    citation = load_yaml((ROOT / "CITATION.cff").read_bytes())
    authors = [*citation["authors"], *(one for work in citation["references"] for one in work["authors"])]
    assert len(authors) > 1
    assert all("name" in one or {"family-names", "given-names"} <= set(one) for one in authors)


def test_the_licence_is_the_one_that_the_package_names() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()


def test_the_changes_keep_their_form() -> None:
    headings = re.findall(r"^(#+) (.*)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert headings[:2] == [("#", "Changelog"), ("##", "[Unreleased]")]
    versions = [text for level, text in headings if level == "##"]
    assert all(re.fullmatch(r"\[Unreleased\]|\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", text) for text in versions)
    kinds = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
    assert [text for level, text in headings if level == "###" and text not in kinds] == []


@pytest.mark.parametrize("kind", ["Added", "Changed", "Removed", "Fixed", "Security"])
def test_each_kind_of_change_stands_once_in_a_version_and_holds_lines(kind: str) -> None:
    for version in re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]:
        parts = re.split(rf"^### {kind}$", version, flags=re.MULTILINE)
        assert len(parts) <= 2, f"### {kind} stands twice in {version.splitlines()[0]}"
        assert all(part.lstrip().startswith("- ") for part in parts[1:])
