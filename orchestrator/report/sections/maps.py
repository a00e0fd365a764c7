"""Relevance maps: the pictures that lie in the run's folder of explanations, a bounded number of them."""

from pathlib import Path
from typing import Final

from orchestrator.report.facts import RunFacts
from orchestrator.report.section import Content, Section, paragraph
from orchestrator.reporting.html_page import as_data_url, table, text
from results.relevance.explained_folder import ENDING, EXPLANATIONS_FILE
from results.relevance.explanation import Explanations

_MOST: Final = 24
_MOST_BYTES: Final = 4_000_000  # of all pictures together


def _build(facts: RunFacts) -> Content | None:
    folder = facts.run.explanations
    files = sorted(folder.rglob("*.png"))
    if not files or not facts.with_pictures:
        return None
    shown, size = [], 0
    for file in files[:_MOST]:
        size += file.stat().st_size
        if size > _MOST_BYTES:
            break
        shown.append(file)
    left = len(files) - len(shown)
    more = f" {left} more lie in the folder {folder.name} of the run." if left else ""
    said = paragraph(f"What the model looked at, as it was computed before.{more}")
    figures = "".join(_figure(file, folder) for file in shown)
    return Content(said + _froc(facts) + f'<div class="grid">{figures}</div>')


def _froc(facts: RunFacts) -> str:
    """Share of the lesions that each model marks, by its rate of false marks; empty without marks."""
    rows, rates = [], list[float]()
    for file in sorted(facts.run.explanations.rglob(EXPLANATIONS_FILE)):
        try:
            found = Explanations.model_validate_json(file.read_bytes())
        except (OSError, ValueError):
            continue  # written by another version, or cut off; its pictures stand all the same
        if found.found_at:
            rates = rates or list(found.found_at)
            shares = [found.found_at.get(rate) for rate in rates]
            cells = ["-" if share is None else f"{share:.0%}" for share in shares]
            rows.append((f"{found.model}, {found.method}", str(len(found.images) - found.left_out), *cells))
    head = ("model and method", "images", *(f"{rate:g} false marks" for rate in rates))
    return table("Lesions that are marked, by false marks an image (FROC)", head, rows) if rows else ""


def _figure(file: Path, folder: Path) -> str:
    own = file.name.removesuffix(ENDING).removesuffix(".png")
    name = text(f"{file.parent.name}/{own}" if file.parent != folder else own)
    return (
        f'<figure><img alt="relevance map {name}" style="max-width:100%;height:auto" '
        f'src="{as_data_url(file.read_bytes())}"><figcaption>{name}</figcaption></figure>'
    )


MAPS = Section(105, "maps", "What it looked at", _build)
