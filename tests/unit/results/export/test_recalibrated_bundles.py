"""What a recalibrated bundle decides by, and what its card says of the local data."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from finished_run import CONFIGS, TASK, make_run, pixels

from orchestrator.postprocessing.recalibrating import gain_of
from results.errors import ExportError
from results.export import recalibration
from results.export.bundle import export_bundle
from results.export.exported_model import load_bundle
from results.export.manifest import Manifest
from results.export.manifest_parts import Recalibration, TestScores
from results.export.model_card import model_card
from results.export.outside_data import OutsideData, predict_outside
from results.export.recalibration import RecalibratedBundle, recalibrate_bundle
from results.scores.calibration import Platt, sigmoid
from results.scores.decision_rule import balanced_threshold, best_threshold
from results.scores.interval import Interval
from results.scores.operating_point import NOTHING_ASKED, Operation, odds_shift
from trainables.common.types import FloatArray
from trainables.config.tasks import task_named
from trainables.data.patches import RawPatches, store_patch_set

pytestmark = pytest.mark.slow

PATIENTS = 600


@pytest.fixture(scope="module")
def by_f2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a search for F2."""
    place = tmp_path_factory.mktemp("f2")
    run = make_run(place, {0: CONFIGS[0]})
    run.write_search(run.search().model_copy(update={"metrics": ("f2",)}))
    assert export_bundle(run, place / "bundle", trial=0, held_out_limit=4).manifest.best_for == "f2"
    return place / "bundle"


def local_data(*, shift: float = 0.0) -> OutsideData:
    """Patients of whom a quarter are positive; probabilities are right but for a shift of all logits."""
    logits = np.random.default_rng(0).normal(-1.5, 1.2, size=PATIENTS)
    labels = (np.random.default_rng(1).random(PATIENTS) < sigmoid(logits)).astype(np.int64)
    said = np.stack([sigmoid(-logits - shift), sigmoid(logits + shift)], axis=1)
    return OutsideData(labels, np.arange(PATIENTS).astype(str), said, {}, None, 0, ())


def recalibrated(
    path: Path, out: Path, operation: Operation = NOTHING_ASKED, data: OutsideData | None = None
) -> RecalibratedBundle:
    own = local_data() if data is None else data
    return recalibrate_bundle(path, out, own, operation, source="here", fingerprint="abc")


@pytest.mark.parametrize("prevalence", [None, 0.02])
def test_a_bundle_of_a_search_for_f2_decides_at_the_best_f2_of_the_local_data(
    by_f2: Path, tmp_path: Path, prevalence: float | None
) -> None:
    found = recalibrated(by_f2, tmp_path / "local", Operation.of(prevalence=prevalence))
    wanted = best_threshold(local_data().labels, found.probabilities, metric="f2")
    assert found.manifest.threshold == pytest.approx(wanted)
    assert found.manifest.threshold != pytest.approx(
        balanced_threshold(local_data().labels, found.probabilities)
    )
    assert "the threshold is the one for F2 on the local data" in found.manifest.said_of_operation


def test_a_prevalence_is_reached_from_that_of_the_training_part_where_nothing_is_fitted_again(
    by_f2: Path, tmp_path: Path
) -> None:
    manifest = load_bundle(by_f2).manifest
    share = manifest.data.share_of(manifest.positive)
    whole = local_data()
    rows = [np.flatnonzero(whole.labels == label)[:count] for label, count in ((0, 20), (1, 10))]
    few = np.concatenate(rows)
    at_share = Platt(intercept=odds_shift(1 / 3, share)).apply(whole.probabilities[few])
    data = replace(whole, labels=whole.labels[few], groups=whole.groups[few], probabilities=at_share)
    found = recalibrate_bundle(
        by_f2, tmp_path / "local", data, Operation.of(prevalence=0.01), source="here", fingerprint="abc"
    )
    assert found.update.update == "nothing"
    expected = Platt(intercept=odds_shift(share, 0.01)).apply(at_share)
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-6)
    assert set(found.manifest.thresholds) == set(manifest.thresholds) > {"f2"}


