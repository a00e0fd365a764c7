"""Students of ensembles: what they learn from, what they are compared with, and when they are refused."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from finished_run import make_run

from orchestrator.api.export import export_model
from orchestrator.api.result import SearchResult
from orchestrator.cli.main import main
from orchestrator.postprocessing import distil as distil_module
from orchestrator.postprocessing.distil import distil, teachers_targets
from orchestrator.postprocessing.student_choice import chosen_student
from orchestrator.preflight.run_data import open_run_data
from results.ensembles.build import build_ensembles
from results.ensembles.ensemble import read_ensemble
from results.ensembles.nested import nested_predictions
from results.ensembles.out_of_fold import nested_again, pool_of
from results.errors import ExportError, ModelChangedError
from results.export.allowed_change import AllowedChange, ExportChanges
from results.export.onnx_predictor import load_bundle
from results.run.damage import damaged_trials
from results.run.run_folder import RunFolder
from results.scores.decision_rule import cross_fit
from results.scores.leaderboard import leaderboard
from results.scores.operating_point import NOTHING_ASKED, Operation
from trainables.runtime.devices import available_device

pytestmark = pytest.mark.slow

HEAD = {"model.backbone": "texture", "classical.name": "logistic", "training.augmentation": "none"}
TRIALS = {
    0: HEAD,
    1: {**HEAD, "classical.c": 0.001},
    2: {**HEAD, "classical.name": "lda"},
    3: {
        "model.backbone": "scratch4",
        "model.weights": "random",
        "model.trained_stages": "all",
        "model.head.hidden": [8],
        "input.size_px": 48,
    },
}
CONTEXT = {
    "backbones": ["texture"],
    "from_scratch": ["scratch4"],
    "fine_tunes": {"texture": []},
    "flattens": {},
    "levels": {},
    "adapts_channels": [],
    "augmentations": [],
    "sizes_px": {"texture": 64},
    "epochs": 1,
    "images": 32,
}
ANY_CHANGE = AllowedChange(auc_loss=1.0, changed_calls=1.0)


def searched(folder, *, folds=3):
    run = make_run(folder, TRIALS, folds=folds, backbones=("texture", "scratch4", "efficientnet_lite0"))
    record = run.search()
    changes = {"space_context": CONTEXT, "backbones": ("texture", "scratch4"), "folds": folds}
    run.write_search(record.model_copy(update=changes))
    build_ensembles(run, trials=[0, 1, 2], methods=("average",), max_members=3, seed=0)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return searched(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def student(run):
    return distil(run, ensemble="average", trial=0, weight=0.5, allowed=ANY_CHANGE)


def opened(run):
    return open_run_data(run, run.search(), available_device())


# -- what it learns


def test_teachers_of_a_fold_know_none_of_its_labels(run):
    training_data, runtime = opened(run)
    turned = training_data.labels.copy()
    own = training_data.folds == 0
    turned[own] = 1 - turned[own]
    teacher, quiet = read_ensemble(run, "average"), lambda _: None
    first, second = (
        teachers_targets(run, teacher, dataclasses.replace(training_data, labels=labels), runtime, quiet)
        for labels in (training_data.labels, turned)
    )
    np.testing.assert_array_equal(first[0], second[0])
    assert np.nanmax(np.abs(first[1] - second[1])) > 1e-3  # those of another fold learned from these labels
    for fold in range(3):
        predicted = ~np.isnan(first[fold]).any(axis=1)
        np.testing.assert_array_equal(predicted, training_data.folds != fold)
    np.testing.assert_allclose(np.nansum(first, axis=2)[~np.isnan(first).any(axis=2)], 1.0)


def test_what_it_is_compared_with_are_the_nested_predictions(run, student):
    teacher = read_ensemble(run, "average")
    nested = nested_predictions(pool_of(run, teacher), "average", max_members=3, seed=0)
    own = student.run.out_of_fold(0)
    np.testing.assert_array_equal(own.rows, nested.rows)
    assert student.record.auc_before == pytest.approx(teacher.nested.auc)
    assert student.record.images == len(nested.rows)
    assert student.record.cost_before is not None


def test_another_weight_is_another_student_and_the_same_is_not_trained_again(run, student):
    said = []
    again = distil(run, ensemble="average", trial=0, weight=0.5, allowed=ANY_CHANGE, say=said.append)
    assert said == ["the student, ensemble average in trial 0, was there already"]
    assert again.record == student.record
    before = student.run.out_of_fold(0).probabilities
    labels = distil(run, ensemble="average", trial=0, weight=1e-9, allowed=ANY_CHANGE)
    found = labels.run.out_of_fold(0).probabilities
    np.testing.assert_allclose(found, run.out_of_fold(0).probabilities, atol=1e-3)  # the labels alone
    assert np.abs(found - before).max() > 1e-3
    distil(run, ensemble="average", trial=0, weight=0.5, allowed=ANY_CHANGE)


@pytest.mark.parametrize("digest", ["0" * 64, None])
def test_a_student_of_teachers_that_are_gone_is_trained_again(run, student, monkeypatch, digest):
    file = student.run.path / "distillation.json"
    kept, begun = file.read_text(), []

    def train(*_):
        begun.append(True)
        raise KeyboardInterrupt

    monkeypatch.setattr(distil_module, "_train", train)
    try:
        file.write_text(json.dumps(json.loads(kept) | {"teacher_digest": digest}))
        with pytest.raises(KeyboardInterrupt):
            distil(run, ensemble="average", trial=0, weight=0.5, allowed=ANY_CHANGE)
        assert begun
    finally:
        file.write_text(kept)


def test_what_the_teachers_are_chosen_from_tells_students_apart(run, monkeypatch):
    teacher = read_ensemble(run, "average")
    digest = distil_module._digest_of_teachers
    known = [digest(run, teacher)]
    for changes in ({"pool": (0, 1)}, {"max_members": 2}, {"considered": 7}, {"digests": ()}):
        known.append(digest(run, teacher.model_copy(update=changes)))
    of_pool = run.predictions_digest
    monkeypatch.setattr(RunFolder, "predictions_digest", lambda self, number: f"another {of_pool(number)}")
    known.append(digest(run, teacher.model_copy(update={"digests": ()})))  # as an earlier version wrote it
    assert len(set(known)) == 6


def test_the_student_has_the_parts_of_what_it_is_compared_with(run, student, monkeypatch):
    compared, nested_again, differences_to = [], distil_module.nested_again, distil_module.differences_to

    def of_parts(*arguments, **options):
        return dataclasses.replace(nested_again(*arguments, **options), trained_on=1, chosen_on=3)

    def noted(first, others, **options):
        compared.extend([first, *others])
        return differences_to(first, others, **options)

    monkeypatch.setattr(distil_module, "nested_again", of_parts)
    monkeypatch.setattr(distil_module, "differences_to", noted)
    teacher = read_ensemble(run, "average")
    distil_module._compared(run, student.run, teacher, 0, 0.5, ANY_CHANGE, NOTHING_ASKED)
    assert [(one.trained_on, one.chosen_on) for one in compared] == [(1, 3)] * 2


def test_calls_are_compared_where_both_decide(run, student):
    teacher, own = read_ensemble(run, "average"), student.run.out_of_fold(0)
    nested = nested_again(pool_of(run, teacher), teacher, is_of_choice=False)
    random = np.random.default_rng(0).random(len(own.labels))
    of_student = dataclasses.replace(
        own,
        probabilities=np.stack([1 - random, random], axis=1),
        folds=nested.folds,
        trained_on=nested.trained_on,
        chosen_on=nested.chosen_on,
    )
    found = []
    for operation in (Operation.of(at="sensitivity=0.99"), Operation.of(at="specificity=0.9"), NOTHING_ASKED):
        called = [
            cross_fit(one, searched=("auc",), operation=operation).called for one in (nested, of_student)
        ]
        folder = SimpleNamespace(out_of_fold=lambda _: of_student)
        record = distil_module._compared(run, folder, teacher, 0, 0.5, ANY_CHANGE, operation)
        assert record.changed_calls == pytest.approx((called[0] != called[1]).mean())
        assert record.operation == operation
        found.append(record.changed_calls)
    assert len(set(found)) == 3


def test_a_student_is_compared_again_where_something_else_is_asked_and_not_trained(run, student, monkeypatch):
    monkeypatch.setattr(distil_module, "_train", None)
    compared, compare = [], distil_module._compared

    def note(*given):
        compared.append(given[-1])
        return compare(*given)

    monkeypatch.setattr(distil_module, "_compared", note)
    asked = Operation.of(at="sensitivity=0.99")
    for operation in (asked, asked, NOTHING_ASKED):
        found = distil(
            run, ensemble="average", trial=0, weight=0.5, allowed=ANY_CHANGE, operation=operation
        ).record
        assert found.operation == operation
        kept = json.loads((student.run.path / "distillation.json").read_text())
        assert Operation.model_validate(kept["operation"]) == operation
    assert compared == [asked, NOTHING_ASKED]


def test_an_export_compares_the_calls_of_what_it_ships(run, monkeypatch, tmp_path):
    asked = []

    def note(*_, operation, **__):
        asked.append(operation)
        raise ExportError("noted")

    monkeypatch.setattr(distil_module, "distil", note)
    built_for, wanted = Operation.of(at="sensitivity=0.95"), Operation.of(at="specificity=0.8")
    as_built = read_ensemble(run, "average").model_copy(update={"operation": built_for})
    monkeypatch.setattr("orchestrator.api.export.read_ensemble", lambda *_: as_built)
    for operation in (NOTHING_ASKED, wanted):
        with pytest.raises(ExportError, match="noted"):
            export_model(
                run,
                tmp_path / "bundle",
                ensemble="average",
                changes=ExportChanges(distil=0),
                operation=operation,
            )
    assert asked == [built_for, wanted]


# -- its run folder, and the bundle


def test_a_student_is_a_run_of_one_trial(student):
    rows = [row for row in leaderboard(student.run) if row.trial is not None]
    assert [row.trial for row in rows] == [0]
    assert damaged_trials(student.run) == {}
    assert student.run.search().name == "small, student"


@pytest.mark.long
def test_its_bundle_says_whose_student_it_is_and_predicts(run, student, tmp_path):
    result = SearchResult(run)
    place = result.export(
        tmp_path / "bundle", ensemble="average", distil=0, max_auc_loss=1, max_changed_calls=1
    )
    bundle = load_bundle(place)
    distilled = bundle.manifest.distilled
    assert (distilled.teacher, set(distilled.teacher_trials)) == ("ensemble average", {0, 1, 2})
    assert distilled.weight == 0.5
    card = (place / "model_card.md").read_text()
    for sentence in distilled.sentences(bundle.manifest.cost):
        assert sentence[1:] in card
    images = run.patch_set().images
    assert bundle.predict([images[0]]).shape == (1, 2)


@pytest.mark.long
def test_the_trial_is_chosen_where_none_is_named(run):
    tied = [row.trial for row in leaderboard(run) if row.trial is not None and row.tied]
    chosen = chosen_student(run, None, lambda _: None)
    assert chosen in (set(tied) - {2} or {0, 1, 3})
    with pytest.raises(ExportError, match=r"no trial of .* answers within 1e-06 ms .*; the fastest takes"):
        chosen_student(run, 1e-6, lambda _: None)


# -- refused


def test_a_student_that_changes_too_much_is_refused_and_kept(run, student, tmp_path, capsys):
    strict = ("--max-auc-loss", "0", "--max-changed-calls", "0")
    with pytest.raises(ModelChangedError, match=r"trial 3 as a student of ensemble average changes too much"):
        distil(run, ensemble="average", trial=3, weight=0.5, allowed=AllowedChange(0.0, 0.0))
    kept = RunFolder(run.path / "students" / "average-0003")
    assert kept.record(3).state == "complete"
    arguments = ["export", str(run.path), "--ensemble", "average", "--distil", "3", *strict]
    assert main([*arguments, "--out", str(tmp_path / "bundle")]) == 2
    assert "Nothing was exported; take another trial (--distil TRIAL)" in " ".join(
        capsys.readouterr().err.split()
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": 0.0}, "--distil-weight must lie above 0 and up to 1, found 0"),
        ({"trial": 2}, r"trial 2 of .* cannot be a student: its head \(lda\) learns whole labels"),
        ({"trial": 9}, r"trial 9 of .* cannot be a student: it is not complete"),
        ({"ensemble": "best_single"}, "is one trial and needs no student; export it with --trial"),
    ],
)
def test_what_cannot_be_distilled_is_refused(run, options, message):
    asked = {"ensemble": "average", "trial": 0, "weight": 0.5, "allowed": ANY_CHANGE}
    with pytest.raises(ExportError, match=message):
        distil(run, **(asked | options))


def test_two_folds_are_too_few(run):
    record = run.search()
    try:
        run.write_search(record.model_copy(update={"folds": 2}))
        with pytest.raises(ExportError, match=r"--distil needs 3 folds or more, and .* has 2"):
            distil(run, ensemble="average", trial=0, weight=0.5, allowed=ANY_CHANGE)
    finally:
        run.write_search(record)


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({"model.weights": "start"}, "--start-from"),
        ({"model.type_input": "probability"}, "--type-from"),
        ({"model.type_input": "hard"}, "--type-from"),
    ],
)
def test_teachers_that_build_on_a_trial_of_another_search_are_refused(run, settings, option):
    record = run.record(1)
    net = {**TRIALS[3], **settings}
    try:
        run.write_record(record.model_copy(update={"config": net}))
        message = rf"trial 1 of .*, of which ensemble average may be made, builds on a trial .*\({option}\)"
        with pytest.raises(ExportError, match=message):
            distil(run, ensemble="average", trial=0, weight=0.25, allowed=ANY_CHANGE)
    finally:
        run.write_record(record)


def test_a_student_is_not_asked_for_with_a_trial_or_a_refit(run, student, tmp_path, capsys):
    for option in (("--trial", "1"), ("--refit",)):
        assert main(["export", str(run.path), "--out", str(tmp_path / "b"), "--distil", "0", *option]) == 2
        assert "--distil trains a student of an ensemble" in " ".join(capsys.readouterr().err.split())
    content = json.loads((run.path / "students" / "average-0000" / "distillation.json").read_text())
    assert content["trial"] == 0
