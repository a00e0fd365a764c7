"""What a refit leaves in the run folder: digests, damage that is named, and what is trained again."""

import dataclasses
import errno
import json

import pytest
from refitted_run import CHOSEN, material_of, update

from orchestrator.postprocessing.refit import refit_model
from results.errors import DamagedFileError, RunError
from results.predictors.selected_model import resolve_model
from results.run.refit_records import read_refit, refit_digest, refit_folder
from trainables.runtime.checkpoint import read_fold_weights


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


def test_a_refit_has_as_many_models_as_a_fold_had_unless_others_are_asked_for(searched):
    before = run_config(searched, 1)
    update(searched, 1, config=before | {"training.repeats": 2})
    try:
        (member,) = refit_model(searched, ensemble="best", trial=1)[1]
        assert len(read_fold_weights(refit_folder(searched, 1))) == member.record.seeds == 2
        assert "calibration" not in member.message()
        (member,) = refit_model(searched, ensemble="best", trial=1, seeds=1)[1]
        assert member.record.seeds == 1
        assert "calibration and threshold of trial 1 are of folds of 2 models" in member.message()
    finally:
        update(searched, 1, config=before)


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
