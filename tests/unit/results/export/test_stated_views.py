"""Films whose view and side a table stated at training, and no file does: they are stated at prediction."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_files import film
from films_with_table import films_with_table
from finished_run import CONFIGS, make_run

from orchestrator import prepare_set
from orchestrator.cli.main import main
from results.errors import ExportError
from results.export.bundle import export_bundle
from results.export.exported_model import Bundle, load_bundle
from results.export.file_reading import read_for
from results.export.onnx_predictor import predict_files
from results.export.view_and_side import Stated, check_stated, each_of, lacking, stated_by, stated_in_table
from trainables.data.declared_steps import AS_THEY_ARE
from trainables.data.mammogram.preparation import Preparation
from trainables.data.prepared_set import PreparedSet, open_prepared_set

pytestmark = pytest.mark.slow

CC = Stated("CC", "L")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return films_with_table(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def prepared(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedSet:
    out = tmp_path_factory.mktemp("set") / "set"
    films = {"mammograms": "yes"}
    prepare_set("dicom", tree, out, options=films, size=(96, 72), steps={"remove_pectoral": True}, workers=1)
    return open_prepared_set(out)


@pytest.fixture(scope="module")
def folder(prepared: PreparedSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export")
    export_bundle(
        make_run(out, {0: CONFIGS[0]}, raw=prepared.as_patches()), out / "bundle", trial=0, held_out_limit=4
    )
    return out / "bundle"


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return load_bundle(folder)


def test_films_of_a_stated_view_are_made_ready_as_the_set_was(
    bundle: Bundle, prepared: PreparedSet, tree: Path
) -> None:
    files = [tree / name for name in prepared.table["file"]]
    for file, image in zip(files, prepared.images, strict=True):
        np.testing.assert_array_equal(read_for(bundle, file, CC)[0], image)
    found = predict_files(bundle, files, stated=[CC])
    by_set = bundle.predict(list(prepared.images))
    np.testing.assert_allclose([one.probabilities for one in found.predictions], by_set, atol=1e-5)
    assert not any("view" in note for note in found.notes)


def test_films_of_no_stated_view_are_counted_in_a_warning(
    bundle: Bundle, prepared: PreparedSet, tree: Path
) -> None:
    files = [tree / name for name in prepared.table["file"]][:5]
    found = predict_files(bundle, files, stated=[CC, CC, Stated(), Stated(side="L"), CC])
    (note,) = [note for note in found.notes if "view" in note]
    assert note.startswith("2 of 5 images state no view, by which the pectoral muscle is removed")
    assert "say it with --view" in note
    is_same = np.array_equal(read_for(bundle, files[2])[0], prepared.images[2])
    assert not is_same  # so the warning is worth reading


def test_predict_takes_view_and_side_as_words(
    folder: Path, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(folder), str(tree / "0.png"), str(tree / "1.png"), "--format", "csv"]
    assert main(words) == 0
    unstated = capsys.readouterr()
    assert "2 of 2 images state no view" in " ".join(unstated.err.split())
    assert main([*words, "--view", "cc", "--laterality", "L", "R", "--explain", str(tmp_path / "maps")]) == 0
    stated = capsys.readouterr()
    assert "no view" not in stated.err
    assert stated.out != unstated.out
    assert main([*words, "--view", "sideways"]) == 2
    assert "unknown view sideways; known are" in " ".join(capsys.readouterr().err.split())
    assert main(["predict", str(folder), "--units", "views.csv", "--view", "CC"]) == 2
    assert "views.csv states views and sides in its columns" in " ".join(capsys.readouterr().err.split())


def test_a_table_of_units_states_views_and_sides(tmp_path: Path) -> None:
    table = tmp_path / "views.csv"
    table.write_text(
        "file,patient,laterality,view\na.png,P1, left,mlo \nb.png,P1,,nan\n"
        "c.png,P2,Unknown,unknown\nd.png,P2\n"
    )
    assert stated_in_table(table) == [Stated("MLO", "L"), Stated(), Stated(), Stated()]
    table.write_text("file,patient\na.png,P1\n")
    assert stated_in_table(table) == [Stated()]


@pytest.mark.parametrize("view", ["L-MLO", "mediolateral oblique", "sideways"])
def test_a_table_of_units_takes_the_views_that_the_options_take(tmp_path: Path, view: str) -> None:
    table = tmp_path / "views.csv"
    table.write_text(f'file,patient,view\na.png,P1,CC\n\n"b.png",P1,{view}\n')
    with pytest.raises(
        ExportError, match=f"views.csv, line 4: unknown view {view}; known are CC, .*empty cell"
    ):
        stated_in_table(table)
    with pytest.raises(ExportError, match=f"unknown view {view}; known are CC"):
        stated_by([view], [])


def test_a_table_of_units_takes_the_sides_that_the_options_take(tmp_path: Path) -> None:
    table = tmp_path / "sides.csv"
    table.write_text("file,patient,laterality\na.png,P1,links\n")
    with pytest.raises(
        ExportError, match=r"sides.csv, line 2: unknown side links; the side of a breast is L or"
    ):
        stated_in_table(table)


def test_words_that_are_not_known_or_do_not_fit_are_refused() -> None:
    assert stated_by([], []) == []
    assert stated_by(["CC", "unknown"], ["R"]) == [Stated("CC", "R"), Stated(None, "R")]
    assert each_of([CC], 3) == [CC, CC, CC]
    assert each_of([], 2) == [Stated(), Stated()]
    with pytest.raises(ExportError, match="unknown side up; the side of a breast is L or R"):
        stated_by([], ["up"])
    with pytest.raises(ExportError, match="one for all images or one each, found 2 and 3"):
        stated_by(["CC", "MLO"], ["L", "R", "L"])
    with pytest.raises(ExportError, match=r"as many as the 3 image\(s\) in the same order; 2 found"):
        check_stated(Preparation(), images=3, stated=[CC, CC])
    with pytest.raises(ExportError, match="takes files as they are, and no view or side"):
        check_stated(None, images=1, stated=[CC])
    with pytest.raises(ExportError, match="takes files as they are, and no view or side"):
        check_stated(replace(AS_THEY_ARE, mm_per_px=0.2), images=1, stated=[CC])


def test_a_side_is_missed_only_where_the_film_does_not_show_it() -> None:
    clear = film(bits=16, side=(320, 220))
    across = np.mgrid[:320, :220][1]
    both = np.where(np.abs(across - 110) < 60, 40000, 100).astype(np.uint16)  # as wide at either side
    assert lacking(Preparation(), clear, 65535, Stated()) == []
    assert lacking(Preparation(), both, 65535, Stated()) == ["side"]
    assert lacking(Preparation(), both, 65535, Stated(side="R")) == []
    assert lacking(Preparation(chest_wall=None), both, 65535, Stated()) == []
    assert lacking(Preparation(remove_pectoral=True), clear, 65535, Stated()) == ["view"]
