"""Curves of the model: ROC, precision-recall, calibration and decision curve, with bands."""

from typing import Final

import numpy as np

from orchestrator.report.facts import RunFacts
from orchestrator.report.section import Content, Section, paragraph, with_figures
from orchestrator.reporting.charts import Axis, Chart, Figure
from orchestrator.reporting.html_page import key
from results.run.records import OutOfFold
from results.scores.auc_interval import fold_inflation
from results.scores.calibration_quality import calibration_slope, reliability_bins
from results.scores.curves import Curve, precision_recall_curve_with_band, roc_curve_with_band
from results.scores.decision_curve import decision_curve
from results.scores.decision_rule import said_of_decisions
from trainables.common.errors import OneClassError
from trainables.common.types import FloatArray, IntArray

_THRESHOLDS: Final = np.linspace(0.01, 0.99, 99)
_CALIBRATED: Final = 0.1  # difference of a slope from 1 that is not worth a word
_MOST_CLASSES: Final = 6  # with a curve of their own


def _build(facts: RunFacts) -> Content | None:
    found, crossed = facts.headline, facts.fitted
    if found is None or crossed is None:
        return None
    own, seed = found.predictions, facts.search.request.seed
    said = paragraph(f"Of {found.model}. {found.how}")
    fitted = crossed.probabilities
    try:
        if len(facts.search.classes) > 2:
            return with_figures(
                said + key(facts.search.classes[:_MOST_CLASSES]), _of_many(facts, own, fitted, seed)
            )
        figures = _of_two(facts, own, fitted, seed)
    except OneClassError as error:
        return Content(paragraph(f"None can be drawn: {error}.", "soft"))
    slope = calibration_slope(own.labels, fitted)
    after = "" if slope is None else paragraph(_said_of_slope(slope))
    return with_figures(said, figures, after)


def _of_two(facts: RunFacts, own: OutOfFold, fitted: FloatArray, seed: int) -> list[Figure]:
    share, positive = float((own.labels == 1).mean()), facts.search.classes[1]
    band = f"The band holds 95 % of the curves of resampled {facts.group_unit}s, at each place by itself."
    roc = _square("roc", "ROC curve", f"Sensitivity for {positive}, mean over folds. {band}")
    roc.reference([0, 1], [0, 1])
    roc.line([0, 0], [0, float((curve := roc_curve_with_band(own, seed=seed)).up[0])])
    _draw(roc, curve)
    recall = _square(
        "precision-recall",
        "Precision and recall",
        f"Precision of calls of {positive}, mean over folds; dashed, the share of {positive}, "
        f"{share:.2f}. {band}",
        across="recall (sensitivity)",
        up="precision",
    )
    recall.reference([0, 1], [share, share])
    _draw(recall, precision_recall_curve_with_band(own, seed=seed))
    return [
        roc,
        recall,
        _calibration(facts, (own.labels == 1).astype(np.int64), fitted[:, 1], own, f"share of {positive}"),
        _decision(facts, own, fitted, share, positive),
    ]


def _of_many(facts: RunFacts, own: OutOfFold, fitted: FloatArray, seed: int) -> list[Figure]:
    roc = _square(
        "roc", "ROC curve of each class against the rest", "Sensitivity for each class, mean over folds."
    )
    roc.reference([0, 1], [0, 1])
    for place, name in enumerate(facts.search.classes[:_MOST_CLASSES]):
        try:
            curve = roc_curve_with_band(own, place, seed=seed)
        except OneClassError:
            continue
        roc.line([0, *curve.across.tolist()], [0, *curve.up.tolist()], place)
        roc.rows += [{"class": name, **row} for row in _rows(curve)]
    called = fitted.argmax(axis=1)
    happened = (called == own.labels).astype(np.int64)
    return [roc, _calibration(facts, happened, fitted.max(axis=1), own, "share of right calls")]


