"""The importance of parameters: what the best tenth of the trials have in common."""

from typing import Final

from orchestrator.report.facts import RunFacts
from orchestrator.report.section import Content, Section, paragraph, with_figures
from orchestrator.reporting.charts import Bars

_SHOWN: Final = 12


def _build(facts: RunFacts) -> Content | None:
    from orchestrator.study.importance import FEWEST_TRIALS, parameter_importances  # it imports Optuna
    from orchestrator.study.study import MissingStudyError

    if not facts.records:
        return None
    try:
        found = parameter_importances(facts.run)
    except MissingStudyError as error:
        return Content(paragraph(f"Not known: {error}.", "soft"))
    if not found:
        return Content(
            paragraph(
                f"Not computed: it takes {FEWEST_TRIALS} complete trials that differ, found "
                f"{len(facts.complete)}.",
                "soft",
            )
        )
    bars = Bars(
        name="importance",
        title="Share of each parameter in what sets the best tenth of the trials apart",
        description="PED-ANOVA over the complete trials of the study. A parameter that the sampler "
        "settled on "
        "early looks unimportant, and with few trials the order is rough.",
        values=tuple((name, value, f"{value:.0%}") for name, value in list(found.items())[:_SHOWN]),
    )
    return with_figures("", [bars])


IMPORTANCE = Section(50, "importance", "Which parameters mattered", _build)
