"""Retrain, then test: on the whole training part and nothing else, for as many epochs as were chosen."""

import dataclasses
import errno
import json

import numpy as np
import pytest
import torch
from finished_run import CONFIGS, TASK, make_run

from orchestrator.cli.main import main
from orchestrator.postprocessing.refit import refit_model
from results.ensembles.build import build_ensembles
from results.errors import DamagedFileError, RunError
from results.export.bundle import export_bundle
from results.export.model_card import model_card
from results.predictors.loading import open_row_predictor
from results.predictors.selected_model import resolve_model
from results.run.records import TrialRecord
from results.run.refit_records import read_refit, refit_digest, refit_folder
from results.run.test_accesses import read_accesses
from trainables.common.errors import ConfigError
from trainables.config.tasks import task_named
from trainables.config.trial_config import decode
from trainables.data.patches import open_patch_set, select_rows
from trainables.data.split_record import TEST, TRAINING, read_split
from trainables.data.splits import make_split
from trainables.data.training_data import training_data_of
from trainables.features.loading import open_features
from trainables.runtime.checkpoint import read_fold_weights
from trainables.runtime.trial_runtime import TrialRuntime, WarmStart
from trainables.training.initialisation import build_models, train_first_phase
from trainables.training.refit import refit, refitted_config

