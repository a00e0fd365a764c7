"""Many files at once: one that cannot be used costs the others nothing, and memory does not grow."""

import json
import os
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from finished_run import CONFIGS, make_run, pixels
from PIL import Image

from orchestrator.cli.main import main
from results.errors import ExportError
from results.export import onnx_predictor
from results.export.bundle import export_bundle
from results.export.exported_model import Bundle
from results.export.onnx_predictor import load_bundle, predict_files
from results.export.prediction_formats import predictions_as_csv
from results.export.view_and_side import Stated

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    export_bundle(make_run(folder, {0: CONFIGS[0]}), folder / "bundle", trial=0, held_out_limit=2)
    return folder / "bundle"


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return load_bundle(folder)


def save(path: Path, size: tuple[int, int] = (64, 64)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 65535, size).astype(np.uint16)).save(path)
    return path


def png_of_zeros(path: Path, width: int, height: int, *, rows: int | None = None) -> Path:
    """A PNG of grey zeros that is small on disk; with fewer rows than it claims it is an empty bomb."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 0, 0, 0, 0])
    packer, packed = zlib.compressobj(), b""
    for _ in range(height if rows is None else rows):
        packed += packer.compress(bytes(width + 1))
    data = packed + packer.flush()
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
    return path


def test_a_bad_file_is_named_at_the_end_and_the_others_are_predicted(bundle: Bundle, tmp_path: Path) -> None:
    good = [save(tmp_path / f"{number}.png") for number in range(3)]
    (tmp_path / "bad.png").write_text("no picture")
    found = predict_files(bundle, [good[0], tmp_path / "bad.png", good[1], tmp_path / "gone.png", good[2]])
    assert [one.file for one in found.predictions] == [str(path) for path in good]
    assert [Path(fault.file).name for fault in found.faults] == ["bad.png", "gone.png"]
    alone = predict_files(bundle, good).predictions
    np.testing.assert_allclose(
        [one.probability for one in found.predictions], [one.probability for one in alone], atol=1e-6
    )


def interrupts_at(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Ctrl-C, or SIGTERM, while a file is read; batches hold two files."""
    read = onnx_predictor.read_for

    def interrupted(bundle: Bundle, path: Path, stated: Stated) -> tuple[np.ndarray, tuple[str, ...]]:
        if path.name == name:
            raise KeyboardInterrupt
        return read(bundle, path, stated)

    monkeypatch.setattr(onnx_predictor, "read_for", interrupted)
    monkeypatch.setattr(onnx_predictor, "_HELD_FILES", 2)


def test_what_was_predicted_before_ctrl_c_is_printed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(save(tmp_path / f"{number}.png")) for number in range(5)]
    interrupts_at(monkeypatch, "3.png")
    assert main(["predict", str(folder), *paths, "--format", "json"]) == 130
    printed = capsys.readouterr()
    assert [one["file"] for one in json.loads(printed.out)] == paths[:2]
    assert "not reached, and not among the above: 3 files of 5" in printed.err
    assert "interrupted" in printed.err


def test_ctrl_c_before_the_first_prediction_prints_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupts_at(monkeypatch, "0.png")
    assert main(["predict", str(folder), str(save(tmp_path / "0.png"))]) == 130
    assert capsys.readouterr().out == ""


