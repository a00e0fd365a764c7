"""Bad input gets one clear sentence and exit code 2, before Ray starts and with nothing written."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from orchestrator.cli.main import VERBS, build_parser, main
from trainables.data.patches import PatchSet

pytestmark = pytest.mark.slow


@pytest.fixture
def npz(bright_patches: PatchSet, tmp_path: Path) -> Path:
    path = tmp_path / "patches.npz"
    np.savez(
        path, images=bright_patches.images, labels=bright_patches.labels, patient=bright_patches.patients
    )
    return path


def arrays(npz: Path) -> dict[str, np.ndarray]:
    with np.load(npz) as stored:
        return dict(stored)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Run a verb that must fail; return its sentence."""
    assert main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    message = printed.err.strip().splitlines()[-1]
    assert message.startswith(f"orchestrate {arguments[0]}: ")
    assert "Traceback" not in printed.err
    return message


def search(runs: Path, *arguments: str | Path) -> tuple[str | Path, ...]:
    return ("search", "benign_malignant", "--runs", runs, "--offline", "--address", "local", *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "nowhere.npz"), "nowhere.npz"),
        (("--set", "optimizer.nam=adam"), "did you mean 'optimizer.name'"),
        (("--set", "model.backbone=vgg166"), "unknown backbone 'vgg166'; did you mean 'vgg16'"),
        (("--source", "nzp"), "unknown source 'nzp'; did you mean 'npz'"),
        (("--space", "nothing:here"), "cannot be imported"),
        (("--trials", "0"), "--trials must be at least 1, found 0"),
        (("--folds", "1"), "--folds must be at least 2, found 1"),
        (("--holdout", "0.3", "--folds", "4"), "has one validation part and --folds 4 has 4: give one"),
        (("--holdout", "0"), "--holdout must be above 0 and at most 0.5, found 0; 0.3 is 70/30"),
        (("--holdout", "0.6"), "--holdout must be above 0 and at most 0.5, found 0.6"),
        (("--test-share", "0.9"), "--test-share must lie between 0 and 0.5"),
        (("--weights-dir", "nowhere"), "--weights-dir nowhere is not a folder"),
        (("--name", "../x"), "letters, digits, dots, dashes and underscores only"),
        (("--minutes", "0"), "--minutes must be at least"),
    ],
)
def test_a_request_that_cannot_be_met_is_explained(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, npz: Path, arguments: tuple[str, ...], message: str
) -> None:
    data = () if "--data" in arguments else ("--data", npz)
    assert message in refused(capsys, *search(tmp_path / "runs", *data, *arguments))
    assert not (tmp_path / "runs" / "benign_malignant").exists()


def test_an_unknown_task_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    message = refused(capsys, "search", "benign_malignat", "--runs", tmp_path)
    assert "unknown task 'benign_malignat'; did you mean 'benign_malignant'" in message


def test_a_run_folder_that_exists_is_left_as_it_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, npz: Path
) -> None:
    kept = tmp_path / "runs" / "benign_malignant" / "mine" / "note.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    message = refused(capsys, *search(tmp_path / "runs", "--data", npz, "--name", "mine"))
    assert "exists and is left as it is; give another --name" in message
    assert [path.name for path in kept.parent.iterdir()] == ["note.txt"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a | {"labels": np.zeros_like(a["labels"])}, "hold only: benign"),
        (lambda a: a | {"labels": a["labels"][:-3]}, "45"),
        (lambda a: a | {"images": np.full(a["images"].shape, np.nan, np.float32)}, "nan pixels"),
        (lambda a: a | {"patient": np.array([f"p{index % 3}" for index in range(48)])}, "patients"),
    ],
    ids=["one class", "labels missing", "NaN pixels", "fewer patients than folds"],
)
def test_data_that_cannot_be_used_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, npz: Path, change: object, message: str
) -> None:
    np.savez(npz, **change(arrays(npz)))
    assert message in refused(capsys, *search(tmp_path / "runs", "--data", npz))
    assert not (tmp_path / "runs" / "benign_malignant").exists()