SCRATCH = {
    **CONFIGS[0],
    "model.head.dropout": 0.3,
    "optimizer.schedule": "cosine",
    "training.augment_last": 1,
}
EPOCHS = 2  # of the search
CHOSEN = 1  # by cross-validation


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A run of two trials; one knows the epoch that was chosen for it."""
    run = make_run(tmp_path_factory.mktemp("run"), {0: SCRATCH, 1: CONFIGS[0]}, epochs=EPOCHS)
    context = {
        "backbones": [],
        "from_scratch": ["scratch4"],
        "fine_tunes": {},
        "flattens": {},
        "levels": {},
        "adapts_channels": [],
        "augmentations": [],
        "sizes_px": {},
        "epochs": EPOCHS,
        "images": 32,
    }
    run.write_search(run.search().model_copy(update={"space_context": context, "backbones": ("scratch4",)}))
    for number in (0, 1):
        update(run, number, best_epoch=CHOSEN)
    build_ensembles(run, methods=("average",), seed=0)
    return run


def update(run, number, **fields):
    record = run.record(number)
    run.write_record(TrialRecord.model_validate(record.model_dump() | fields))


@pytest.fixture(scope="module")
def refitted(searched):
    """The run with both trials refitted, the first by three seeds."""
    for trial, seeds in ((0, 3), (1, 1)):
        _, members = refit_model(searched, ensemble="best", trial=trial, seeds=seeds)
        assert [member.number for member in members] == [trial]
    return searched


def material_of(run):
    search = run.search()
    patches = open_patch_set(*search.data_location)
    return training_data_of(patches, task_named(TASK), read_split(run.split_file))


@pytest.fixture
def runtime(tmp_path):
    return TrialRuntime(tmp_path / "store", torch.device("cpu"), {"scratch4": None})


def config_of(**changes):
    return decode({**SCRATCH, "training.epochs": 3, **changes})


def differ(first, second):
    return any(not torch.equal(first[name], second[name]) for name in first)


# -- the training


def test_a_refit_trains_on_every_image_of_the_training_part_and_on_no_other(searched, runtime):
    training_data = material_of(searched)
    whole = refit(config_of(), training_data, runtime, epochs=1, seeds=1, seed=0)
    assert whole.images == len(training_data.rows) < len(training_data.patch_set.labels)
    half = refit(
        config_of(**{"training.train_fraction": 0.5}), training_data, runtime, epochs=1, seeds=1, seed=0
    )
    assert half.images < whole.images


def test_absurd_sealed_images_change_nothing_and_absurd_training_images_do(searched, runtime):
    training_data = material_of(searched)
    plain = refit(config_of(), training_data, runtime, epochs=2, seeds=1, seed=0).weights[0]
    images = np.array(training_data.patch_set.images)
    sealed = np.setdiff1d(np.arange(len(images)), training_data.rows)
    assert len(sealed) > 0
    for rows, is_other in ((sealed, False), (training_data.rows[:1], True)):
        spoilt = images.copy()
        spoilt[rows] = 65535
        patches = dataclasses.replace(training_data.patch_set, images=spoilt, fingerprint=f"{is_other:064d}")
        found = refit(
            config_of(),
            dataclasses.replace(training_data, patch_set=patches),
            runtime,
            epochs=2,
            seeds=1,
            seed=0,
        )
        assert differ(found.weights[0], plain) == is_other


def test_the_folds_of_the_search_play_no_part(searched, runtime):
    training_data = material_of(searched)
    other = dataclasses.replace(training_data, folds=training_data.folds[::-1].copy())
    first, second = (
        refit(config_of(), one, runtime, epochs=1, seeds=1, seed=0).weights[0]
        for one in (training_data, other)
    )
    assert not differ(first, second)


def test_a_refit_stops_within_the_schedule_of_the_search(searched, runtime):
    """A cosine over three epochs that stops after two, not a cosine over two."""
    training_data = material_of(searched)
    stopped = refit(config_of(), training_data, runtime, epochs=2, seeds=1, seed=0).weights[0]
    own = config_of()
    features, _ = open_features(own, training_data, runtime)
    whole = dataclasses.replace(training_data, folds=np.full(len(training_data.folds), TRAINING))
    folds = build_models(own, whole, runtime, features=features, seed=0, mode="sequential")
    for epoch in range(2):
        folds.train_epoch(epoch, active=[True])
    assert not differ(stopped, folds.kept_states(0)[0])
    shorter = config_of(**{"training.epochs": 2, "training.augment_last": 1})
    assert differ(stopped, refit(shorter, training_data, runtime, epochs=2, seeds=1, seed=0).weights[0])


def test_seeds_are_different_models_and_the_first_is_the_same_alone(searched, runtime):
    training_data = material_of(searched)
    two = refit(config_of(), training_data, runtime, epochs=1, seeds=2, seed=0).weights
    assert len(two) == 2
    assert differ(*two)
    alone = refit(config_of(), training_data, runtime, epochs=1, seeds=1, seed=0).weights
    assert not differ(two[0], alone[0])


def test_a_learning_rate_that_followed_the_losses_follows_them_again(searched, runtime):
    training_data = material_of(searched)
    plateau = config_of(**{"optimizer.schedule": "plateau", "optimizer.step_epochs": 1})
    arguments = {"epochs": 3, "seeds": 1, "seed": 0}
    with pytest.raises(ConfigError, match="record holds 1 of the 2 that are needed"):
        refit(plateau, training_data, runtime, **arguments, losses=[1.0])
    falling = refit(plateau, training_data, runtime, **arguments, losses=[1.0, 0.9, 0.8]).weights[0]
    rising = refit(plateau, training_data, runtime, **arguments, losses=[1.0, 1.1, 1.2]).weights[0]
    constant = refit(
        config_of(**{"optimizer.schedule": "constant"}), training_data, runtime, **arguments
    ).weights[0]
    assert not differ(falling, constant)
    assert differ(rising, constant)


def test_a_refit_goes_on_from_the_first_fold_of_a_finished_trial(searched, runtime):
    training_data = material_of(searched)
    folds = read_fold_weights(searched.trial(0) / "folds")
    started = config_of(**{"model.weights": "start", "optimizer.lr": 1e-12})
    found = [
        refit(
            started,
            training_data,
            dataclasses.replace(runtime, start=WarmStart(config_of(), states)),
            epochs=1,
            seeds=1,
            seed=0,
        ).weights[0]
        for states in (folds, folds[:1], folds[1:])
    ]
    stage = next(name for name in found[0] if name.startswith("trained.") and name.endswith("weight"))
    torch.testing.assert_close(found[0][stage], found[1][stage])
    assert not torch.allclose(found[0][stage], found[2][stage])


def test_a_refit_of_pairs_has_their_first_phase_too(paired_patches, runtime):
    task = task_named(TASK)
    split = make_split(
        select_rows(paired_patches, task),
        fingerprint=paired_patches.fingerprint,
        task=TASK,
        folds=3,
        test_share=0.25,
        seed=0,
    )
    training_data = training_data_of(paired_patches, task, split)
    config = config_of(
        **{
            "model.pair": "diff",
            "training.first_phase": "five_class",
            "training.first_phase_epochs": 1,
            "training.first_phase_freezes": True,
        }
    )
    found = refit(config, training_data, runtime, epochs=1, seeds=2, seed=0).weights
    whole = dataclasses.replace(training_data, folds=np.full(len(training_data.folds), TRAINING))
    first = train_first_phase(refitted_config(config, 2), whole, runtime, seed=0, mode="sequential")
    assert len(found) == len(first) == 2
    for own, learnt in zip(found, first, strict=True):
        assert any(name.startswith("trained.") for name in learnt)
        for name, tensor in learnt.items():
            torch.testing.assert_close(own[name], tensor)


# -- the run folder


def test_a_refitted_trial_lies_in_its_folder_and_says_how_it_was_trained(refitted):
    folder = refitted.trial(0) / "refit"
    assert sorted(path.name for path in folder.iterdir()) == [
        "0.safetensors",
        "1.safetensors",
        "2.safetensors",
        "refit.json",
    ]
    record = read_refit(refitted, 0)
    assert (record.epochs, record.seeds, record.images) == (CHOSEN, 3, len(material_of(refitted).rows))
    assert record.seconds > 0
    assert sorted(path.name for path in refitted.trial(0).iterdir()) == [
        "folds",
        "oof.npz",
        "record.json",
        "refit",
    ]


def test_what_was_refitted_already_is_left_alone_and_other_seeds_replace_it(refitted):
    before = (refitted.trial(1) / "refit" / "refit.json").read_bytes()
    (member,) = refit_model(refitted, ensemble="best", trial=1, seeds=1)[1]
    assert "was there already" in member.message()
    assert (refitted.trial(1) / "refit" / "refit.json").read_bytes() == before
    (member,) = refit_model(refitted, ensemble="best", trial=1, seeds=2)[1]
    assert member.is_new
    assert len(read_fold_weights(refitted.trial(1) / "refit")) == 2
    assert sum(path.name.startswith(".refit") for path in refitted.trial(1).iterdir()) == 0


def test_a_refit_that_fails_leaves_what_was_there(refitted, monkeypatch):
    before = (refitted.trial(0) / "refit" / "refit.json").read_bytes()

    def full(folder, weights):
        (folder / "0.safetensors").write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr("orchestrator.postprocessing.refit.write_fold_weights", full)
    with pytest.raises(OSError, match="no space left"):
        list(refit_model(refitted, ensemble="best", trial=0, seeds=2)[1])
    assert (refitted.trial(0) / "refit" / "refit.json").read_bytes() == before
    assert len(read_fold_weights(refitted.trial(0) / "refit")) == 3
    assert not list(refitted.trial(0).glob(".refit*"))


def test_what_cannot_be_refitted_is_refused(searched, tmp_path):
    with pytest.raises(RunError, match="--seeds must be at least 1, found 0"):
        refit_model(searched, ensemble="best", trial=0, seeds=0)
    update(searched, 1, best_epoch=None)
    with pytest.raises(RunError, match=r"trial 1 .* no record of the epoch that was chosen"):
        refit_model(searched, ensemble="average", trial=None, seeds=1)
    update(searched, 1, best_epoch=CHOSEN)


def run_config(run, number):
    return run.record(number).config


def test_folds_that_stopped_by_themselves_are_told_of(refitted):
    update(refitted, 1, config=run_config(refitted, 1) | {"training.early_stopping_scope": "fold"})
    (member,) = refit_model(refitted, ensemble="best", trial=1, seeds=4)[1]
    assert "each fold kept an epoch of its own (training.early_stopping_scope=fold)" in member.message()
    update(refitted, 1, config=run_config(refitted, 1) | {"training.early_stopping_scope": "mean"})


def whole_refit(run, number):
    """Number of a trial's models once it is refitted again if it must be, and whether it was."""
    (member,) = refit_model(run, ensemble="best", trial=number, seeds=1)[1]
    return len(read_fold_weights(refit_folder(run, number))), member.is_new


