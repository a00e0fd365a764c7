"""Searches from Python with real Ray: arrays, own space and backbone, callbacks, a thread, the notebook."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from built_wheel import unpacked_wheel
from nbclient import NotebookClient

from orchestrator import open_run, resume_search
from results.errors import RunError
from trainables.common.errors import ConfigError

pytestmark = [pytest.mark.timeout(420), pytest.mark.slow]

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.ipynb"
PAGE = ROOT / "docs" / "how-to-python.md"
NOTEBOOK_SECONDS = 300

PROGRAM = """
import json
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
from torch import nn

from orchestrator import Backbone, Callback, StopSearch, register_backbone, resume_search, run_search


def build(channels):
    return OrderedDict(block1=nn.Sequential(nn.Conv2d(channels, 8, 3, stride=2), nn.ReLU()))


register_backbone(Backbone("tiny", build, ("block1",), ("block1",), min_size_px=16, size_px=32, source="me"))


def space(trial, context):
    return {
        "model.backbone": "tiny",
        "model.weights": "random",
        "model.trained_stages": "all",
        "model.head.hidden": (16,),
        "optimizer.name": "adam",
        "optimizer.lr": trial.suggest_float("optimizer.lr", 1e-3, 1e-2, log=True),
    }


class Follower(Callback):
    def __init__(self):
        self.seen, self.ended = [], 0

    def on_search_start(self, run, record):
        self.seen.append(f"search {record.name} starts")

    def on_epoch_end(self, number, epoch, epochs, value, scalars):
        assert 0 <= value <= 1 and epochs == 3

    def on_trial_end(self, record):
        self.ended += 1
        if self.ended == 2:
            raise StopSearch

    def on_search_end(self, result):
        self.seen.append(f"search ends, interrupted: {result.is_interrupted}")
        raise ValueError("after all is done")


random = np.random.default_rng(0)
labels = np.repeat(np.tile([0, 1], 12), 2)
images = random.integers(0, 20_000, (48, 48, 48)).astype(np.uint16)
images[labels == 1, 16:32, 16:32] += 12_000
patient = [f"p{row // 2:02d}" for row in range(48)]
follower = Follower()
first = run_search(
    "benign_malignant", images=images, labels=labels, patient=patient, space=space, callbacks=[follower],
    fixed_params={"model.backbone": "tiny"}, trials=6, epochs=3, folds=2, workers=1, address="local",
    name="arrays",
)
ended = len(first.records)
resumed = []
thread = threading.Thread(target=lambda: resumed.append(resume_search("arrays", trials=4, address="local")))
thread.start()
thread.join()
(second,) = resumed
table = second.trials()
Path("said.json").write_text(json.dumps({
    "seen": follower.seen,
    "was_interrupted": first.is_interrupted,
    "ended": ended,
    "notes": list(first.notes),
    "is_interrupted": second.is_interrupted,
    "numbers": table["number"].tolist(),
    "backbones": sorted(second.trials(settings=True)["settings_model.backbone"].unique()),
    "lr": bool(table["params_optimizer.lr"].notna().all()),
    "registered": second.record.registered,
    "predicted": second.predict(images[:2], trial=int(table["number"][0])).shape,
}))
"""

ELSEWHERE = """
import sys
from orchestrator.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a program that has searched; it printed nothing at all, file descriptors included."""
    folder = tmp_path_factory.mktemp("python")
    (folder / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


@pytest.fixture(scope="module")
def said(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "said.json").read_text())
    return found


def test_a_callback_follows_the_search_and_ends_it(said: dict[str, object]) -> None:
    assert said["seen"] == ["search arrays starts", "search ends, interrupted: True"]
    assert said["was_interrupted"]
    assert said["ended"] == 2
    assert "Follower failed after the search: after all is done" in said["notes"]  # type: ignore[operator]  # read from JSON


def test_it_is_resumed_from_another_thread_by_name(said: dict[str, object]) -> None:
    assert not said["is_interrupted"]
    assert said["numbers"] == [0, 1, 2, 3]


def test_every_trial_has_the_own_backbone_and_space(said: dict[str, object]) -> None:
    assert said["backbones"] == ["tiny"]
    assert said["lr"]
    assert said["registered"] == {"backbone": ["tiny"], "space": ["__main__:space"]}
    assert said["predicted"] == [2, 3]


def verb(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ELSEWHERE, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, check=False, timeout=200
    )


def test_the_command_line_reads_such_a_run(folder: Path) -> None:
    for arguments in (("leaderboard", "arrays"), ("ensemble", "arrays")):
        done = verb(folder, *arguments)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", ["export arrays --trial 0 --out bundle", "refit arrays --trial 0"])
def test_what_needs_the_backbone_says_where_it_was_registered(folder: Path, words: str) -> None:
    done = verb(folder, *words.split())
    assert done.returncode == 2
    assert "backbone tiny was registered in Python by the program that started the search" in done.stderr
    assert "orchestrator.register_backbone" in done.stderr


def test_a_resume_without_the_space_says_what_to_pass(folder: Path) -> None:
    done = verb(folder, "resume", "arrays", "--trials", "5", "--address", "local")
    assert done.returncode == 2
    assert "orchestrator.resume_search(RUN, space=FUNCTION)" in done.stderr


def test_python_says_the_same(folder: Path, tmp_path: Path) -> None:
    result = open_run("arrays", folder / "runs")
    assert sorted(result.leaderboard()["state"]) == ["baseline", *["complete"] * 4, "reference"]
    with pytest.raises(RunError, match=r"register it with orchestrator\.register_backbone"):
        result.export(tmp_path / "bundle", trial=0)
    with pytest.raises(ConfigError, match="is a function of the Python program"):
        resume_search(result, trials=5, address="local")


@pytest.mark.long
def test_ctrl_c_ends_a_search_of_a_program_and_returns_what_there_is(tmp_path: Path) -> None:
    code = """
