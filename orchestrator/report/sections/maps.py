"""Relevance maps: the pictures that lie in the run's folder of explanations, a bounded number of them."""

from pathlib import Path
from typing import Final

from orchestrator.report.facts import RunFacts
from orchestrator.report.section import Content, Section, paragraph
from orchestrator.reporting.html_page import as_data_url, text

FOLDER: Final = "explanations"
_MOST: Final = 24
_MOST_BYTES: Final = 4_000_000  # of all pictures together


def _build(facts: RunFacts) -> Content | None:
    files = sorted((facts.run.path / FOLDER).rglob("*.png"))
    if not files or not facts.with_pictures:
        return None
    shown, size = [], 0
    for file in files[:_MOST]:
        size += file.stat().st_size
        if size > _MOST_BYTES:
            break
        shown.append(file)
    left = len(files) - len(shown)
    more = f" {left} more lie in the folder {FOLDER} of the run." if left else ""
    said = paragraph(f"What the model looked at, as it was computed before.{more}")
    return Content(said + f'<div class="grid">{"".join(map(_figure, shown))}</div>')


def _figure(file: Path) -> str:
    name = text(f"{file.parent.name}/{file.stem}" if file.parent.name != FOLDER else file.stem)
    return (
        f'<figure><img alt="relevance map {name}" style="max-width:100%;height:auto" '
        f'src="{as_data_url(file.read_bytes())}"><figcaption>{name}</figcaption></figure>'
    )


MAPS = Section(105, "maps", "What it looked at", _build)
