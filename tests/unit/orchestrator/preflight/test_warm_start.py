"""What a search takes over from the run that it builds on: folds, sealed patients, looks, and best trials."""

import datetime
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from finished_run import CONFIGS, TASK, make_run

from orchestrator.preflight.asked_backbones import asked_backbones
from orchestrator.preflight.initial_points import InitialPoints
from orchestrator.preflight.search_data import split_images
from orchestrator.preflight.warm_start import find_sources
from orchestrator.request import parse_request
from results.errors import RunError
from results.run.test_accesses import SealedPatients, opening_logs, openings_of, record_access, unknown_looks
from trainables.config.tasks import task_named
from trainables.data.patches import RawPatches, select_rows, store_patch_set
from trainables.data.split_record import TEST, read_split, write_split

LATER = {1: CONFIGS[0], 4: {**CONFIGS[0], "optimizer.lr": 0.01}, 6: {**CONFIGS[0], "optimizer.lr": 0.02}}


def _raw(*seeds, images=96):
    """For each seed 48 patients with two images each, under names of their own."""
    pixels = [
        np.random.default_rng(seed).integers(0, 255, (images, 48, 48), dtype=np.uint8) for seed in seeds
    ]
    patients = [f"S{seed}-{row // 4}-{row % 2}" for seed in seeds for row in range(images)]
    labels = np.arange(images * len(seeds)) % 2
    return RawPatches(np.concatenate(pixels), labels, "task", patients=np.array(patients), source="test")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return make_run(folder, LATER, raw=_raw(0), backbones=("scratch4",), folds=3)


def _sources(run, raw, folder, **options):
    patch_set = store_patch_set(raw, folder / "data")
    asked = {"task": TASK, "data": "x", "runs": str(folder), "start_from": str(run.path), "folds": 5}
    request = parse_request(asked | options)
    rows = select_rows(patch_set, request.task_definition)
    sources = find_sources(request, patch_set, rows)
    return sources, split_images(request, patch_set, rows, sources=sources)


def test_patients_of_the_earlier_search_keep_their_parts_in_data_that_have_grown(run, tmp_path):
    sources, split = _sources(run, _raw(5, 0), tmp_path)
    before = read_split(run.split_file)
    assert {group: split.fold_of_group[group] for group in before.fold_of_group} == before.fold_of_group
    assert split.folds == 3  # whatever was asked for
    sealed = sum(part == TEST for part in before.fold_of_group.values())
    (said,) = sources.messages
    assert "48 patients of theirs are here, too, and stay in their folds" in said
    assert f"{sealed} of them were sealed and stay so; 48 new" in said
    assert "WARNING" not in said
    assert "by their names alone" not in said


def test_without_the_earlier_images_patients_are_known_by_name_alone(run, tmp_path):
    record = run.search()
    (tmp_path / "old").mkdir()
    copy = type(run)(tmp_path / "old" / "run")
    shutil.copytree(run.path, copy.path)
    copy.write_search(record.model_copy(update={"store": str(tmp_path / "emptied")}))
    sources, _ = _sources(copy, _raw(5, 0), tmp_path)
    assert sources.grown is not None
    assert len(sources.grown.known) == 48
    (said,) = sources.messages
    assert "Their images are gone from the store, so patients are known by their names alone" in said
    elsewhere, split = _sources(copy, _raw(5), tmp_path)
    assert elsewhere.grown is None
    assert split.folds == 5
    assert "images are gone from the store, so make sure that no patient is in both" in elsewhere.messages[0]


def test_data_that_share_nothing_are_split_as_they_were_asked_to_be(run, tmp_path):
    sources, split = _sources(run, _raw(5), tmp_path)
    assert sources.grown is None
    assert split.folds == 5
    assert sources.messages[0].endswith("no patient or image of theirs is in these data")


def test_a_naive_split_of_known_patients_is_refused(run, tmp_path):
    with pytest.raises(RunError, match="has seen 48 patients of these data, and --naive-split would part"):
        _sources(run, _raw(5, 0), tmp_path, naive_split=True)