def test_no_gain_is_told_of_a_calibration_that_was_not_changed(by_f2: Path, tmp_path: Path) -> None:
    manifest, right = load_bundle(by_f2).manifest, local_data()
    share = manifest.data.share_of(manifest.positive)
    at_share = Platt(intercept=odds_shift(float(right.labels.mean()), share)).apply(right.probabilities)
    data = replace(right, probabilities=at_share)
    asked = Operation.of(prevalence=0.006)
    for place, bundle, own in (
        ("first", by_f2, data),
        ("again", tmp_path / "first", replace(right, probabilities=moved(right, asked))),
    ):
        found = recalibrated(bundle, tmp_path / place, asked, own)
        assert found.update.update == "nothing"
        gain = gain_of(found, own)
        assert gain is not None
        assert gain.low <= 0.0 <= gain.high
        assert abs(gain.estimate) < 0.01


def moved(data: OutsideData, operation: Operation) -> FloatArray:
    """The probabilities of data as they are at the prevalence that is asked for."""
    shift = odds_shift(float(data.labels.mean()), operation.prevalence)
    return Platt(intercept=shift).apply(data.probabilities)


def test_a_gain_is_told_of_a_calibration_that_was_wrong(by_f2: Path, tmp_path: Path) -> None:
    data = local_data(shift=1.5)
    found = recalibrated(by_f2, tmp_path / "local", data=data)
    assert found.update.update == "intercept"
    gain = gain_of(found, data)
    assert gain is not None
    assert gain.high < 0.0


def test_a_calibration_of_which_nothing_changed_is_still_that_of_the_share_before(
    by_f2: Path, tmp_path: Path
) -> None:
    first = load_bundle(by_f2).manifest
    same = recalibrated(by_f2, tmp_path / "same")
    assert same.update.update == "nothing"
    assert same.manifest.calibrated_share == first.calibrated_share == 0.5
    said = "its calibration holds at a share of positives of 0.5, that of the images scored out of fold, only"
    assert said in model_card(same.manifest)
    asked, data = Operation.of(prevalence=0.01), local_data(shift=1.5)
    direct, after = (
        recalibrated(path, tmp_path / path.name / "new", asked, data)
        for path in (Path(shutil.copytree(by_f2, tmp_path / "copy")), same.path)
    )
    np.testing.assert_allclose(direct.probabilities, after.probabilities, rtol=1e-9)
    changed = recalibrated(by_f2, tmp_path / "changed", data=data)
    again = recalibrated(changed.path, tmp_path / "again").manifest
    assert again.recalibration is not None
    assert not again.recalibration.has_changed
    share = local_data().labels.mean()
    assert again.calibrated_share == changed.manifest.calibrated_share == share
    assert f"of {share:.3g}, that of the local data that it was fitted on before, only" in model_card(again)


def test_a_recalibration_of_an_earlier_version_is_of_the_local_share_if_it_changed_anything(
    by_f2: Path, tmp_path: Path
) -> None:
    for place, shift in (("same", 0.0), ("changed", 1.5)):
        found = recalibrated(by_f2, tmp_path / place, data=local_data(shift=shift)).manifest
        earlier = found.model_dump(mode="json")
        del earlier["recalibration"]["calibrated_share"]
        assert Manifest.model_validate(earlier).calibrated_share == found.calibrated_share


