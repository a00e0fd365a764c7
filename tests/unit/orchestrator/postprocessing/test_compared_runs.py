"""Comparisons of models of two runs: marks, and what may be compared at all."""

import json

import numpy as np
import pytest
from finished_run import CONFIGS, TASK, make_run
from hospital import hospital_patches

from orchestrator.cli.main import main
from orchestrator.postprocessing.comparing import compare, parse_model
from results.ensembles.build import build_ensembles
from results.errors import RunError
from trainables.data.patches import RawPatches


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    found = make_run(folder, {0: CONFIGS[0]}, raw=hospital_patches(0), backbones=("scratch4",))
    build_ensembles(found, seed=0)
    return found


def test_a_comparison_asked_for_before_the_search_carries_its_mark(run, capsys):
    record = run.search()
    run.write_search(record.with_options(comparisons=("0:best_single",)))
    try:
        assert main(["compare", f"{run.path}:best_single", f"{run.path}:0", "--format", "json"]) == 0
    finally:
        run.write_search(record)
    assert json.loads(capsys.readouterr().out)["comparisons"][0]["is_pre_registered"]


def test_runs_of_other_data_are_not_compared(run, tmp_path):
    record = run.search()
    other = type(run)(tmp_path / "runs" / TASK / "other")
    other.write_search(record.model_copy(update={"fingerprint": "e" * 64}))
    models = [parse_model(f"{run.path}:0", tmp_path), parse_model(f"{other.path}:trial 0", tmp_path)]
    assert models[1][2] == 0
    with pytest.raises(RunError, match=r"on the same data alone.*no stored patch set eeeeeeeeeeee"):
        compare(models)
    by_breast = record.with_options(unit="breast")
    other.write_search(by_breast.model_copy(update={"fingerprint": "e" * 64}))
    with pytest.raises(RunError, match="has unit breast"):
        compare(models)
    further = type(run)(tmp_path / "runs" / TASK / "further")
    further.write_search(by_breast)
    with pytest.raises(RunError, match="and a breast may have grown"):
        compare([(further, "best", 0), models[1]])


def test_runs_whose_data_have_grown_are_compared_on_the_images_that_both_know(run, tmp_path):
    """The later set holds the earlier images in other rows, behind others, and without twelve of them."""
    kept, new = hospital_patches(0), hospital_patches(7, images=32)
    order = np.arange(12, 128)[::-1]
    grown = RawPatches(
        np.concatenate([new.images, kept.images[order]]),
        np.concatenate([new.labels, kept.labels[order]]),
        "task",
        patients=np.concatenate([new.patients, kept.patients[order]]),
        source="both",
        is_synthetic=True,
    )
    later = make_run(tmp_path, {0: CONFIGS[0]}, raw=grown, backbones=("scratch4",))
    later = type(run)(later.path.rename(tmp_path / "later"))
    before, after = run.out_of_fold(0), later.out_of_fold(0)
    found = compare([(later, "best", 0), (run, "best", 0)], metric="auc")
    both = set(before.groups) & set(after.groups)
    assert found.groups == len(both) < len(set(before.groups))
    assert f"{run.path.name} holds other data: only images that both runs know are compared" in found.notes
    assert compare([(run, "best", 0), (later, "best", 0)]).images == found.images
