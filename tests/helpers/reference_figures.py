"""Figures of other people's libraries for the claims of a model, written once and kept beside the tests.

    python tests/helpers/reference_figures.py

dcurves, netcal and statsmodels bring many packages along, so they are no dependency of the tests: this file
runs where they are installed, and writes `reference_figures.json` with their versions. The tests compare our
figures with these. MAPIE, fairlearn and scikit-learn bring none, and are asked while the tests run.
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_suffix(".json")
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
PREVALENCE = 0.05  # of the second decision curve
P_VALUES = (0.001, 0.008, 0.012, 0.04, 0.2, 0.6)
SHARES = ((0, 12), (3, 20), (57, 80))  # found and number


def drawn():
    """Labels, probabilities of the positive class and patients of 400 images; a patient has one to four."""
    random = np.random.default_rng(14)
    groups = np.repeat(np.arange(200), random.integers(1, 5, 200))[:400]
    own = random.normal(size=200)[groups]
    logits = 1.2 * own + 0.4 * random.normal(size=400)
    labels = (random.random(400) < 1 / (1 + np.exp(-(logits - 0.5)))).astype(np.int64)
    said = 1 / (1 + np.exp(-(2.0 * logits + 0.3)))
    return labels, np.round(said, 6), groups


def _decision_curves(labels, positive):
    import pandas as pd
    from dcurves import dca

    frame = pd.DataFrame({"label": labels, "model": positive})
    found = {}
    for name, prevalence in (("of the data", None), ("given", PREVALENCE)):
        curve = dca(
            data=frame, outcome="label", modelnames=["model"], thresholds=THRESHOLDS, prevalence=prevalence
        )
        rows = {kind: curve[curve["model"] == kind].sort_values("threshold") for kind in ("model", "all")}
        found[name] = {
            "benefit": rows["model"]["net_benefit"].tolist(),
            "of_all": rows["all"]["net_benefit"].tolist(),
            "avoided": rows["model"]["net_intervention_avoided"].tolist(),
        }
    return found


def _calibrations(labels, positive):
    from netcal.metrics import ECE
    from netcal.scaling import BetaCalibration, LogisticCalibration, TemperatureScaling

    found = {
        name: np.asarray(kind(method="mle").fit(positive, labels).transform(positive)).ravel().tolist()
        for name, kind in (
            ("platt", LogisticCalibration),
            ("temperature", TemperatureScaling),
            ("beta", BetaCalibration),
        )
    }
    return found, float(ECE(10, equal_intervals=False).measure(positive, labels))


def _models(labels, positive, groups):
    import statsmodels.api as sm
    from statsmodels.stats.multitest import multipletests
    from statsmodels.stats.proportion import proportion_confint

    logits = np.log(positive / (1 - positive))
    clusters = {"cov_type": "cluster", "cov_kwds": {"groups": groups, "use_correction": False}}
    slope = sm.GLM(labels, sm.add_constant(logits), sm.families.Binomial()).fit(**clusters)
    shift = sm.GLM(labels, np.ones(len(labels)), sm.families.Binomial(), offset=logits).fit(**clusters)
    return {
        "slope": [float(slope.params[1]), float(slope.bse[1])],
        "intercept": [float(shift.params[0]), float(shift.bse[0])],
        "holm": multipletests(P_VALUES, method="holm")[1].tolist(),
        "wilson": [list(map(float, proportion_confint(*one, method="wilson"))) for one in SHARES],
    }


def main():
    """Ask the libraries, and write what they say."""
    labels, positive, groups = drawn()
    calibrated, error = _calibrations(labels, positive)
    figures = {
        "versions": {name: version(name) for name in ("dcurves", "netcal", "statsmodels")},
        "labels": labels.tolist(),
        "positive": positive.tolist(),
        "groups": groups.tolist(),
        "dcurves": _decision_curves(labels, positive),
        "netcal": {"calibrated": calibrated, "calibration error": error},
        "statsmodels": _models(labels, positive, groups),
    }
    FILE.write_text(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