def test_the_share_that_the_calibration_was_fitted_at_is_that_of_what_was_scored(
    by_f2: Path, tmp_path: Path
) -> None:
    manifest = load_bundle(by_f2).manifest
    assert sum(manifest.data.scored.values()) == manifest.data.held_out
    data = manifest.data.model_copy(update={"scored": {"benign": 30, "malignant": 10}})
    other = manifest.model_copy(update={"data": data})
    assert other.calibrated_share == 0.25
    assert "a share of positives of 0.25, that of the images scored out of fold, only" in model_card(other)
    edited = Path(shutil.copytree(by_f2, tmp_path / "own"))
    (edited / "manifest.json").write_text(other.model_dump_json())
    few = local_data()
    asked = Operation.of(prevalence=0.01)
    one, two = (
        recalibrate_bundle(path, tmp_path / path.name / "new", few, asked, source="here", fingerprint="abc")
        for path in (Path(shutil.copytree(by_f2, tmp_path / "as_it_was")), edited)
    )
    assert one.update.p_values != two.update.p_values  # what is fitted starts at another share
    earlier = manifest.model_dump(mode="json")
    del earlier["data"]["scored"]
    counts = manifest.data.counts
    assert Manifest.model_validate(earlier).calibrated_share == counts["malignant"] / sum(counts.values())


def test_a_bundle_that_was_recalibrated_twice_starts_at_the_share_of_the_first_local_data(
    by_f2: Path, tmp_path: Path
) -> None:
    found = recalibrated(by_f2, tmp_path / "local", data=local_data(shift=1.5)).manifest
    assert found.calibrated_share == pytest.approx(local_data().labels.mean())
    assert found.recalibration is not None
    edited = Path(shutil.copytree(tmp_path / "local", tmp_path / "edited"))
    other = found.recalibration.model_copy(update={"calibrated_share": 0.1})
    (edited / "manifest.json").write_text(found.model_copy(update={"recalibration": other}).model_dump_json())
    asked, few = Operation.of(prevalence=0.01), local_data()
    one, two = (
        recalibrate_bundle(path, tmp_path / path.name / "new", few, asked, source="here", fingerprint="abc")
        for path in (tmp_path / "local", edited)
    )
    assert one.update.p_values != two.update.p_values


def test_an_operating_point_goes_before_the_metric_of_the_search(by_f2: Path, tmp_path: Path) -> None:
    found = recalibrated(by_f2, tmp_path / "local", Operation.of(at="specificity=0.9"))
    called = found.probabilities[:, 1] >= (found.manifest.threshold or 0.0)
    assert 1 - called[local_data().labels == 0].mean() >= 0.9
    assert "for specificity=0.9 on the local data" in found.manifest.said_of_operation


def test_a_threshold_for_a_metric_that_is_not_known_is_not_replaced_by_another(
    by_f2: Path, tmp_path: Path
) -> None:
    edited = Path(shutil.copytree(by_f2, tmp_path / "own"))
    manifest = json.loads((edited / "manifest.json").read_text()) | {"best_for": "worth_of_calls"}
    (edited / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ExportError, match=r"was chosen for worth_of_calls, which is not known here: .*"):
        recalibrated(edited, tmp_path / "local")
    assert not (tmp_path / "local").exists()


