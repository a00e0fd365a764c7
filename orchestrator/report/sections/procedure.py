"""The score of the search as a procedure: what whole searches without a fold shipped, if it was nested."""

import json
from typing import Any, Final

from orchestrator.report.facts import RunFacts
from orchestrator.report.section import Content, Section, paragraph
from orchestrator.reporting.html_page import table
from results.scores.interval import Interval
from results.scores.metrics import metric_named
from results.scores.outer_result import said_of_age
from trainables.common.text import count_text
from trainables.config.unit_config import PLURALS

_ROLES: Final = {
    "shipped": "what the search ships",
    "incumbent": "its best trial",
    "first_point": "the first trial that it tries",
    "baseline": "the best trial on colour and intensity alone",
}


def _build(facts: RunFacts) -> Content | None:
    try:
        found = json.loads(facts.run.outer_file.read_bytes())
        asked = found.get("asked")
        age = "" if asked is None else said_of_age(facts.run, int(asked))
        return Content(_said(found) + (paragraph(age, "warn") if age else "") + _scores(found))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return Content(paragraph(f"{facts.run.outer_file.name} cannot be read: {error!r}.", "warn"))


def _said(found: dict[str, Any]) -> str:
    unit, units = found.get("group_unit", "patient"), PLURALS[found.get("unit", "image")]
    whose = "" if unit == "image" else f"{count_text(found['patients'], unit)}, "
    said = (
        f"The whole search was run again {found['folds']} times, each without the {unit}s of one outer fold, "
        f"which were then predicted by what it shipped: {whose}{found['images']} {units}. "
        "Nothing about these predictions has seen them."
    )
    caveats = [paragraph(str(one), "warn") for one in found.get("caveats", ())]
    return paragraph(said) + "".join(caveats)


def _scores(found: dict[str, Any]) -> str:
    metric = metric_named(found["metric"])
    rows = [
        (
            words,
            Interval(**found["scores"][role]["value"]).text(3),
            metric.text(found["scores"][role]["inner_value"]),
            f"{found['scores'][role]['optimism']:+.3f}",
        )
        for role, words in _ROLES.items()
        if role in found["scores"]
    ]
    head = ("model", f"{metric.header} [95 %]", "claimed by the inner searches", "too good by")
    return table("Scores of the procedure, on the outer folds", head, rows)


PROCEDURE = Section(15, "procedure", "The search as a procedure", _build)
