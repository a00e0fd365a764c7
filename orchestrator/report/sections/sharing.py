"""What sharing frozen features saved, and what the search took."""

from orchestrator.report.facts import RunFacts
from orchestrator.report.section import Content, Section, paragraph
from orchestrator.reporting.compute_savings import count_images, savings_from_sharing, savings_message
from orchestrator.reporting.html_page import table
from orchestrator.reporting.time_left import busy_seconds
from orchestrator.reporting.worker_time import TimeShares, shares_text
from results.run.sessions import read_sessions
from trainables.common.text import clock_text


def _build(facts: RunFacts) -> Content | None:
    if not facts.records:
        return None
    said = ""
    if facts.split is not None:
        saved = savings_from_sharing(facts.records, count_images(facts.split, facts.search.classes))
        message = savings_message(saved)
        said = paragraph(
            f"{message}." if message else "No trial had frozen stages, so that there was nothing to share."
        )
    whole = sum(record.wall_seconds for record in facts.records)
    features = sum(record.prefix.computed_seconds for record in facts.records if record.prefix is not None)
    waited = sum(record.prefix.waited_seconds for record in facts.records if record.prefix is not None)
    devices = sorted({record.device for record in facts.records})
    peak = max((record.peak_bytes for record in facts.records if record.peak_bytes is not None), default=None)
    rows = [
        ("while at least one trial ran", clock_text(busy_seconds(facts.records))),
        ("time of all workers in trials", clock_text(whole)),
        ("of it, computing frozen features", clock_text(features)),
        ("of it, waiting for features of another worker", clock_text(waited)),
        ("workers, from the first trial to the last", _utilisation(facts)),
        ("devices", ", ".join(devices)),
        ("largest memory of a trial", "not measured" if peak is None else f"{peak / 1e9:.2f} GB"),
        ("energy", "not measured: no meter was read"),
    ]
    return Content(said + table("What the search took", ("what", "amount"), rows))


def _utilisation(facts: RunFacts) -> str:
    """How busy the workers were in all sessions together."""
    sessions = read_sessions(facts.run)
    shares = sum((TimeShares(one.features, one.training, one.waiting) for one in sessions), TimeShares())
    return shares_text(shares) or "not measured"


SHARING = Section(110, "cost", "What it took, and what sharing saved", _build)
