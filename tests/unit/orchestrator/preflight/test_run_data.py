"""What a user says of the store on the command line reaches the trial that reads it."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import space_context
import torch
from finished_run import make_run
from worker_run import CONTEXT

from orchestrator.cli.main import build_parser
from orchestrator.preflight import run_data
from orchestrator.request import parse_request
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from trainables.common.errors import ConfigError, SplitError, WeightsError
from trainables.data.patches import select_rows
from trainables.data.split_record import read_split, write_split
from trainables.data.splits import make_split
from trainables.data.training_data import training_data_of
from trainables.models.registry import backbone_named
from trainables.models.weights import Inventory, WeightsFile


def test_the_record_decides_how_a_worker_stores_features(
    tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    run = RunFolder(tmp_path / "run")
    run.write_search(
        make_search(space_context=CONTEXT, features="float32", store_gb=1.5, shared_store="/shared")
    )
    runtime = run_data._runtime(run, torch.device("cpu"), ())
    assert (runtime.features, runtime.store_gb, runtime.shared_store) == ("float32", 1.5, Path("/shared"))


def test_the_options_of_a_search_are_read() -> None:
    typed = ["search", "benign_malignant", "--features", "off", "--store-gb", "20", "--shared-store", "x"]
    chosen = build_parser().parse_args(typed)
    assert (chosen.features, chosen.store_gb, chosen.shared_store) == ("off", 20.0, Path("x"))


@pytest.mark.parametrize("size", [-1.0, float("nan")])
def test_a_budget_that_is_none_is_refused(tmp_path: Path, size: float) -> None:
    with pytest.raises(ConfigError, match="--store-gb must be at least 0, found"):
        parse_request({"task": "benign_malignant", "runs": tmp_path, "store_gb": size})


def begun_run(folder: Path) -> RunFolder:
    """A run of three folds without a trial."""
    run = make_run(folder, {}, backbones=("texture",), folds=3)
    context = space_context.context(backbones=("texture",)).model_dump(mode="json")
    run.write_search(run.search().model_copy(update={"space_context": context}))
    return run


def cut_anew(run: RunFolder, *, seed: int) -> None:
    """Put another split in the place of the one of a run, and let the record say so."""
    search, before = run.search(), read_split(run.split_file)
    rows = select_rows(run.patch_set(), search.task_definition)
    split = make_split(
        rows, fingerprint=before.fingerprint, task=search.task, folds=before.folds, test_share=0.2, seed=seed
    )
    run.split_file.unlink()
    write_split(run.split_file, split)
    run.write_search(search.model_copy(update={"split_digest": split.digest}))


def test_another_run_in_the_place_of_an_earlier_one_has_its_own_split(tmp_path: Path) -> None:
    run = begun_run(tmp_path)
    first, _ = run_data.open_run_data(run, run.search(), torch.device("cpu"))
    same, _ = run_data.open_run_data(run, run.search(), torch.device("cpu"))
    assert same is first  # for the next trial of this process
    cut_anew(run, seed=2)
    second, _ = run_data.open_run_data(run, run.search(), torch.device("cpu"))
    plain, _ = run_data.open_baseline_data(run, run.search())
    expected = training_data_of(
        run.patch_set(), run.search().task_definition, read_split(run.split_file), "image"
    )
    assert not np.array_equal(first.scored.folds, expected.scored.folds)
    for found in (second, plain):
        np.testing.assert_array_equal(found.scored.rows, expected.scored.rows)
        np.testing.assert_array_equal(found.scored.folds, expected.scored.folds)


def test_the_runtime_is_that_of_the_record_as_it_is_now(tmp_path: Path) -> None:
    run = begun_run(tmp_path)
    before = run_data.open_run_data(run, run.search(), torch.device("cpu"))[1]
    run.write_search(run.search().with_options(features="float32"))
    after = run_data.open_run_data(run, run.search(), torch.device("cpu"))[1]
    assert before.features != after.features == "float32"


def test_a_split_that_is_gone_is_missed_although_it_was_read_before(tmp_path: Path) -> None:
    run = begun_run(tmp_path)
    run_data.open_run_data(run, run.search(), torch.device("cpu"))
    run.split_file.unlink()
    with pytest.raises(SplitError, match="no split at"):
        run_data.open_run_data(run, run.search(), torch.device("cpu"))


def test_a_trial_finds_out_what_its_own_nets_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()
    nets = ("vgg16", "texture")
    run = make_run(tmp_path, {}, backbones=nets, folds=3)
    context = space_context.context(backbones=nets).model_dump(mode="json")
    run.write_search(
        run.search().model_copy(update={"space_context": context, "weights": {"vgg16": "0" * 64}})
    )

    def shapes(name: str, *_: int) -> dict[str, tuple[int, int, int]]:
        asked.append(name)
        return dict.fromkeys(backbone_named(name).stage_names, (8, 1, 1))

    def inventory(names: tuple[str, ...], **_: object) -> Inventory:
        asked.extend(names)
        usable = {name: None if name == "texture" else WeightsFile(tmp_path, "", "1" * 64) for name in names}
        return Inventory(usable, {})

    monkeypatch.setattr(run_data, "feature_shapes", shapes)
    monkeypatch.setattr(run_data, "take_inventory", inventory)
    _, runtime = run_data.open_run_data(run, run.search(), torch.device("cpu"))
    assert asked == []
    assert runtime.weights["texture"] is None
    assert runtime.taps["texture"] == runtime.taps["texture"]
    assert asked == ["texture", "texture"]  # once for each of the two
    assert runtime.weights.get("resnet50") is None
    with pytest.raises(WeightsError, match="is not the file that the search was started with"):
        _ = pickle.loads(pickle.dumps(runtime)).weights["vgg16"]  # as the process of a fold has it
    assert [tap.is_pooled for tap in runtime.taps["vgg16"]].count(True) == 3