@pytest.mark.parametrize("number", [2, 3, 4])
def test_too_few_images_for_any_split_are_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, number: int
) -> None:
    for name in ("benign", "malignant"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(number):
            pixels = np.random.default_rng([index, len(name)]).integers(0, 255, (48, 48)).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "images" / name / f"{index}.png"), pixels)
    message = refused(capsys, *search(tmp_path / "runs", "--data", tmp_path / "images"))
    assert "image groups" in message
    assert f"4 folds need at least 4; use --folds {min(max(number - 1, 2), 3)}" in message


def test_a_truncated_image_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("benign", "malignant"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(4):
            pixels = np.random.default_rng(index).integers(0, 255, (48, 48)).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "images" / name / f"{index}.png"), pixels)
    broken = tmp_path / "images" / "malignant" / "2.png"
    broken.write_bytes(broken.read_bytes()[:-400])
    assert "malignant/2.png" in refused(capsys, *search(tmp_path / "runs", "--data", tmp_path / "images"))


@pytest.mark.parametrize("verb", ["leaderboard", "ensemble", "evaluate", "resume"])
def test_a_run_that_is_not_there_is_explained(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, verb: str
) -> None:
    assert "no run 'nothing'" in refused(capsys, verb, "nothing", "--runs", tmp_path)
    assert "no run in" in refused(capsys, verb, "latest", "--runs", tmp_path)


def test_a_bundle_that_is_not_there_is_explained(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "nothing" in refused(capsys, "predict", tmp_path / "nothing", tmp_path / "image.png")


def test_a_verb_that_does_not_exist_ends_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serach"])
    assert ended.value.code == 2
    assert "search" in capsys.readouterr().err


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_explains_itself_with_examples(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args([verb, "--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "examples:" in printed
    assert f"orchestrate {verb}" in printed


@pytest.mark.parametrize("arguments", [["--help"], ["leaderboard", "--help"], ["predict", "--help"]])
def test_help_loads_neither_torch_nor_ray_nor_optuna(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom orchestrator.cli.main import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        "print('LOADED', sorted({'torch', 'ray', 'optuna', 'sklearn', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("LOADED []")


def test_doctor_prints_json_alone_on_standard_output(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["doctor", "--format", "json", "--runs", str(tmp_path)]) == 0
    findings = {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert findings["torch"]["state"] == "ok"
    assert findings["efficientnet_lite0"]["detail"].startswith("ImageNet weights from package")
    assert findings["intensity"]["detail"] == "has no weights"
    assert findings["CPU"]["state"] == "ok"


@pytest.mark.parametrize("verb", VERBS)
def test_help_fits_80_columns(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as left:
        main([verb, "--help"])
    assert left.value.code == 0
    assert [line for line in capsys.readouterr().out.splitlines() if len(line) > 80] == []


def test_a_verb_ends_well_where_nobody_reads_its_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    assert main(["recipes", "list"]) == 0


@pytest.mark.parametrize(
    ("verb", "kept"),
    [
        ("ensemble", "(default: what"),
        *((verb, "(default: as the model was built, else what") for verb in ("evaluate", "export", "strata")),
        ("recalibrate", "(default: as the bundle has it, else what"),
    ],
)
def test_a_default_of_decisions_is_that_of_the_model_where_there_is_one(verb: str, kept: str) -> None:
    (verbs,) = [action.choices for action in build_parser()._actions if isinstance(action.choices, dict)]
    said = {action.dest: action.help for action in verbs[verb]._actions}
    assert f"{kept} the search optimises)" in said["at"]
    assert f"{kept} ".replace("what ", "that of the data)") in said["prevalence"]
    assert ("(default:" in said["triage"]) is (verb != "ensemble")
