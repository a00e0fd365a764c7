"""Evidence about results: scores with intervals, calibration, strata, errors, and the sealed test part."""

from typing import Any, Final

from orchestrator.report.facts import RunFacts
from orchestrator.report.item_evidence import Answer, Evidence
from orchestrator.report.sections.strata import scored_strata
from results.predictors.test_evaluation import TestEvaluation
from results.run.split_labels import scored
from results.scores.calibration_quality import calibration_slope
from results.scores.decision_rule import said_of_decisions
from results.scores.decisions import confusion
from results.scores.metrics import metric_named
from trainables.data.split_record import TEST_PART

_BOARD: Final = "leaderboard.csv"
_OPENINGS: Final = "test_openings.jsonl"


def _score(facts: RunFacts) -> Answer | None:
    found = facts.headline
    if found is None or found.interval is None:
        return None
    metric = metric_named(facts.objectives.metrics[0])
    file = "ensembles/best.json" if facts.chosen is not None else _BOARD
    return Answer(f"Out of fold, {metric.header} {found.interval.text(3)} for {found.model}.", file)


def _metrics(facts: RunFacts) -> Answer | None:
    if not facts.rows or facts.rows[0].rank is None:
        return None
    decided = said_of_decisions(
        len(facts.search.classes),
        "decisions are taken at thresholds chosen on the other folds, and probabilities are calibrated there",
    )
    return Answer(
        "AUC within folds; F1, F2, accuracy, balanced accuracy, recall and precision of decisions; log loss "
        f"and Brier score: {decided}.",
        _BOARD,
    )


def _uncertainty(facts: RunFacts) -> Answer | None:
    if facts.headline is None:
        return None
    unit = facts.group_unit
    clustered = "" if unit == "image" else f", clustered by {unit}"
    return Answer(
        f"95 % intervals over {unit}s and training parts{clustered}; many models are compared with one "
        "stated confidence for all.",
        _BOARD,
    )


def _test(facts: RunFacts) -> Answer | None:
    results = [one.result for one in facts.accesses if one.result is not None]
    if not results:
        return None
    found = TestEvaluation.model_validate(results[0])
    name = found.objectives[0] if found.objectives[0] in found.metrics else "auc"
    return Answer(
        f"{found.model} on the sealed test part, {found.said_of_look}: "
        f"{scored(metric_named(name).header, found.split)} {found.metrics[name].text(3)}.",
        _OPENINGS,
    )


def _no_test(facts: RunFacts) -> str:
    if facts.split is not None and TEST_PART not in facts.split.counts:
        return (
            "no part of the data was sealed: score the model on data that it never saw, orchestrate evaluate "
            "RUN --data PATH"
        )
    return "open the sealed test part, once: orchestrate evaluate RUN"


def _calibration(facts: RunFacts) -> Answer | None:
    found, fitted = facts.headline, facts.fitted
    if found is None or fitted is None or len(facts.search.classes) > 2:
        return None
    slope = calibration_slope(found.predictions.labels, fitted.probabilities)
    if slope is None:
        return None
    return Answer(
        f"Calibrated without the own fold, slope {slope:.2f}; the curve is in the report.", "report.html"
    )


def _utility(facts: RunFacts) -> Answer | None:
    if facts.headline is None or len(facts.search.classes) > 2:
        return None
    return Answer(f"Decision curve with a band over {facts.group_unit}s, in the report.", "report.html")


def _strata(facts: RunFacts) -> Answer | None:
    found = scored_strata(facts)
    if not found:
        return None
    said = "; ".join(f"{name} {interval.text(2)}" for name, interval in found[:8])
    return Answer(f"AUC by stratum: {said}.", "report.html")


def _confusion(facts: RunFacts) -> Answer | None:
    found, fitted = facts.headline, facts.fitted
    if found is None or fitted is None:
        return None
    matrix = confusion(found.predictions.labels, fitted.called, len(facts.search.classes)).tolist()
    rows: list[tuple[str, Any]] = list(zip(facts.search.classes, matrix, strict=True))
    said = "; ".join(f"{name}: {', '.join(map(str, row))}" for name, row in rows)
    return Answer(
        f"Out of fold, each true class by the called ones ({', '.join(facts.search.classes)}): {said}. "
        f"{found.said_of_calls}".strip(),
        _BOARD,
    )


def _failures(facts: RunFacts) -> Answer | None:
    if facts.headline is None:
        return None
    return Answer(
        "Worst misses and false alarms, and labels to review, are shown in the report.", "report.html"
    )


def _explanations(facts: RunFacts) -> Answer | None:
    folder = facts.run.explanations
    files = list(folder.rglob("*.png"))
    return Answer(f"{len(files)} relevance maps were computed.", f"{folder.name}/") if files else None


def _robustness(facts: RunFacts) -> Answer | None:
    first = facts.rows[0] if facts.rows and facts.rows[0].rank is not None else None
    if first is None or first.auc_sd is None:
        return None
    return Answer(f"Standard deviation of the best trial's AUC over folds: {first.auc_sd:.3f}.", _BOARD)


def _simple_model(facts: RunFacts) -> Answer | None:
    verdict = facts.against_baseline
    if verdict is None:
        return None
    said = verdict.sentence()
    return Answer(f"{said[0].upper()}{said[1:]}.", "ensembles/best.json" if facts.chosen else _BOARD)


def _external(facts: RunFacts) -> Answer | None:
    return None  # a run knows its own data only


SCORE = Evidence("score", "no trial has run to its end", _score)
METRICS = Evidence("metrics", "no trial has run to its end", _metrics)
UNCERTAINTY = Evidence("uncertainty", "no trial has run to its end", _uncertainty)
TEST = Evidence("test", _no_test, _test)
CALIBRATION = Evidence("calibration", "calibration is computed for two classes that overlap", _calibration)
UTILITY = Evidence("utility", "decision curves are drawn for two classes", _utility)
STRATA = Evidence(
    "strata", "no column of the set has strata with enough patients, or images, of each class", _strata
)
CONFUSION = Evidence("confusion", "no trial has run to its end", _confusion)
FAILURES = Evidence("failures", "no trial has run to its end", _failures)
EXPLANATIONS = Evidence("explanations", "no relevance maps were computed", _explanations)
ROBUSTNESS = Evidence("robustness", "no trial has run to its end", _robustness)
SIMPLE_MODEL = Evidence("simple_model", "no baseline on colour and intensity ran to its end", _simple_model)
EXTERNAL = Evidence("external", "score the model on data of another site", _external)