from pathlib import Path
from orchestrator import Callback, run_search

class Started(Callback):
    def on_epoch_end(self, *given):
        Path("started").touch()

result = run_search(
    "benign_malignant", trials=3, epochs=2000, folds=2, workers=1, address="local", name="long",
    may_download=False, trial_minutes=30, callbacks=[Started()],
    fixed_params={
        "model.backbone": "efficientnet_lite0", "model.trained_stages": 0, "training.patience": None,
        "training.epochs": 2000, "classical.name": "none",
    },
)
Path("ended").write_text(repr(result))
"""
    program = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until = time.monotonic() + 200
        while not (tmp_path / "started").exists() and time.monotonic() < until and program.poll() is None:
            time.sleep(0.2)
        program.send_signal(signal.SIGINT)
        printed = program.communicate(timeout=120)
    finally:
        program.kill()
        program.wait()
    assert (program.returncode, *printed) == (0, "", "")
    assert "0 of 3 trials ended, 0 complete, interrupted; no best trial" in (tmp_path / "ended").read_text()


@pytest.mark.long
def test_the_page_on_python_runs_as_it_is_written(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    code = "\n".join([*blocks, "assert len(own.trials()) == 3 and not own.is_interrupted"])
    (tmp_path / "page.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.long
@pytest.mark.parametrize("packages", ["of the repository", "of the wheel"])
def test_the_notebook_runs_from_a_clean_kernel_in_five_minutes(
    packages: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = unpacked_wheel(tmp_path) if packages == "of the wheel" else ROOT
    monkeypatch.setenv("PYTHONPATH", str(imported))
    notebook = nbformat.read(TUTORIAL, as_version=4)
    asked = "import orchestrator\nprint(orchestrator.__file__)"
    notebook.cells.append(nbformat.v4.new_code_cell(asked))
    (tmp_path / "elsewhere").mkdir()
    begun = time.monotonic()
    place = {"metadata": {"path": str(tmp_path / "elsewhere")}}
    NotebookClient(notebook, timeout=NOTEBOOK_SECONDS, kernel_name="python3", resources=place).execute()
    assert time.monotonic() - begun < NOTEBOOK_SECONDS
    (said,) = notebook.cells.pop().outputs
    assert Path(said.text.strip()) == imported / "orchestrator" / "__init__.py"
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output for output in outputs if output.output_type == "stream"] == []
    shown = [output.data.get("text/html", "") for output in outputs if "data" in output]
    assert any("ended; " in text and "<table>" in text for text in shown)  # the live table
    assert any("look number 1" in text for text in shown)


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = nbformat.read(TUTORIAL, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) >= 10
    assert [cell for cell in code if cell.outputs or cell.execution_count] == []
