"""A section of the report: one file of `orchestrator.report.sections` defines it, no other names it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.report.facts import RunFacts
from orchestrator.reporting.charts import Figure
from orchestrator.reporting.html_page import text


@dataclass(frozen=True, slots=True)
class Content:
    """What a section says.

    Attributes:
        html: Its text, tables and figures.
        figures: The figures in it, which are also written as files of their own.
    """

    html: str
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the report.

    Attributes:
        place: Its place on the page, ascending.
        name: Its address on the page, such as `history`.
        title: Its heading.
        build: Makes it from the facts of a run; None where a run of this kind has no such section.
    """

    place: int
    name: str
    title: str
    build: Callable[[RunFacts], Content | None]


def with_figures(before: str, figures: Sequence[Figure], after: str = "") -> Content:
    """Return a section whose figures stand side by side where there is room."""
    parts = "".join(
        f"<figure>{figure.svg()}<figcaption><b>{text(figure.title)}.</b> {text(figure.description)}"
        "</figcaption></figure>"
        for figure in figures
    )
    return Content(f'{before}<div class="grid">{parts}</div>{after}', tuple(figures))


def paragraph(words: str, kind: str = "") -> str:
    """Return a paragraph of plain text; `kind` is `soft`, `warn` or nothing."""
    return f'<p class="{kind}">{text(words)}</p>' if kind else f"<p>{text(words)}</p>"
