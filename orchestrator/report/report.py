"""The report of a search as one HTML page, with its figures as files of their own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.report import sections
from orchestrator.report.checklist import Checklist, checklist_named, checklist_section
from orchestrator.report.facts import RunFacts
from orchestrator.report.section import Section
from orchestrator.reporting.charts import Figure
from orchestrator.reporting.html_page import page, text
from results.run.run_folder import RunFolder
from results.run.split_labels import marks
from trainables.common.discovery import constants_of
from trainables.common.files import write_atomically


@dataclass(frozen=True, slots=True)
class Report:
    """A report that was made; nothing is written yet.

    Attributes:
        html: The page.
        figures: Its figures.
        checklists: The checklists that were asked for, as they were filled.
        claim: The score that the search may claim, as plain values; empty without a complete trial.
    """

    html: str
    figures: tuple[Figure, ...]
    checklists: tuple[Checklist, ...]
    claim: dict[str, Any]

    def write_figures(self, folder: Path) -> list[Path]:
        """Write each figure as SVG and its numbers as CSV; returns the files.

        Raises:
            OSError: If the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for figure in self.figures:
            for suffix, content in (("svg", figure.svg_file()), ("csv", figure.csv())):
                path = folder / f"{figure.name}.{suffix}"
                write_atomically(path, content)
                written.append(path)
        return written


def make_report(
    run: RunFolder,
    *,
    checklists: Sequence[str] = (),
    with_pictures: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Make the report of a run, finished or not.

    Args:
        run: The run folder.
        checklists: Names of the checklists that stand at its end.
        with_pictures: Show small copies of images, as far as the search allowed pictures.
        say: Told which section is being made.

    Raises:
        RunError: If it is no run folder.
        UnknownNameError: If there is no such checklist.
    """
    for name in checklists:
        checklist_named(name)  # before the work, which takes seconds
    facts = RunFacts(run, with_pictures=with_pictures)
    parts, figures, contents = [_head(facts)], list[Figure](), dict[str, str]()
    for section in all_sections():
        say(f"report: {section.title}")
        content = section.build(facts)
        if content is not None:
            contents[section.name] = section.title
            parts.append(_part(section.name, section.title, content.html))
            figures += content.figures
    filled = tuple(checklist_named(name).fill(facts) for name in checklists)
    for one in filled:
        contents[one.name] = one.title
        parts.append(_part(one.name, one.title, checklist_section(one)))
    title = f"{facts.search.task}/{facts.search.name}"
    return Report(page(title, parts, contents=contents), tuple(figures), filled, _claim(facts))


def all_sections() -> list[Section]:
    """Return all sections in their order on the page."""
    return sorted(constants_of(sections, Section), key=lambda section: section.place)


def _head(facts: RunFacts) -> str:
    search = facts.search
    mark = marks(is_synthetic=search.is_synthetic, split=search.split_name)
    state = "" if facts.records else " No trial has ended yet."
    return (
        f"<header><h1>{text(mark)}{text(search.task)}/{text(search.name)}</h1>"
        f'<p class="soft">Report of a search that was started on {search.started_at:%Y-%m-%d}.{state} '
        "Research only: not a medical device.</p></header>"
    )


def _part(name: str, title: str, html: str) -> str:
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{text(title)}</h2>\n{html}</section>'


def _claim(facts: RunFacts) -> dict[str, Any]:
    found = facts.headline
    if found is None:
        return {}
    interval = found.interval
    return {
        "model": found.model,
        "metric": facts.objectives.metrics[0],
        "value": None if interval is None else interval.estimate,
        "low": None if interval is None else interval.low,
        "high": None if interval is None else interval.high,
        "is_honest": found.is_honest,
        "split": facts.search.split_name,
        "is_synthetic": facts.search.is_synthetic,
    }
