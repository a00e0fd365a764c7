"""The result of a search in Python: tables, models and files of a finished run, without Ray."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from finished_run import CONFIGS, make_run, pixels
from space_context import context

from orchestrator import SearchResult, load_bundle, open_run
from results.errors import ExportError, RunError
from results.run.run_folder import RunFolder
from results.run.test_accesses import read_accesses
from results.scores.leaderboard import leaderboard
from trainables.common.errors import ConfigError, UnknownNameError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = make_run(tmp_path_factory.mktemp("finished"), {number: CONFIGS[number] for number in (0, 1)})
    facts = context(("scratch4", "efficientnet_lite0")).model_dump(mode="json")
    run.write_search(run.search().model_copy(update={"space_context": facts}))
    for record in run.records():
        run.write_record(record.model_copy(update={"best_epoch": 1, "epochs": 1}))
    return run


@pytest.fixture
def result(run: RunFolder) -> SearchResult:
    return open_run(run.path)


def test_a_run_is_opened_by_path_name_and_folder(run: RunFolder) -> None:
    runs = run.path.parents[1]
    for name in ("small", "benign_malignant/small", "latest"):
        assert open_run(name, runs).path == run.path
    assert open_run(run).run == open_run(str(run.path)).run == run


def test_a_run_that_is_not_there_is_refused_with_the_known_ones(run: RunFolder) -> None:
    with pytest.raises(RunError, match=r"no run 'smal'.*benign_malignant/small"):
        open_run("smal", run.path.parents[1])


def test_a_folder_without_a_search_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run folder"):
        SearchResult(RunFolder(tmp_path))


def test_there_is_a_row_for_each_trial(result: SearchResult) -> None:
    table = result.trials()
    assert list(table["number"]) == [0, 1]
    assert list(table["state"]) == ["complete", "complete"]
    assert {"cause", "value", "best_epoch", "epochs", "seconds", "recipe", "error"} <= set(table)
    assert [record.value for record in result.records] == list(table["value"])


def test_what_the_sampler_chose_and_the_whole_configuration_are_columns(
    result: SearchResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = result.records
    chosen = [first.model_copy(update={"params": {"optimizer.lr": 0.1}}), second]
    monkeypatch.setattr(RunFolder, "records", lambda self: chosen)
    table = result.trials(settings=True)
    assert table["params_optimizer.lr"].tolist()[0] == 0.1
    assert np.isnan(table["params_optimizer.lr"].tolist()[1])
    assert list(table["settings_model.backbone"]) == ["scratch4", "efficientnet_lite0"]


def test_a_search_without_trials_has_empty_tables_and_no_best_trial(run: RunFolder, tmp_path: Path) -> None:
    empty = RunFolder(tmp_path / "empty")
    empty.write_search(run.search())
    found = SearchResult(empty)
    assert found.best is None
    assert found.is_interrupted
    assert len(found.trials()) == 0
    assert "number" in found.trials()
    assert "no best trial" in repr(found)
    assert found._repr_html_().count("<table>") == 0


def test_the_leaderboard_is_that_of_the_verb(result: SearchResult) -> None:
    rows, table = leaderboard(result.run), result.leaderboard()
    assert list(table["trial"].dropna()) == [row.trial for row in rows if row.trial is not None]
    assert set(table["state"]) == {"complete", "reference", "baseline"}
    assert [None if np.isnan(auc) else auc for auc in table["auc"]] == [row.auc for row in rows]


def test_the_best_trial_has_the_highest_value(result: SearchResult) -> None:
    assert result.best is not None
    assert result.best.value == max(record.value or 0.0 for record in result.records)


def test_a_search_is_interrupted_if_trials_and_time_are_left(run: RunFolder) -> None:
    assert open_run(run).is_interrupted  # two trials of five have ended
    assert not SearchResult(run, is_interrupted=False).is_interrupted


def test_it_describes_itself_in_one_line_and_in_a_notebook(result: SearchResult) -> None:
    assert repr(result).startswith("<SearchResult SYNTHETIC benign_malignant/small: 2 of 5 trials ended")
    shown = result._repr_html_()
    assert shown.count("<tr>") == 3
    assert "scratch4" in shown


def test_ensembles_are_built_once_and_read_afterwards(result: SearchResult) -> None:
    built = result.ensembles()
    assert built["is_chosen"].sum() == 1
    file = result.run.ensemble_file("best")
    before = file.stat().st_mtime_ns
    pd.testing.assert_frame_equal(
        result.ensembles().sort_values("method", ignore_index=True),
        built.sort_values("method", ignore_index=True),
    )
    assert file.stat().st_mtime_ns == before


def test_ensembles_are_built_again_when_options_are_given(result: SearchResult) -> None:
    found = result.ensembles(methods=("average",), max_members=1)
    assert set(found["method"]) == {"best_single", "average"}
    with pytest.raises(UnknownNameError, match="averag"):
        result.ensembles(methods=("averag",))


def test_ensembles_are_built_again_when_further_trials_have_ended(result: SearchResult) -> None:
    result.ensembles()
    before = result.run.ensemble_file("best").stat().st_mtime_ns
    record = result.records[0].model_copy(update={"number": 9})
    result.run.write_out_of_fold(9, result.run.out_of_fold(0))
    result.run.write_record(record)
    try:
        result.ensembles()
        assert result.run.ensemble_file("best").stat().st_mtime_ns != before
    finally:
        result.run.record_file(9).unlink()
        result.build_ensembles()


@pytest.mark.parametrize(
    "model",
    [
        {},
        pytest.param({"trial": 0}, marks=pytest.mark.long),
        pytest.param({"ensemble": "average"}, marks=pytest.mark.long),
    ],
    ids=str,
)
def test_arrays_are_predicted_as_the_bundle_predicts_them(
    result: SearchResult, model: dict[str, Any], tmp_path: Path
) -> None:
    images = pixels()[:5]
    table = result.predict(images, **model)
    bundle = load_bundle(result.export(tmp_path / "bundle", **model))
    expected = bundle.predict(list(images))
    np.testing.assert_allclose(table[["benign", "malignant"]], expected, atol=1e-5)
    classes = bundle.manifest.classes
    assert list(table["predicted_class"]) == [classes[index] for index in bundle.decide(expected)]


def test_arrays_of_several_sizes_are_predicted_together(result: SearchResult) -> None:
    both = [pixels()[0], pixels(side=72)[1]]
    table = result.predict(both, trial=0)
    alone = pd.concat([result.predict([one], trial=0) for one in both], ignore_index=True)
    np.testing.assert_allclose(table[["benign", "malignant"]], alone[["benign", "malignant"]], atol=1e-6)


def test_files_are_predicted_and_those_that_cannot_be_are_named(result: SearchResult, tmp_path: Path) -> None:
    image, broken = tmp_path / "one.png", tmp_path / "two.png"
    cv2.imwrite(str(image), pixels()[1])
    broken.write_bytes(b"no image")
    with pytest.warns(UserWarning, match=r"1 file of 2 could not be predicted: the column fault says why"):
        table = result.predict([broken, image], trial=0)
    assert list(table.index) == [str(broken), str(image)]
    assert "two.png" in table.loc[str(broken), "fault"]
    assert np.isnan(table.loc[str(broken), "benign"])
    expected = result.predict(pixels()[1:2], trial=0)
    assert table.loc[str(image), "malignant"] == pytest.approx(expected["malignant"][0], abs=1e-6)
    assert len(result.predict(image, trial=0)) == 1


def test_paths_may_be_an_array_or_a_series_and_what_was_done_to_files_is_a_warning(
    result: SearchResult, tmp_path: Path
) -> None:
    files = [tmp_path / f"{number}.png" for number in range(2)]
    for file, image in zip(files, pixels(), strict=False):
        cv2.imwrite(str(file), image)
    expected = result.predict(files, trial=0)
    names = [str(file) for file in files]
    for given in (np.array(files, dtype=object), np.array(names), pd.Series(files), pd.Series(names)):
        pd.testing.assert_frame_equal(result.predict(given, trial=0), expected)
    cv2.imwrite(str(files[0]), np.full((64, 64), 90, np.uint8))
    with pytest.warns(UserWarning, match=r"1 of 1 images have another depth .*: 0\.png"):
        result.predict(files[0], trial=0)


def test_views_and_sides_are_those_of_files_of_mammograms(result: SearchResult, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), pixels()[0])
    with pytest.raises(ExportError, match="takes files as they are, and no view or side"):
        result.predict(tmp_path / "one.png", trial=0, views="CC")
    with pytest.raises(ExportError, match="unknown view XX"):
        result.predict(tmp_path / "one.png", trial=0, views=["XX"], laterality="L")
    with pytest.raises(ConfigError, match="views and laterality are those of image files"):
        result.predict(pixels()[:1], trial=0, laterality=["L"])


def test_images_of_another_shape_or_range_are_refused(result: SearchResult) -> None:
    with pytest.raises(ExportError, match=r"image 0 must have shape \(H, W\)"):
        result.predict(pixels(colours=True)[:1], trial=0)
    with pytest.raises(ExportError, match="raw pixels from 0 to"):
        result.predict(pixels()[:1].astype(np.int64) * 2, trial=0)
    with pytest.raises(ConfigError, match="all arrays or all paths"):
        result.predict([pixels()[0], "image.png"], trial=0)


def test_a_look_at_the_test_part_is_logged_with_the_call(result: SearchResult) -> None:
    before = len(read_accesses(result.run))
    found = result.evaluate(trial=1)
    accesses = read_accesses(result.run)
    assert len(accesses) == before + 1
    assert accesses[-1].by == f"open_run({str(result.path)!r}).evaluate(trial=1)"
    assert found.model == "trial 1"
    table = found.as_frame()
    assert table.loc["auc", "test"] == found.metrics["auc"].estimate
    assert f"look number {found.opening}" in found._repr_html_()


def test_a_refit_is_predicted_with(result: SearchResult) -> None:
    done = result.refit(trial=1)
    assert list(done["trial"]) == [1]
    assert done["is_new"].all()
    assert not result.refit(trial=1)["is_new"].any()
    folds, refitted = (result.predict(pixels()[:2], trial=1, refit=refit) for refit in (False, True))
    assert not np.allclose(folds["malignant"], refitted["malignant"], atol=1e-6)


def test_the_threshold_sweep_marks_that_of_the_model(result: SearchResult) -> None:
    table = result.thresholds(trial=0)
    assert table["is_chosen"].sum() == 1
    assert table["threshold"].is_monotonic_increasing


def test_thresholds_of_a_decision_curve_may_be_an_array_and_none_at_all_are_refused(
    result: SearchResult,
) -> None:
    curve = result.decision_curve(trial=0, thresholds=np.array([0.2, 0.4]))
    assert [one.threshold for one in curve.points] == [0.2, 0.4]
    assert len(result.decision_curve(trial=0).points) == 13
    with pytest.raises(ConfigError, match="needs at least one threshold, found none"):
        result.decision_curve(trial=0, thresholds=[])


def test_a_folder_that_holds_something_is_not_exported_to(result: SearchResult, tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    with pytest.raises(ExportError, match="holds"):
        result.export(tmp_path, trial=0)