def _calibration(
    facts: RunFacts, happened: IntArray, predicted: FloatArray, own: OutOfFold, up: str
) -> Chart:
    calibrated = said_of_decisions(
        len(facts.search.classes), "probabilities were calibrated by what was fitted on the other folds"
    )
    found = reliability_bins(happened, predicted, own.groups, inflation=fold_inflation(own.varying_parts))
    chart = _square(
        "calibration",
        "Calibration",
        f"Points are tenths of the {facts.units}, lines are 95 % intervals over {facts.group_unit}s, and the "
        f"dashed line is perfect; {calibrated}.",
        across="predicted probability",
        up=up,
    )
    chart.reference([0, 1], [0, 1])
    expected, observed = [one.expected for one in found], [one.observed for one in found]
    chart.whiskers(expected, [one.low for one in observed], [one.high for one in observed])
    names = [f"{one.images} {facts.units}" for one in found]
    chart.points(expected, [one.estimate for one in observed], names=names)
    chart.rows += [
        {
            "predicted": one.expected,
            "observed": one.observed.estimate,
            "low": one.observed.low,
            "high": one.observed.high,
            "images": one.images,
        }
        for one in found
    ]
    return chart


def _decision(facts: RunFacts, own: OutOfFold, fitted: FloatArray, share: float, positive: str) -> Chart:
    points = decision_curve(
        own.labels,
        fitted,
        own.groups,
        thresholds=_THRESHOLDS.tolist(),
        inflation=fold_inflation(own.varying_parts),
    ).points
    ends = [(one.benefit.estimate, one.benefit.low, one.benefit.high) for one in points]
    curve = Curve(_THRESHOLDS, *np.array(ends).T)
    everyone = np.array([one.of_all for one in points])
    chart = Chart(
        name="decision",
        title="Decision curve",
        description=f"Net benefit of acting at a probability of {positive}; dashed, acting on everyone "
        f"and on nobody. "
        f"The share of {positive} here is {share:.2f}: where it is another, so is the curve. The band holds "
        f"95 % intervals over {facts.group_unit}s, at each place by itself.",
        across=Axis("threshold probability", 0.0, 1.0),
        up=Axis(
            "net benefit",
            min(-0.05, float(curve.low.min())) if curve.low.min() > -0.2 else -0.1,
            share + 0.05,
        ),
        is_square=True,
    )
    chart.reference([0, 1], [0, 0])
    above = everyone > chart.up.low
    chart.reference(_THRESHOLDS[above].tolist(), everyone[above].tolist())
    _draw(chart, curve)
    for row, of_all in zip(chart.rows, everyone.tolist(), strict=True):
        row["of_all"] = of_all
    return chart


def _square(
    name: str, title: str, description: str, across: str = "1 - specificity", up: str = "sensitivity"
) -> Chart:
    axes = Axis(across, 0.0, 1.0), Axis(up, 0.0, 1.0)
    return Chart(name, title, description, *axes, is_square=True)


def _draw(chart: Chart, curve: Curve) -> None:
    chart.band(curve.across.tolist(), curve.low.tolist(), curve.high.tolist())
    chart.line(curve.across.tolist(), curve.up.tolist())
    chart.rows += _rows(curve)


def _rows(curve: Curve) -> list[dict[str, float]]:
    columns = [curve.across.tolist(), curve.up.tolist(), curve.low.tolist(), curve.high.tolist()]
    return [
        dict(zip(("across", "up", "low", "high"), values, strict=True))
        for values in zip(*columns, strict=True)
    ]


def _said_of_slope(slope: float) -> str:
    kind = "about right"
    if abs(slope - 1.0) > _CALIBRATED:
        kind = "too certain" if slope < 1 else "not certain enough"
    return (
        f"Calibration slope {slope:.2f} (1 is calibrated; these probabilities are {kind}), of predictions "
        "that were calibrated without their own fold."
    )


CURVES = Section(80, "curves", "Curves", _build)
