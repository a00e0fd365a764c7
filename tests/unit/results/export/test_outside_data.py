"""A model of a run on labelled data of another hospital, and recalibrated there: module, bundle and verbs."""

import csv
import io
import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from finished_run import CONFIGS, TASK, make_run
from hospital import hospital_patches
from scipy.ndimage import uniform_filter

from orchestrator.api.claims import ModelClaims, evaluate_bundle, recalibrate_bundle
from orchestrator.cli.main import main
from results.ensembles.build import build_ensembles
from results.errors import ExportError, ScoreError
from results.export.bundle import export_bundle
from results.export.exported_model import load_bundle
from results.export.outside_data import OutsideData, predict_outside
from results.export.recalibration import recalibrate_bundle as recalibrate_with
from results.export.training_reference import TrainingReference, digest_of, model_pixels, read_reference
from results.run.test_accesses import read_accesses
from results.scores.calibration import Platt, log_odds, sigmoid
from results.scores.operating_point import Operation, odds_shift
from results.scores.set_shift import FEATURES
from trainables.config.tasks import task_named
from trainables.data.declared_steps import AS_THEY_ARE
from trainables.data.mammogram.preparation import Preparation
from trainables.data.patches import RawPatches, select_rows, store_patch_set
from trainables.data.split_record import TEST, read_split

pytestmark = pytest.mark.slow