def test_looks_at_the_earlier_sealed_part_count_for_the_later_search(run, tmp_path):
    copy = type(run)(tmp_path / "run")
    shutil.copytree(run.path, copy.path)
    record = copy.search()
    copy.write_search(record.model_copy(update={"store": str(tmp_path / "store")}))
    groups = [group for group, part in read_split(copy.split_file).fold_of_group.items() if part == TEST]
    entry = {"opening": "one", "by": "evaluate", "model": "average", "trials": [1], "threshold": 0.5}
    entry |= {"when": datetime.datetime.now(datetime.UTC).isoformat(), "images": 2 * len(groups)}
    record_access(copy, entry | {"sealed": SealedPatients.of(np.array(groups)).digest})
    sources, split = _sources(copy, _raw(5, 0), tmp_path)
    assert sources.messages[0].endswith("WARNING: their test part was opened 1 time")

    later = type(run)(tmp_path / "later")
    asked = {"fingerprint": split.fingerprint, "store": str(tmp_path / "store")}
    later.write_search(record.with_options(start_from=None).model_copy(update=asked))
    write_split(later.split_file, split)
    assert openings_of(later, split) == []
    later.write_search(later.search().model_copy(update={"start_from": sources.start_from}))
    assert [one.opening for one in openings_of(later, split)] == ["one"]
    assert unknown_looks(later) == ""
    copy.path.rename(tmp_path / "renamed")
    assert [one.opening for one in openings_of(later, split)] == ["one"]  # in the log of the store
    assert unknown_looks(later) == ""
    earlier = sources.start_from.model_copy(update={"logs": ()})  # as earlier versions recorded it
    later.write_search(later.search().model_copy(update={"start_from": earlier}))
    assert openings_of(later, split) == []
    assert f"by the earlier run {copy.path} are not known" in unknown_looks(later)


def test_looks_are_counted_over_all_searches_that_one_builds_on(run, tmp_path):
    record, split = run.search(), read_split(run.split_file)
    sources, _ = _sources(run, _raw(5, 0), tmp_path)
    between = type(run)(tmp_path / "between")
    asked = {"start_from": sources.start_from, "fingerprint": "b" * 64}
    between.write_search(record.model_copy(update=asked))
    write_split(between.split_file, split)
    first, second = opening_logs(between)
    assert (first.fingerprint, second.fingerprint) == ("b" * 64, record.fingerprint)
    assert opening_logs(run) == (second,)


def test_the_trial_to_start_from_comes_before_the_best_ones(run, tmp_path):
    records = run.records()
    best = max(records, key=lambda record: record.value)
    worst = min(records, key=lambda record: record.value)
    found = [point.recipe for point in _sources(run, _raw(5, 0), tmp_path)[0].points]
    assert found[0] == f"small:{best.number}"
    assert sorted(found) == ["small:1", "small:4", "small:6"]
    asked = f"{run.path}:{worst.number}"
    sources, _ = _sources(run, _raw(5, 0), tmp_path, start_from=asked)
    assert [point.recipe for point in sources.points] == [
        f"small:{worst.number}",
        *(name for name in found if name != f"small:{worst.number}"),
    ]
    assert sources.points[0].settings == worst.config


def test_a_search_of_another_task_lends_its_weights_and_no_points(run, tmp_path):
    raw = _raw(5, 0)
    raw = replace(raw, labels=np.arange(len(raw.labels)) % 2, label_codes="task")
    sources, _ = _sources(run, raw, tmp_path, task="mass_calcification")
    assert task_named("mass_calcification").name != run.search().task
    assert sources.start_from is not None
    assert sources.points == ()


def test_weights_to_start_from_are_those_of_the_best_net_and_heads_lend_none(run, tmp_path):
    copy = type(run)(tmp_path / "run")
    shutil.copytree(run.path, copy.path)
    ranked = sorted(run.records(), key=lambda record: (-record.value, record.number))
    held = {"fixed_params": {"model.weights": "start"}}

    def make_head(number):
        file = copy.trial(number) / "record.json"
        content = json.loads(file.read_text())
        content["config"]["classical.name"] = "logistic"
        file.write_text(json.dumps(content))

    make_head(ranked[0].number)
    assert _sources(copy, _raw(5, 0), tmp_path)[0].start_from.trial == ranked[0].number
    sources, _ = _sources(copy, _raw(5, 0), tmp_path, **held)
    assert sources.start_from.trial == ranked[1].number
    for fixed in ({"model.weights": "start"}, {"model.weights": "start", "model.backbone": "vgg16"}):
        asked = asked_backbones(sources.holding(fixed), InitialPoints(()), is_table=False)
        assert asked == (fixed.get("model.backbone", "scratch4"),)
    assert sources.holding({"model.weights": "imagenet"}) == {"model.weights": "imagenet"}
    for record in ranked[1:]:
        make_head(record.number)
    with pytest.raises(RunError, match="closed-form heads: leave it out, and their settings are tried first"):
        _sources(copy, _raw(5, 0), tmp_path, **held)
