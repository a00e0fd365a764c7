"""Scores of a naive split carry its name wherever they are printed or written; others never do."""

import csv
import io
import json

import numpy as np
import pytest
from finished_run import CONFIGS, make_run
from rich.console import Console

from orchestrator.cli.main import main
from orchestrator.reporting.best_trials import draw_best
from orchestrator.reporting.closing_summary import closing_summary
from orchestrator.reporting.setting_columns import setting_columns
from orchestrator.reporting.tensorboard import TensorBoardLog
from orchestrator.reporting.terminal import SearchProgress
from results.ensembles.build import build_ensembles
from results.export.bundle import export_bundle
from results.run.split_labels import NAIVE_WARNING
from trainables.data.split_record import read_split

pytestmark = pytest.mark.slow

NAMED = "AUC (naive split)"
VERBS = [["leaderboard"], ["ensemble", "--methods", "average"], ["thresholds"], ["evaluate"]]


@pytest.fixture(scope="module")
def naive(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("naive"), is_naive=True)


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("grouped"), is_naive=False)


def finished(folder, *, is_naive):
    run = make_run(folder, {0: CONFIGS[0], 5: CONFIGS[0]}, is_naive=is_naive)
    build_ensembles(run, methods=("average",), seed=0)
    return run


def printed(capsys, run, verb, *options):
    """What a verb prints on standard output, at 80 columns."""
    assert main([verb[0], str(run.path), *verb[1:], *options]) == 0
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_its_folds_tear_patients_apart_while_predictions_keep_their_patients(naive):
    split, kept = read_split(naive.split_file), naive.out_of_fold(0)
    folds = split.fold_of([f"row-{row}" for row in kept.rows])
    np.testing.assert_array_equal(folds, kept.folds)
    assert any(len(set(folds[kept.groups == patient].tolist())) > 1 for patient in set(kept.groups.tolist()))
    assert all(patient.startswith("P") for patient in kept.groups)  # intervals resample patients


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_every_table_names_it_in_eighty_columns(verb, naive, grouped, capsys):
    text = printed(capsys, naive, verb)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert NAIVE_WARNING in " ".join(text.split())
    assert (NAMED if verb[0] != "thresholds" else "ensemble average (naive split)") in text
    assert "naive" not in printed(capsys, grouped, verb).lower()


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_every_csv_and_json_row_names_it(verb, naive, grouped, capsys):
    for run, name in ((naive, "naive split"), (grouped, "grouped split")):
        rows = list(csv.DictReader(io.StringIO(printed(capsys, run, verb, "--format", "csv"))))
        assert {row["split"] for row in rows} == {name}
        found = json.loads(printed(capsys, run, verb, "--format", "json"))
        assert {row["split"] for row in (found if isinstance(found, list) else [found])} == {name}


def test_the_files_of_a_run_name_it(naive):
    assert main(["leaderboard", str(naive.path)]) == 0
    assert "naive split" in naive.leaderboard_file.read_text()
    assert '"naive split"' in naive.ensemble_file("best").read_text()
    assert json.loads(naive.split_file.read_text())["is_naive"] is True


@pytest.mark.long
def test_a_bundle_names_it(naive, grouped, tmp_path):
    report = export_bundle(naive, tmp_path / "naive", trial=0, held_out_limit=4)
    card = (tmp_path / "naive" / "model_card.md").read_text()
    assert report.manifest.split == "naive split"
    assert NAIVE_WARNING in card
    assert f"| {NAMED} |" in card
    assert NAIVE_WARNING in report.messages()
    assert any(f"out-of-fold {NAMED} " in sentence for sentence in report.messages())
    export_bundle(grouped, tmp_path / "grouped", trial=0, held_out_limit=4)
    assert "naive" not in (tmp_path / "grouped" / "model_card.md").read_text().lower()


def test_the_live_view_and_the_last_words_name_it():
    for split, is_named in (("naive split", True), ("grouped split", False)):
        console = Console(file=io.StringIO(), width=80)
        progress = SearchProgress(
            task="benign_malignant",
            name="first",
            data="noise",
            trials=2,
            minutes=None,
            workers=1,
            is_synthetic=True,
            split=split,
            console=console,
        )
        with progress:
            progress.finished(0, "complete", None, 0.81, "vgg16")
        console.print(progress._panel())
        console.print(progress._heartbeat_line(), soft_wrap=True)
        console.print(
            closing_summary(
                records=[], metric="auc", best=(0, 0.81, "vgg16"), folder="r", commands=[], split=split
            )
        )
        text = console.file.getvalue()
        assert ("SYNTHETIC NAIVE SPLIT search benign_malignant" in text) == is_named
        assert text.count("auc (naive split) 0.810") == (3 if is_named else 0)
        assert ("best 0.810 (naive split) (trial 0)" in text) == is_named
        assert (NAIVE_WARNING in " ".join(text.split())) == is_named


def _remember(marks):
    """Stands for what titles a picture; keeps the marks that it is given."""

    def titled(title, mark):
        marks.append(mark)
        return title

    return titled


def test_tensorboard_names_it_in_every_run_and_picture(naive, grouped, monkeypatch):
    for run, is_named in ((naive, True), (grouped, False)):
        titles = []
        monkeypatch.setattr("orchestrator.reporting.plots._titled", _remember(titles))
        draw_best(run, run.search(), run.records())
        TensorBoardLog(run.tensorboard, split=run.search().split_name).write_experiment(setting_columns())
        names = {path.name for path in run.tensorboard.iterdir() if path.is_dir()}
        assert {name.endswith("-naive-split") for name in names} == {is_named}
        assert len(titles) == 8
        assert {"NAIVE SPLIT" in title for title in titles} == {is_named}
        (experiment,) = run.tensorboard.glob("*.search")
        assert (b"auc (naive split), mean over folds" in experiment.read_bytes()) == is_named
