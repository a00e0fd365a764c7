"""What a model of a run is judged by: its own decisions, also at an operating point."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from finished_run import search_record

from results.ensembles import judged
from results.run.records import OutOfFold
from results.scores.calibration import sigmoid
from results.scores.decisions import confusion
from results.scores.metrics import metric_named
from results.scores.operating_point import Operation
from results.scores.strata import score_strata


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run whose search optimises balanced accuracy, with the predictions of one model."""
    random, rows = np.random.default_rng(0), np.arange(600)
    logits = 1.5 * (rows % 2 - 0.5) + random.normal(size=600)
    probabilities = np.stack([sigmoid(-logits), sigmoid(logits)], axis=1)
    predictions = OutOfFold(rows, rows % 2, rows // 2 % 4, rows.astype(str), probabilities)
    monkeypatch.setattr(judged, "out_of_fold_of", lambda run, **_: (predictions, "trial 0"))
    record = search_record("abc", tmp_path / "store")
    search = record.model_copy(update={"metrics": ("balanced_accuracy",), "classes": ("benign", "malignant")})
    columns = {"view": np.array(["CC", "MLO"])[rows // 2 % 2]}
    return SimpleNamespace(search=lambda: search, patch_set=lambda: SimpleNamespace(columns=columns))


def test_strata_are_decided_at_the_operating_point_where_balanced_accuracy_is_optimised(run):
    plain = judged.judged_model(run, trial=0).strata()
    asked = judged.judged_model(run, trial=0, operation=Operation.of(at="specificity=0.95")).strata()
    assert len(asked.strata) == 2
    for before, after in zip(plain.strata, asked.strata, strict=True):
        assert before.metrics["specificity"].estimate < 0.85
        assert after.metrics["specificity"].estimate == pytest.approx(0.95, abs=0.04)


def test_a_prevalence_changes_no_error_of_probabilities_of_a_stratum(run):
    plain = judged.judged_model(run, trial=0).strata()
    moved = judged.judged_model(run, trial=0, operation=Operation.of(prevalence=0.006)).strata()
    for before, after in zip(plain.strata, moved.strata, strict=True):
        assert after.expected == pytest.approx(before.expected)
        for name in ("log_loss", "brier", "recall", "specificity"):
            assert after.metrics[name].estimate == pytest.approx(before.metrics[name].estimate), name


def test_f1_and_f2_of_a_stratum_are_at_their_own_thresholds_as_those_of_the_model_are(run):
    model = judged.judged_model(run, trial=0, operation=Operation.of(at="specificity=0.95"))
    labels, views = model.predictions.labels, model.columns["view"]
    for stratum in model.strata().strata:
        own = views == stratum.value
        for name in ("f1", "f2", "balanced_accuracy"):
            decided = model.fitted.decided[name]
            found = stratum.metrics[name].estimate
            assert found == pytest.approx(metric_named(name)(confusion(labels[own], decided[own], 2))), name
            called = metric_named(name)(confusion(labels[own], model.fitted.called[own], 2))
            assert found > called + 0.02, name
    unknown = replace(model.judged, decided_for={})
    for stratum in score_strata(unknown, model.columns, model.classes, seed=0).strata:
        assert {"f1", "f2"}.isdisjoint(stratum.metrics)
