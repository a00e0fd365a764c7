"""A data source, a backbone, a task, an ensemble method and an option of a search are one file each."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SOURCE = '''
"""Labelled ones, for a test."""
from pathlib import Path
import numpy as np
from trainables.data.patches import RawPatches
from trainables.data.source import Source


def load_ones(data, task, label_codes):
    images = np.ones((8, 32, 32), dtype=np.uint8)
    images[::2] = 9
    return RawPatches(images, np.arange(8) % 2, "task", source=Path(data).name), []


ONES = Source("ones", load_ones, "a file of ones", lambda path: path.suffix == ".ones")
'''
BACKBONE = '''
"""A net of one block, for a test."""
from collections import OrderedDict
from torch import nn
from trainables.models.stages import Backbone


def _build(channels):
    return OrderedDict(block1=nn.Sequential(nn.Conv2d(channels, 4, 3, stride=2), nn.ReLU()))


TINY = Backbone("tiny", _build, ("block1",), ("block1",), min_size_px=16, size_px=32, source="a test")
'''
METHOD = '''
"""`equal`: the members of a run in equal parts, for a test."""
import numpy as np
from results.ensembles.fitted import Method
from results.ensembles.weighted_mean import WeightedMean, weighted_mean


def fit_equal(members, seed):
    return weighted_mean(np.ones(len(members.trials)))


EQUAL = Method("equal", fit_equal, WeightedMean, complexity=99)
'''
TASK = """            Task("density", ("fatty", "dense"), _NO_FINDING, "Is the breast dense?"),
            Task("idc","""
OPTION = """    caution: float = option(0.5, "how careful to be", group="budget", ge=0.0, le=1.0)

    space: str | None = option("""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in ("orchestrator", "search_spaces", "results", "cluster", "trainables"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def python(folder: Path, code: str) -> str:
    command = [sys.executable, "-c", code]
    outcome = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def test_a_data_source(copy: Path) -> None:
    (copy / "trainables/data/sources/ones.py").write_text(SOURCE)
    (copy / "patches.ones").touch()
    code = """
from pathlib import Path
from trainables.config.tasks import task_named
from trainables.data.sources import load_patch_set
found, _ = load_patch_set("patches.ones", task=task_named("idc"), label_codes=None, store=Path("store"))
print(found.source, len(found.images))
"""
    assert python(copy, code) == "patches.ones 8\n"


def test_a_backbone(copy: Path) -> None:
    (copy / "trainables/models/families/tiny.py").write_text(BACKBONE)
    code = """
import torch
from trainables.config.trial_config import decode
from trainables.models.registry import backbone_named
from trainables.models.weights import take_inventory
from trainables.training.assembly import assemble_part
settings = {"model.backbone": "tiny", "model.weights": "random", "model.trained_stages": "all"}
part = assemble_part(decode(settings), (1, 32, 32), weights=None, image_channels=1, classes=2)
found = take_inventory(("tiny",), weights_dir=None, may_download=False)
print(found.usable, part(torch.rand(2, 1, 32, 32)).shape)
"""
    assert python(copy, code) == "{'tiny': None} torch.Size([2, 1])\n"


def test_a_task(copy: Path) -> None:
    file = copy / "trainables/config/tasks.py"
    text = file.read_text()
    file.write_text(text.replace('            Task("idc",', TASK, 1))
    assert file.read_text() != text
    code = """
from orchestrator.cli.main import build_parser
from search_spaces.registry import space_named
print(space_named("density").name)
build_parser().parse_args(["search", "--help"])
"""
    printed = python(copy, code)
    assert printed.startswith("search_spaces.image_classifier:image_classifier\n")
    assert "density" in printed


def test_an_ensemble_method(copy: Path) -> None:
    (copy / "results/ensembles/methods/equal.py").write_text(METHOD)
    code = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests/helpers")!r})
from simulated_trials import simulate
from results.ensembles.members import align
from results.ensembles.methods import METHODS
from results.ensembles.nested import nested_evaluation
scores = nested_evaluation(align(simulate()), ("equal",), max_members=3, seed=0)
print(list(METHODS)[-1], [score.method for score in scores])
"""
    assert python(copy, code) == "equal ['best_single', 'equal']\n"


def test_an_option_of_a_search(copy: Path) -> None:
    file = copy / "results/run/search_options.py"
    text = file.read_text()
    file.write_text(text.replace("    space: str | None = option(", OPTION, 1))
    assert file.read_text() != text
    code = """
from pathlib import Path
from orchestrator.cli.main import build_parser
from orchestrator.cli.options import reference_page
from orchestrator.cli.search import request_of
Path("search.yaml").write_text("task: idc\\ncaution: 0.25\\n")
parse = build_parser().parse_args
print(request_of(parse(["search", "idc", "--caution", "0.75"])).caution)
print(request_of(parse(["plan", "--config", "search.yaml"])).caution)
print([line for line in reference_page().splitlines() if "caution" in line])
parse(["search", "--help"])
"""
    printed = python(copy, code)
    assert printed.splitlines()[:3] == [
        "0.75",
        "0.25",
        "['| `caution` | `--caution` | how careful to be | between 0 and 1 | 0.5 |']",
    ]
    assert "how careful to be (between 0 and 1; default: 0.5)" in " ".join(printed.split())