def test_in_python_ctrl_c_ends_the_call(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [save(tmp_path / f"{number}.png") for number in range(3)]
    interrupts_at(monkeypatch, "2.png")
    with pytest.raises(KeyboardInterrupt):
        predict_files(bundle, paths)


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_the_verb_says_which_files_were_left_out_and_ends_with_one(
    folder: Path, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = save(tmp_path / "a.png"), tmp_path / "b.png"
    bad.touch()
    assert main(["predict", str(folder), str(bad), str(good), "--format", form]) == 1
    printed = capsys.readouterr()
    assert "b.png" not in printed.out
    assert "a.png" in printed.out.replace("\n", "")
    assert "not predicted: " in printed.err
    assert "1 file of 2 could not be predicted" in printed.err


def test_no_file_that_can_be_used_is_an_error_that_names_them(bundle: Bundle, tmp_path: Path) -> None:
    gone = [tmp_path / f"gone{number}.png" for number in range(5)]
    with pytest.raises(ExportError, match=r"gone0.png.*gone2.png; and 2 more files"):
        predict_files(bundle, gone)


def test_a_pipe_is_refused_and_not_waited_for(bundle: Bundle, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ExportError, match=r"a\.png is a pipe or a device; save the image as a file first"):
        predict_files(bundle, [tmp_path / "a.png"])
    with pytest.raises(ExportError, match="/dev/zero is a pipe or a device"):
        predict_files(bundle, [Path("/dev/zero")])


@pytest.mark.parametrize("size", [(1, 1), (1, 60000), (60000, 1), (64, 400), (2, 2), (3000, 3000), (2, 64)])
def test_an_image_far_outside_of_what_the_model_knows_is_refused(
    bundle: Bundle, tmp_path: Path, size: tuple[int, int]
) -> None:
    with pytest.raises(ExportError, match=r"a.png is unlike the training images: it is .* were 64x64"):
        predict_files(bundle, [save(tmp_path / "a.png", size)])


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 64), ()),
        ((48, 40), ()),
        ((200, 200), ()),
        ((64, 110), ("1 of 1 images have another shape than the model's training images",)),
        ((600, 600), ("1 of 1 images are far larger or smaller than the model's training images",)),
        ((12, 12), ("1 of 1 images are far larger or smaller than the model's training images",)),
    ],
)
def test_an_image_unlike_the_training_images_is_named(
    bundle: Bundle, tmp_path: Path, size: tuple[int, int], expected: tuple[str, ...]
) -> None:
    notes = predict_files(bundle, [save(tmp_path / "a.png", size)]).notes
    resized = (
        "1 of 1 images have another size than the model's training images, and are resized within the",
    )
    found = [note.partition(";")[0].partition(" model, since")[0] for note in notes]
    assert found == [*(() if size == (64, 64) else resized), *expected]


@pytest.mark.parametrize("rows", [None, 1])
def test_a_decompression_bomb_is_refused_by_its_header_without_a_warning(
    bundle: Bundle, tmp_path: Path, rows: int | None
) -> None:
    path = png_of_zeros(tmp_path / "bomb.png", 13_000, 13_000, rows=rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ExportError, match=r"bomb\.png is unlike the training images: it is 13000x13000"):
            predict_files(bundle, [path])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("Non-zero status code\nmore"), "Non-zero status code"),
        (MemoryError(), "MemoryError"),  # an error without text
    ],
    ids=lambda case: type(case).__name__,
)
def test_a_file_that_the_model_cannot_run_on_costs_the_others_nothing(
    bundle: Bundle, tmp_path: Path, error: Exception, said: str
) -> None:
    def run(_: object, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        if feed["raw"].shape[1] == 50:
            raise error
        return [np.full((len(feed["raw"]), 2), 0.5, np.float32)]

    broken = Bundle(bundle.manifest, type("Session", (), {"run": staticmethod(run)}))
    paths = [save(tmp_path / "a.png"), save(tmp_path / "b.png", (50, 50)), save(tmp_path / "c.png")]
    found = predict_files(broken, paths)
    assert len(found.predictions) == 2
    assert found.faults[0].reason.startswith(str(paths[1]))
    assert f"cannot run on an image of 50x50 pixels: {said}" in found.faults[0].reason


def test_an_image_without_numbers_costs_the_other_images_of_its_unit_and_other_units_nothing(
    bundle: Bundle, tmp_path: Path
) -> None:
    def run(_: object, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        images = len(feed["raw"])
        return [np.full((images, 1, 3), np.nan if feed["raw"].shape[1] == 50 else 0.5)]

    def combine(_: object, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert np.isfinite(feed["predictions"]).all()
        return [np.full((len(feed["unit"]), 2), 0.5, np.float32)]

    sessions = [type("Session", (), {"run": staticmethod(one)}) for one in (run, combine)]
    broken = Bundle(bundle.manifest.model_copy(update={"unit": "breast"}), *sessions)
    paths = [save(tmp_path / "a.png"), save(tmp_path / "b.png", (50, 50)), save(tmp_path / "c.png")]
    found = predict_files(broken, paths, units=["one", "one", "other"])
    assert [(one.file, one.images) for one in found.predictions] == [("one", 1), ("other", 1)]
    (fault,) = found.faults
    assert fault.reason.startswith(str(paths[1]))
    assert "the model returned no numbers for an image of 50x50 pixels" in fault.reason


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.full((1, 2), np.nan), "returned no probabilities"),
        (np.array([[0.5, 0.9]]), "returned no probabilities"),
        (np.array([[-1.0, 2.0]]), "returned no probabilities"),
        (np.full((1, 3), 1 / 3), r"must return \(1, 2\) probabilities, but returned \(1, 3\)"),
    ],
)
def test_a_model_that_returns_no_probabilities_is_refused(
    bundle: Bundle, returned: np.ndarray, message: str
) -> None:
    session = type("Session", (), {"run": staticmethod(lambda _, feed: [returned])})
    with pytest.raises(ExportError, match=message):
        Bundle(bundle.manifest, session).predict([pixels(images=1)[0]])


