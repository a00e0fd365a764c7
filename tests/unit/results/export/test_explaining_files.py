"""`predict --explain` and `explain --images`: maps of files, which cost none of them anything."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from finished_run import CONFIGS, make_run, pixels

from orchestrator.cli.main import main
from results.export.bundle import export_bundle
from results.run.run_folder import RunFolder
from trainables.common.text import printable

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("explaining files"), {0: CONFIGS[0]})


@pytest.fixture(scope="module")
def folder(run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explaining files") / "bundle"
    export_bundle(run, folder, trial=0, held_out_limit=2)
    return folder


def saved(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", pixels(images=1)[0])[1].tobytes())
    return path


def explain(folder: Path, out: Path, *files: Path, more: tuple[str, ...] = ()) -> int:
    words = ["predict", str(folder), *map(str, files), "--explain", str(out), "--map-seconds", "0.05", *more]
    return main(words)


def test_maps_beside_their_images_leave_these_as_they_were(
    folder: Path, run: RunFolder, tmp_path: Path
) -> None:
    file = saved(tmp_path / "scan.png")
    before = file.read_bytes()
    assert explain(folder, tmp_path, file) == 0
    words = ["explain", str(run.path), "--trial", "0", "--images", str(file), "--masks", "8"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    assert file.read_bytes() == before
    assert (tmp_path / "scan.map.png").is_file()


def test_a_map_that_would_replace_an_input_is_refused_before_anything_is_predicted(
    folder: Path, run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [saved(tmp_path / "scan.png"), saved(tmp_path / "scan.map.png")]
    before = files[1].read_bytes()
    assert explain(folder, tmp_path, *files) == 2
    said = capsys.readouterr()
    assert "is one of the images" in " ".join(said.err.split())
    assert said.out == ""
    words = ["explain", str(run.path), "--trial", "0", "--images", *map(str, files), "--masks", "8"]
    assert main([*words, "--out", str(tmp_path)]) == 2
    assert files[1].read_bytes() == before
    assert sorted(tmp_path.iterdir()) == sorted(files)


def test_an_image_of_a_class_replaces_no_input(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(tmp_path / "preferred-benign.png")
    before = file.read_bytes()
    words = ["explain", str(run.path), "--trial", "0", "--images", str(file), "--masks", "8", "--preferred"]
    assert main([*words, "--out", str(tmp_path)]) == 2
    assert "is one of the images" in " ".join(capsys.readouterr().err.split())
    assert file.read_bytes() == before


def test_files_of_one_name_have_a_map_each(folder: Path, tmp_path: Path) -> None:
    files = [saved(tmp_path / name) for name in ("a/film.png", "b/film.png", "a/film-2.png")]
    assert explain(folder, tmp_path / "maps", *files) == 0
    found = json.loads((tmp_path / "maps" / "explanations.json").read_text())["images"]
    assert [one["name"] for one in found] == ["film", "film-3", "film-2"]
    assert len(np.load(tmp_path / "maps" / "maps.npz").files) == 3
    assert len(list((tmp_path / "maps").glob("*.map.png"))) == 3


@pytest.mark.parametrize(
    "raw", [b"file.png", b"br\xfcst.png", b"line\nend.png", b"\xc3\xbc" * 125 + b".png"], ids=[0, 1, 2, 3]
)
def test_a_file_of_any_name_has_its_map(
    raw: bytes, folder: Path, run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(tmp_path / os.fsdecode(raw))
    assert explain(folder, tmp_path / "maps", file) == 0
    words = ["explain", str(run.path), "--trial", "0", "--images", str(file), "--masks", "8"]
    assert main([*words, "--out", str(tmp_path / "more"), "--format", "json"]) == 0
    for out in (tmp_path / "maps", tmp_path / "more"):
        (one,) = json.loads((out / "explanations.json").read_bytes())["images"]
        assert np.load(out / "maps.npz")[one["name"]].shape == (64, 64)
        assert (out / f"{one['name']}.map.png").is_file()
        assert one["file"] == printable(str(file), keeps="")