@pytest.fixture
def once(searched):
    """Folder of the only model that trial 1 was refitted to."""
    whole_refit(searched, 1)
    return refit_folder(searched, 1)


def gone(folder):
    (folder / "0.safetensors").unlink()


def cut(folder):
    path = folder / "0.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def changed(folder):
    path = folder / "0.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def without_record(folder):
    (folder / "refit.json").write_text("{")


DAMAGES = {
    gone: r"0\.safetensors is damaged: it is not there",
    cut: r"0\.safetensors is damaged: it ends too early",
    changed: r"the weights in .*refit are damaged: they are not those written",
    without_record: r"refit\.json is damaged",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_refit_that_is_not_whole_is_named_and_trained_again(searched, once, damage):
    damage(once)
    with pytest.raises(DamagedFileError, match=rf"{DAMAGES[damage]}.*orchestrate refit .*--trial 1"):
        resolve_model(searched, trial=1, refit=True)
    assert whole_refit(searched, 1) == (1, True)
    assert whole_refit(searched, 1) == (1, False)


def test_a_refit_of_a_trial_that_was_run_again_is_none_of_it(searched, once):
    before = searched.out_of_fold(1)
    searched.write_out_of_fold(1, dataclasses.replace(before, probabilities=before.probabilities[:, ::-1]))
    try:
        with pytest.raises(DamagedFileError, match="is a refit of trial 1 before it was run again"):
            read_refit(searched, 1)
        assert whole_refit(searched, 1) == (1, True)
    finally:
        searched.write_out_of_fold(1, before)


def test_a_refit_of_an_earlier_version_is_taken_without_digests(searched, once):
    path = once / "refit.json"
    known = json.loads(path.read_bytes())
    digests = {known.pop(name) for name in ("predictions_digest", "weights_digest")}
    assert len(digests - {None}) == 2
    path.write_text(json.dumps(known))
    changed(once)
    assert whole_refit(searched, 1) == (1, False)
    changed(once)


def test_a_refit_that_cannot_be_kept_is_refused_before_it_is_trained(searched, monkeypatch):
    def trained(*arguments, **options):
        raise AssertionError("nothing is trained")

    def full(descriptor, offset, length):
        assert length >= 3 * (searched.weights_folder(1) / "0.safetensors").stat().st_size
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("orchestrator.postprocessing.refit.refit", trained)
    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        list(refit_model(searched, ensemble="best", trial=1, seeds=3)[1])
    assert not list(searched.trial(1).glob(".refit*"))


# -- what predicts with it


def test_a_refitted_model_predicts_with_its_own_weights_and_the_rule_of_the_search(refitted):
    rows = material_of(refitted).rows[:6]
    plain, chosen = (resolve_model(refitted, trial=0, refit=refit) for refit in (False, True))
    assert (plain.name, chosen.name) == ("trial 0", "trial 0, refitted")
    assert chosen.rule == plain.rule
    assert chosen.calibration == chosen.rule.calibration != plain.calibration == plain.rule.mean_calibration
    with_folds, with_refit = (
        open_row_predictor(refitted, trial=0, refit=refit)(rows) for refit in (False, True)
    )
    assert with_refit.shape == with_folds.shape
    assert np.abs(with_refit - with_folds).max() > 1e-3


def test_a_model_that_was_not_refitted_is_refused_with_the_command(tmp_path):
    run = make_run(tmp_path, {0: CONFIGS[0]})
    with pytest.raises(RunError, match=r"of trial 0 was trained .* orchestrate refit .*small --trial 0$"):
        resolve_model(run, trial=0, refit=True)


def test_an_ensemble_needs_all_of_its_members(searched):
    chosen = resolve_model(searched, ensemble="average", refit=True)
    assert chosen.name == "ensemble average, refitted"
    assert chosen.is_refitted


def test_a_bundle_of_refitted_models_is_compared_with_torch_alone(refitted, tmp_path):
    report = export_bundle(refitted, tmp_path / "bundle", trial=0, refit=True, held_out_limit=4)
    manifest = report.manifest
    assert manifest.is_refitted
    assert manifest.method == "trial 0, refitted"
    assert manifest.members[0].folds == 3
    assert manifest.parity.out_of_fold_difference is None
    assert manifest.parity.onnx_difference < 1e-4
    assert any("refitted models have seen them all" in message for message in report.messages())
    card = model_card(manifest)
    assert "trained on all of them after the search" in card
    assert "Each fold model saw the folds other than its own." not in card


def test_the_verbs_refit_and_evaluate_and_log_the_refitted_model(refitted, capsys):
    path = str(refitted.path)
    assert main(["refit", path, "--trial", "0", "--seeds", "3"]) == 0
    assert "next: orchestrate evaluate" in capsys.readouterr().err
    assert main(["evaluate", path, "--trial", "0", "--refit", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == "trial 0, refitted"
    assert read_accesses(refitted)[-1].model == "trial 0, refitted"
    patches = material_of(refitted).patch_set
    sealed = read_split(refitted.split_file).folds_of(select_rows(patches, task_named(TASK))) == TEST
    assert found["images"] == sealed.sum()


def test_another_refit_of_a_trial_has_another_digest(refitted):
    before = refit_digest(refitted, (0,))
    path = next(refit_folder(refitted, 0).glob("*.safetensors"))
    kept = path.read_bytes()
    try:
        path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        assert refit_digest(refitted, (0,)) != before
    finally:
        path.write_bytes(kept)
    assert refit_digest(refitted, (0,)) == before
    assert resolve_model(refitted, trial=0, refit=True).refit_digest == before