def test_files_are_read_batch_by_batch(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    whole = Bundle.predict_with_novelty

    def predict(
        self: Bundle, images: list[np.ndarray], **options: object
    ) -> tuple[np.ndarray, np.ndarray | None]:
        held.append(len(images))
        # The options are passed on as they came, whatever their types.
        return whole(self, images, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Bundle, "predict_with_novelty", predict)
    monkeypatch.setattr(onnx_predictor, "_HELD_FILES", 3)
    paths = [save(tmp_path / f"{number}.png") for number in range(8)]
    assert len(predict_files(bundle, paths).predictions) == 8
    assert held == [3, 3, 2]
    held.clear()
    monkeypatch.setattr(onnx_predictor, "_HELD_PIXELS", 2 * 64 * 64)
    predict_files(bundle, paths)
    assert max(held) == 2


@pytest.mark.parametrize("name", ["=cmd.png", "+a.png", "-a.png", "@a.png"])
def test_no_cell_of_the_csv_is_a_formula_and_it_still_names_the_file(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    save(Path(name))
    text = predictions_as_csv(bundle, predict_files(bundle, [Path(name)]).predictions)
    cell = text.splitlines()[1].partition(",")[0]
    assert cell == f"./{name}"
    assert Path(cell).is_file()


def test_no_cell_of_the_csv_holds_a_control_character(bundle: Bundle, tmp_path: Path) -> None:
    path = save(tmp_path / "a\x1b[2J\nb.png")
    text = predictions_as_csv(bundle, predict_files(bundle, [path]).predictions)
    assert "\x1b" not in text
    assert text.count("\n") == 2


@pytest.mark.parametrize("name", ["a[final].png", "x[/b].png", "[bold]x.png", ":cat:.png"])
def test_the_table_and_the_json_name_the_file_that_is_there(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    save(Path(name))
    assert main(["predict", str(folder), name]) == 0
    assert name in capsys.readouterr().out
    assert main(["predict", str(folder), name, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["file"] == name


def test_memory_does_not_grow_with_the_number_of_files(folder: Path, tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", (1500, 1500))
    script = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from results.export.onnx_predictor import load_bundle, predict_files\n"
        f"bundle = load_bundle(Path({str(folder)!r}))\n"
        f"predict_files(bundle, [Path({str(path)!r})] * 20)\n"
        "first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"predict_files(bundle, [Path({str(path)!r})] * 100)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - first)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 200_000  # kB; 80 more images of 9 MB would be 720,000