def test_a_place_that_is_not_free_or_cannot_be_written_is_named(by_f2: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ExportError, match=r"a bundle is a folder, and .*/file is a file; give another"):
        recalibrated(by_f2, tmp_path / "file")
    with pytest.raises(ExportError, match="holds files already, and a bundle replaces nothing"):
        recalibrated(by_f2, tmp_path)
    with pytest.raises(ExportError, match=r"cannot write a bundle to .*/bundle: File exists: .*/file;"):
        recalibrated(by_f2, tmp_path / "file" / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_place_that_is_filled_in_the_meantime_keeps_what_it_holds(
    by_f2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "local"

    def fill(*_: object) -> None:
        out.mkdir()
        (out / "letter.txt").write_text("mine")

    monkeypatch.setattr(recalibration, "_check", fill)
    with pytest.raises(ExportError, match=r"local was filled while the bundle was made; give another --out"):
        recalibrated(by_f2, out)
    assert [path.name for path in tmp_path.iterdir()] == ["local"]
    assert [path.name for path in out.iterdir()] == ["letter.txt"]


def test_the_folder_that_one_stands_in_is_filled(
    by_f2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    recalibrated(by_f2, Path())
    assert load_bundle(tmp_path / "here").manifest.recalibration is not None


def test_the_card_says_of_threshold_and_calibration_that_they_are_of_the_local_data(
    by_f2: Path, tmp_path: Path
) -> None:
    found = recalibrated(by_f2, tmp_path / "local", data=local_data(shift=1.5))
    before, card = ((path / "model_card.md").read_text() for path in (by_f2, found.path))
    assert "chosen for F2 out of fold" in before
    assert "its calibration holds at a share of positives of 0.5, that of the images scored" in before
    share = local_data().labels.mean()
    assert "chosen for F2 on the local data" in card
    assert (
        f"its calibration holds at a share of positives of {share:.3g}, that of the local data, only" in card
    )
    assert "out of fold; F1" not in card
    for template in ("fda", "chai"):
        fields = json.loads((found.path / "model_card.json").read_text())[template]["fields"]
        assert sum("were fitted on 600 images" in field["text"] for field in fields) == 1


def test_a_recalibrated_refit_keeps_of_the_fold_models_their_scores_alone(
    by_f2: Path, tmp_path: Path
) -> None:
    found = recalibrated(by_f2, tmp_path / "local").manifest.model_copy(update={"is_refitted": True})
    assert "Out-of-fold scores are those of fold models" in model_card(found)
    exported = found.model_copy(update={"recalibration": None})
    assert "Calibration, threshold and out-of-fold scores are those of fold models" in model_card(exported)


def test_the_prevalence_that_was_asked_for_goes_before_the_share_of_the_local_data(
    by_f2: Path, tmp_path: Path
) -> None:
    recalibrated(by_f2, tmp_path / "local", Operation.of(prevalence=0.02))
    card = (tmp_path / "local" / "model_card.md").read_text()
    assert "its calibration holds at a share of positives of 0.02 only" in card


def test_local_data_without_patients_are_told_in_groups(by_f2: Path, tmp_path: Path) -> None:
    labels = np.arange(80) % 2
    raw = RawPatches(pixels(images=80, seed=3), labels, "task", source="elsewhere")
    bundle = load_bundle(by_f2)
    data = predict_outside(bundle, store_patch_set(raw, tmp_path), task_named(TASK), None)
    found = recalibrate_bundle(
        by_f2, tmp_path / "local", data, NOTHING_ASKED, source="here", fingerprint="abc"
    ).manifest
    assert found.recalibration is not None
    assert "on 80 images (no patient identifiers) of here" in found.recalibration.text
    assert "patients of here" not in (tmp_path / "local" / "model_card.md").read_text()


def test_the_recalibration_of_an_earlier_bundle_is_read_as_one_of_images_and_patients(
    by_f2: Path, tmp_path: Path
) -> None:
    found = recalibrated(by_f2, tmp_path / "local").manifest.recalibration
    assert found is not None
    earlier = found.model_dump(mode="json", exclude={"has_patients", "unit"})
    assert "600 images of 600 patients of here" in Recalibration.model_validate(earlier).text
    of_breasts = Recalibration.model_validate(earlier | {"unit": "breast"})
    assert "600 breasts of 600 patients of here" in of_breasts.text


def test_a_test_part_without_patients_is_told_in_groups(by_f2: Path) -> None:
    manifest = load_bundle(by_f2).manifest
    tested = TestScores(opening=1, openings=1, images=8, groups=4, metrics={"f2": Interval(0.7, 0.5, 0.8)})
    data = manifest.data.model_copy(update={"has_patients": False})
    opened = manifest.model_copy(update={"test": tested})
    assert "8 images of 4 patients, sealed" in model_card(opened)
    assert "8 images of 4 image groups, sealed" in model_card(opened.model_copy(update={"data": data}))