SCREENING = Operation.of(at="sensitivity=0.9", prevalence=0.05, triage="missed=0.1,alarms=0.2")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    found = make_run(
        tmp_path_factory.mktemp("run"), {0: CONFIGS[0]}, raw=hospital_patches(0), backbones=("scratch4",)
    )
    build_ensembles(found, seed=0)
    return found


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle") / "bundle"
    export_bundle(run, out, trial=0, held_out_limit=4, operation=SCREENING)
    return out


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Data of another hospital as an .npz file, with four images of two patients of the training set."""
    raw, known = hospital_patches(1, brighter=0.1), hospital_patches(0)
    path = tmp_path_factory.mktemp("other") / "other.npz"
    np.savez(
        path,
        images=np.concatenate([raw.images, known.images[4:8]]),
        labels=np.concatenate([raw.labels, known.labels[4:8]]),
        patient=np.concatenate([raw.patients, np.array(["copy 1", "copy 2"] * 2)]),
    )
    return path


@pytest.fixture
def store(tmp_path):
    return {"store": str(tmp_path / "store"), "label_codes": "task"}


def test_a_bundle_carries_what_was_asked_of_its_decisions(bundle):
    opened = load_bundle(bundle)
    manifest = opened.manifest
    assert manifest.operation == SCREENING
    assert manifest.triage.aim == SCREENING.triage
    assert "sensitivity=0.9 out of fold" in manifest.said_of_operation
    card = (bundle / "model_card.md").read_text()
    assert "chosen for sensitivity=0.9 out of fold" in card
    assert "a share of positives of 0.05" in card
    outcomes = opened.triage(np.array([[1.0, 0.0], [0.0, 1.0]], np.float32))
    assert outcomes == ["benign", "recall"]


def test_a_triage_that_was_edited_is_refused(bundle, tmp_path):
    edited = shutil.copytree(bundle, tmp_path / "edited")
    manifest = json.loads((edited / "manifest.json").read_text())
    manifest["triage"]["low"] += 0.01
    (edited / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ExportError, match="triage is"):
        load_bundle(edited)


def test_the_reference_holds_every_training_image_and_no_sealed_one(run, bundle):
    reference, manifest = read_reference(bundle), load_bundle(bundle).manifest
    patch_set = run.patch_set()
    digests = [digest_of(model_pixels(image, 255.0, manifest.input)) for image in patch_set.images]
    assert len(set(digests) & set(reference.digests)) == manifest.data.images
    assert len(reference.digests) < len(digests)


def test_images_of_sixteen_bits_are_known_again(bundle):
    wanted = load_bundle(bundle).manifest.input
    image = hospital_patches(0).images[0]
    deep = image.astype(np.uint16) * 257
    assert digest_of(model_pixels(deep, 65535.0, wanted)) == digest_of(model_pixels(image, 255.0, wanted))


def test_patients_with_a_training_image_are_left_out_and_named(run, bundle, other, store):
    found = evaluate_bundle(bundle, other, **store)
    assert (found.left_out, found.images, found.groups) == (4, 128, 64)
    assert "copy 1, copy 2" in found.notes[0]
    assert found.shift.figures[0].is_found
    assert found.calibration.slope is not None
    assert found.rates["ppv"].estimate > 0
    assert found.triage.counts.keys() == {"benign", "do not know", "recall"}
    assert found.look == 1
    assert evaluate_bundle(bundle, other, **store).look == 2


def test_patients_of_the_sealed_part_are_left_out_and_counted(run, bundle, store, tmp_path):
    patch_set, split = run.patch_set(), read_split(run.split_file)
    rows = select_rows(patch_set, run.search().task_definition)
    sealed = rows.rows[split.folds_of(rows) == TEST]
    assert len(sealed)
    known = load_bundle(bundle)
    copies = RawPatches(
        np.concatenate([np.asarray(patch_set.images[sealed]), np.asarray(patch_set.images[sealed])[:4] // 2]),
        np.array([*patch_set.labels[sealed], *patch_set.labels[sealed][:4]]),
        patch_set.label_codes,
        patients=np.array([*(f"s{row}" for row in sealed), "new 1", "new 2", "new 3", "new 4"]),
    )
    found = predict_outside(
        known, store_patch_set(copies, tmp_path), run.search().task_definition, read_reference(bundle)
    )
    assert (found.left_out, len(found.labels)) == (len(sealed), 4)
    assert "sealed for the test of this model" in found.notes[0]


def test_the_run_and_its_bundle_give_other_data_the_same_probabilities(run, bundle, other, store, tmp_path):
    by_bundle = evaluate_bundle(bundle, other, **store)
    claims = _Claims(run)
    by_run = claims.evaluate_on(other, trial=0, operation=SCREENING, **store)
    for name, value in by_run.metrics.items():
        assert value.estimate == pytest.approx(by_bundle.metrics[name].estimate, abs=1e-4), name
    assert by_run.strata.remarks[0].startswith("nothing can be said about subgroups")
    assert read_accesses(run) == []  # a look at other data opens no test part
    assert "other.npz" in run.openings_file.read_text()


def test_the_network_says_how_far_out_other_images_lie_the_bundle_as_the_run(tmp_path_factory, store):
    texture = {"model.backbone": "texture", "model.cut": "top", "model.head.hidden": []}
    place = tmp_path_factory.mktemp("texture")
    run = make_run(place, {0: texture}, raw=hospital_patches(0), backbones=("texture",))
    export_bundle(run, place / "bundle", trial=0, held_out_limit=4)
    raw = hospital_patches(1)
    blurred = uniform_filter(raw.images, (0, 2, 2))
    np.savez(place / "blurred.npz", images=blurred, labels=raw.labels, patient=raw.patients)
    by_run = _Claims(run).evaluate_on(place / "blurred.npz", trial=0, **store)
    by_bundle = evaluate_bundle(place / "bundle", place / "blurred.npz", **store)
    shifts = [next(one for one in own.shift.figures if one.figure == FEATURES) for own in (by_run, by_bundle)]
    assert shifts[0].is_found
    assert shifts[0].distance == pytest.approx(shifts[1].distance, abs=0.02)
    assert not any("no novelty score" in note for note in by_run.notes + by_bundle.notes)
    alike = RawPatches(
        **{name: getattr(hospital_patches(6), name) for name in ("images", "labels", "patients")},
        label_codes="task",
    )
    bundle = load_bundle(place / "bundle")
    found = predict_outside(bundle, store_patch_set(alike, place), task_named(TASK), None)
    (features,) = found.shift.figures  # no reference is needed for it
    assert not features.is_found


class _Claims(ModelClaims):
    def _build_if_none(self, trial, ensemble="best"):
        pass


def test_strata_come_from_the_columns_of_the_other_set(bundle, tmp_path):
    raw = hospital_patches(2)
    patch_set = store_patch_set(raw, tmp_path)
    opened = load_bundle(bundle)
    found = predict_outside(opened, patch_set, task_named(TASK), read_reference(bundle))
    np.testing.assert_array_equal(found.columns["vendor"], raw.columns["vendor"])
    np.testing.assert_allclose(
        found.probabilities, opened.predict([image.astype(np.int32) for image in raw.images]), atol=1e-6
    )


def test_the_training_set_itself_is_refused(run, bundle):
    with pytest.raises(ExportError, match="is the set that the model was trained on"):
        predict_outside(load_bundle(bundle), run.patch_set(), task_named(TASK), read_reference(bundle))


def test_data_of_training_patients_alone_are_refused(run, bundle, tmp_path):
    known = run.patch_set()
    digests = read_reference(bundle)
    wanted = load_bundle(bundle).manifest.input
    rows = [
        row
        for row in range(len(known.images))
        if digest_of(model_pixels(known.images[row], 255.0, wanted)) in digests.digests
    ][:20]
    some = RawPatches(known.images[rows].copy(), known.labels[rows].copy(), "task", source="some")
    with pytest.raises(ExportError, match="all 20 images of some are images that the model"):
        predict_outside(load_bundle(bundle), store_patch_set(some, tmp_path), task_named(TASK), digests)


def test_a_bundle_without_a_reference_says_what_cannot_be_said(bundle, tmp_path):
    found = predict_outside(
        load_bundle(bundle), store_patch_set(hospital_patches(3), tmp_path), task_named(TASK), None
    )
    assert found.shift is None
    assert "has no novelty score" in found.notes[-1]
    assert "keeps nothing of its training images" in found.notes[0]


def test_a_damaged_reference_is_refused(tmp_path):
    (tmp_path / "training_reference.json").write_text("{")
    with pytest.raises(ExportError, match="is damaged"):
        read_reference(tmp_path)
    assert read_reference(tmp_path / "nothing") is None
    assert TrainingReference(digests=(), figures={}).digests == ()


def test_a_recalibrated_bundle_predicts_the_update_and_says_where_it_is_from(bundle, other, store, tmp_path):
    report = recalibrate_bundle(bundle, other, tmp_path / "local", **store)
    old, new = load_bundle(bundle), load_bundle(tmp_path / "local")
    assert new.manifest.recalibration.from_sha256 == old.manifest.sha256
    assert new.manifest.recalibration.groups == 64
    assert new.manifest.triage.is_exact
    assert new.manifest.test == "not opened"
    images = [image.astype(np.int32) for image in hospital_patches(4).images[:6]]
    before, after = (log_odds(one.predict(images).astype(np.float64)) for one in (old, new))
    slope = new.manifest.calibration.slope / old.manifest.calibration.slope
    shift = new.manifest.calibration.intercept - slope * old.manifest.calibration.intercept
    np.testing.assert_allclose(after, slope * before + shift, atol=1e-3)
    assert "the threshold is the one for sensitivity=0.9 on the local data" in " ".join(report.messages())
    assert "its weights are those of the file" in (tmp_path / "local" / "model_card.md").read_text()
    card = json.loads((tmp_path / "local" / "model_card.json").read_text())
    assert card["sha256"] == new.manifest.sha256 != old.manifest.sha256  # the card's other form, too
    with pytest.raises(ExportError, match="is the set that this bundle was calibrated on"):
        evaluate_bundle(tmp_path / "local", other, **store)


def test_a_recalibrated_bundle_keeps_its_prevalence_and_is_judged_at_that_of_the_local_data(
    run, bundle, other, store, tmp_path
):
    export_bundle(run, tmp_path / "plain", trial=0, held_out_limit=4)
    plain, moved = (
        recalibrate_bundle(path, other, tmp_path / f"local {name}", **store)
        for name, path in (("plain", tmp_path / "plain"), ("screening", bundle))
    )
    assert moved.bundle.manifest.operation == SCREENING
    assert "probabilities are those where 0.05 of the images are positive" in " ".join(moved.messages())
    assert moved.bundle.probabilities[:, 1].mean() < plain.bundle.probabilities[:, 1].mean() - 0.15
    assert moved.gain.estimate == pytest.approx(plain.gain.estimate, abs=1e-3)
    assert moved.bundle.update.update == plain.bundle.update.update
    slopes, intercepts = (
        [getattr(one.bundle.manifest.calibration, name) for one in (plain, moved)]
        for name in ("slope", "intercept")
    )
    assert slopes[1] == pytest.approx(slopes[0], rel=1e-3)
    assert intercepts[1] - intercepts[0] == pytest.approx(odds_shift(0.5, 0.05), abs=1e-2)


@pytest.mark.parametrize("asked", [None, 0.3])
def test_probabilities_that_are_right_locally_are_moved_once_to_the_prevalence_asked_for(
    bundle, tmp_path, asked
):
    logits = np.random.default_rng(0).normal(size=400)
    labels = (np.random.default_rng(1).random(400) < sigmoid(logits)).astype(np.int64)
    right = np.stack([sigmoid(-logits), sigmoid(logits)], axis=1)
    shift = odds_shift(labels.mean(), 0.05)
    said = Platt(intercept=shift).apply(right)
    data = OutsideData(labels, np.arange(400).astype(str), said, {}, None, 0, ())
    operation = Operation.of(prevalence=asked)
    found = recalibrate_with(bundle, tmp_path / "local", data, operation, source="here", fingerprint="abc")
    assert found.update.update == "nothing"
    wanted = said if asked is None else Platt(intercept=odds_shift(0.05, asked)).apply(said)
    np.testing.assert_allclose(found.probabilities, wanted, rtol=1e-6)
    assert found.manifest.operation.prevalence == (asked or 0.05)


def test_a_local_set_that_is_too_small_changes_nothing_on_the_disk(bundle, store, tmp_path):
    raw = hospital_patches(5, images=24)
    np.savez(tmp_path / "few.npz", images=raw.images, labels=raw.labels, patient=raw.patients)
    with pytest.raises(ScoreError, match="needs 10 patients of each class, found 6"):
        recalibrate_bundle(bundle, tmp_path / "few.npz", tmp_path / "local", **store)
    assert not (tmp_path / "local").exists()


def test_the_verbs_of_claims_print_tables_json_and_csv(run, capsys):
    path = str(run.path)
    for verb in ("strata", "calibration", "benefit"):
        assert main([verb, path, "--trial", "0"]) == 0
        assert "trial 0" in capsys.readouterr().out
        assert main([verb, path, "--trial", "0", "--format", "csv"]) == 0
        assert "," in capsys.readouterr().out.splitlines()[0]
        assert main([verb, path, "--trial", "0", "--format", "json"]) == 0
        assert json.loads(capsys.readouterr().out)["model"] == "trial 0"
    assert main(["compare", f"{path}:0", f"{path}:best_single", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["comparisons"][0]["first"] == "trial 0"


def test_the_verbs_of_bundles_work_in_turn(bundle, other, tmp_path, capsys):
    where = ["--store", str(tmp_path / "store"), "--label-codes", "task"]
    assert main(["evaluate", str(bundle), "--data", str(other), *where]) == 0
    out = capsys.readouterr()
    assert "The first look at these patients." in " ".join(out.out.split())
    assert "copy 1, copy 2" in out.err
    assert (
        main(["recalibrate", str(bundle), "--data", str(other), "--out", str(tmp_path / "new"), *where]) == 0
    )
    assert "of the calibration changed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["BUNDLE"], "holds no test part: name labelled data with --data"),
        (["BUNDLE", "--data", "x.npz", "--trial", "3"], "a bundle holds one model"),
        (["BUNDLE", "--data", "x.npz", "--at", "ppv=0.5"], "a bundle decides as it was exported"),
        (["RUN", "--label-codes", "task"], "says how to read other data"),
        (["RUN", "--at", "sensitivty=0.9"], "did you mean 'sensitivity'"),
        (["RUN", "--triage", "missed=0.001,alarms=0.2"], "can be promised from 999 patients"),
    ],
)
def test_wrong_options_of_evaluate_are_said_in_a_sentence(run, bundle, options, said, capsys):
    paths = {"BUNDLE": str(bundle), "RUN": str(run.path)}
    trial = ["--trial", "0"] if options[0] == "RUN" else []
    before = read_accesses(run)
    assert main(["evaluate", *(paths.get(word, word) for word in options), *trial]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert read_accesses(run) == before


def test_the_sealed_part_confirms_an_operating_point_with_intervals(bundle, tmp_path, capsys):
    own = make_run(tmp_path, {0: CONFIGS[0]}, raw=hospital_patches(0), backbones=("scratch4",))
    asked = ["--at", "sensitivity=0.9", "--prevalence", "0.05", "--triage", "missed=0.1,alarms=0.2"]
    assert main(["evaluate", str(own.path), "--trial", "0", *asked, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["threshold"] == pytest.approx(load_bundle(bundle).manifest.threshold, abs=1e-6)
    recall = found["metrics"]["recall"]
    assert recall["low"] < recall["high"]
    assert recall["low"] <= recall["estimate"] <= recall["high"]
    ppv = found["rates"]["ppv"]
    assert 0 < ppv["low"] <= ppv["estimate"] <= ppv["high"] < 1
    counts = np.array(list(found["triage"]["counts"].values()))
    assert counts.sum() == found["images"]
    assert len(read_accesses(own)) == 1


def test_predict_decides_as_the_bundle_was_asked_to(bundle, tmp_path, capsys):
    opened = load_bundle(bundle)
    files = [tmp_path / f"{number}.png" for number in range(24)]
    for file, image in zip(files, hospital_patches(7, images=24).images, strict=True):
        cv2.imwrite(str(file), image)
    assert main(["predict", str(bundle), *map(str, files), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    positive = np.array([float(row["probability_malignant"]) for row in rows])
    assert [float(row["threshold"]) for row in rows] == pytest.approx([opened.manifest.threshold] * 24)
    for row, probability in zip(rows, positive, strict=True):
        assert (row["predicted_class"] == "malignant") == (probability >= opened.manifest.threshold)
        assert row["triage"] == opened.triage(np.array([[1 - probability, probability]], np.float32))[0]


def test_training_images_of_another_size_are_said_to_be_unknown(bundle, tmp_path):
    known, new = hospital_patches(0), hospital_patches(1)
    images = np.stack([cv2.resize(image, (40, 40)) for image in [*known.images[4:36], *new.images]])
    raw = RawPatches(
        images,
        np.concatenate([known.labels[4:36], new.labels]),
        "task",
        patients=np.concatenate([known.patients[4:36], new.patients]),
        source="the same files",
    )
    opened, reference = load_bundle(bundle), read_reference(bundle)
    found = predict_outside(opened, store_patch_set(raw, tmp_path), task_named(TASK), reference)
    (said,) = [note for note in found.notes if "cannot be known again" in note]
    assert said.startswith("WARNING: these images are 40x40 pixels and those of the model's search 32x32, so")
    same = predict_outside(opened, store_patch_set(new, tmp_path), task_named(TASK), reference)
    assert not any("cannot be known again" in note for note in same.notes)


def test_a_model_without_steps_is_not_fitted_on_images_that_steps_changed(bundle, tmp_path):
    steps = Preparation(size=(32, 32)).as_dict()
    made = store_patch_set(replace(hospital_patches(2), preparation=steps), tmp_path)
    opened, reference, task = load_bundle(bundle), read_reference(bundle), task_named(TASK)
    found = predict_outside(opened, made, task, reference)
    assert any(
        "not made ready as the training images were, no steps (training) and" in n for n in found.notes
    )
    with pytest.raises(ExportError, match=r"no steps \(training\) and steps \(these\); prepare it with the"):
        predict_outside(opened, made, task, reference, is_fitted_on=True)
    raw_films = replace(AS_THEY_ARE, allows_for_processing=True).as_dict()
    plain = store_patch_set(replace(hospital_patches(3), preparation=raw_films), tmp_path)
    assert predict_outside(opened, plain, task, reference, is_fitted_on=True).left_out == 0
