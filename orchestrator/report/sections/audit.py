"""The audit of the data: what could make scores too high, and what was found."""

from orchestrator.report.facts import RunFacts
from orchestrator.report.section import Content, Section, paragraph
from orchestrator.reporting.html_page import text


def _build(facts: RunFacts) -> Content:
    audit = facts.search.audit
    if audit is None:
        return Content(paragraph("The data were not audited before this search.", "warn"))
    kind = {True: ' class="warn"', False: ""}
    lines = "".join(f"<li{kind[line.startswith('WARNING')]}>{text(line)}</li>" for line in audit.lines())
    return Content(f"<ul>{lines}</ul>")


AUDIT = Section(120, "audit", "Audit of the data", _build)
