"""Nothing about a machine leaves it: ONNX Runtime's telemetry is off before it is loaded."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from finished_run import CONFIGS, make_run, pixels
from PIL import Image

from cluster.connect import QUIET_ENVIRONMENT
from results.export.bundle import export_bundle
from results.export.manifest import CARD_FILE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ROOMS = ("orchestrator", "results", "trainables", "search_spaces", "cluster", "benchmarks")
NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
LOADED = "from trainables.common.onnx_runtime import onnxruntime; onnxruntime.SessionOptions()"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    export_bundle(make_run(folder, {1: CONFIGS[1]}), folder / "bundle", trial=1, held_out_limit=2)
    Image.fromarray(pixels()[0]).save(folder / "image.png")
    return folder / "bundle"


def files_below_home(tmp_path: Path, *arguments: str) -> list[str]:
    """Run Python with a home folder of its own; return the files that are there afterwards."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if name != NO_TELEMETRY}
    environment = kept | {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, *arguments], check=True, capture_output=True, env=environment, cwd=tmp_path
    )
    return [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]


def test_loading_onnx_runtime_writes_nothing_below_the_home_folder(tmp_path: Path) -> None:
    assert files_below_home(tmp_path, "-c", LOADED) == []


@pytest.mark.long
def test_predicting_writes_nothing_below_the_home_folder(bundle: Path, tmp_path: Path) -> None:
    verb = ("-m", "orchestrator.cli.main", "predict", str(bundle), str(bundle.parent / "image.png"))
    assert files_below_home(tmp_path, *verb) == []


@pytest.mark.long
def test_doctor_writes_nothing_of_onnx_runtime_below_the_home_folder(tmp_path: Path) -> None:
    found = files_below_home(tmp_path, "-m", "orchestrator.cli.main", "doctor")
    assert [name for name in found if "onnx" in name.lower() or "Microsoft" in name] == []


def test_onnx_runtime_is_imported_in_one_place() -> None:
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    assert len(files) > 100
    own_import = re.compile(r"^\s*(?:import|from) onnxruntime", re.MULTILINE)
    assert [path.name for path in files if own_import.search(path.read_text())] == []


@pytest.mark.parametrize("name", ["dgx.yaml", "local.yaml"])
def test_every_ray_of_a_cluster_starts_with_telemetry_off(name: str) -> None:
    config = yaml.safe_load((ROOT / "cluster" / name).read_text())
    commands = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    starts = [command for command in commands if "ray start" in command]
    assert starts
    assert [command for command in starts if f"{NO_TELEMETRY}=1" not in command] == []


def test_workers_of_an_own_ray_inherit_it_and_the_card_tells_others(bundle: Path) -> None:
    assert QUIET_ENVIRONMENT[NO_TELEMETRY] == "1"
    assert f"{NO_TELEMETRY}=1" in (bundle / CARD_FILE).read_text()
