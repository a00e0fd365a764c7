"""What others wrote is read as data and never run; every claim of docs/security.md names its test."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from trainables.common.plain_yaml import _PlainLoader

ROOT = Path(__file__).parents[2]
PACKAGES = ("orchestrator", "search_spaces", "results", "cluster", "trainables")
# Processes of one search talk by pickles over a pipe that they alone hold; no file is among them.
OVER_PIPES = {
    "trainables/common/registered.py",
    "trainables/data/prepared/pool.py",
    "trainables/validation/fold_process.py",
}
RUNS_CODE = {
    *("eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load"),
    *("joblib.load", "dill.load", "dill.loads", "shelve.open", "marshal.loads", "torch.hub.load"),
}
UNPICKLES = {"pickle.load", "pickle.loads", "pickle.Unpickler", "cloudpickle.load", "cloudpickle.loads"}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Full dotted name and node of every call in a file, by whatever name its function was imported."""
    tree = ast.parse(path.read_text())
    names = dict[str, str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {own.asname: own.name for own in node.names if own.asname}
        elif isinstance(node, ast.ImportFrom):
            names |= {own.asname or own.name: f"{node.module}.{own.name}" for own in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, dot, rest = ast.unparse(node.func).partition(".")
            yield names.get(first, first) + dot + rest, node


def faults(path: Path) -> list[str]:
    """Calls that could run what a file says."""
    name, found = str(path.relative_to(ROOT)), []
    for function, node in calls(path):
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if (
            (function in RUNS_CODE and given.get("Loader") != "_PlainLoader")
            or (function in UNPICKLES and name not in OVER_PIPES)
            or (function == "torch.load" and given.get("weights_only") != "True")
            or given.get("allow_pickle", "False") != "False"
            or (function.startswith("subprocess.") and given.get("shell", "False") != "False")
            or function.endswith((".extractall", ".extract"))
            or function.rpartition(".")[2] == "read_pickle"
        ):
            found.append(f"{name}:{node.lineno} {function}")
    return found


def test_no_file_of_somebody_else_is_run() -> None:
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert len(paths) > 300
    assert [fault for path in paths for fault in faults(path)] == []
    assert {str(path.relative_to(ROOT)) for path in paths} >= OVER_PIPES
    assert issubclass(_PlainLoader, yaml.SafeLoader)


@pytest.mark.parametrize(
    "line",
    [
        "pickle.loads(path.read_bytes())",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, Loader)",
        "subprocess.run(text, shell=True)",
        "tarfile.open(path).extractall(folder)",
        "eval(text)",
        "from pickle import loads as read\nread(content)",
        "import joblib as files\nfiles.load(path)",
        "from subprocess import run\nrun(text, shell=True)",
        "pandas.read_pickle(path)",
    ],
)
def test_the_search_for_such_calls_finds_them(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "code.py").write_text(line)
    assert len(faults(tmp_path / "code.py")) == 1


def test_every_ray_that_a_cluster_file_starts_asks_for_a_token() -> None:
    started = {
        (file.name, line.strip())
        for file in (ROOT / "cluster").iterdir()
        if file.suffix in (".yaml", ".sh")
        for line in file.read_text().splitlines()
        if "ray start --" in line and not line.strip().startswith("#")
    }
    assert len(started) >= 3
    assert [where for where in started if "RAY_AUTH_MODE=token" not in where[1]] == []


def test_every_claim_of_the_page_names_a_test_that_is_there() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ") and "tests/" in line]
    named = re.findall(r"`(tests/[\w/]+\.py)`: ((?:`\w+`(?:, )?)+)", page)
    pairs = [(path, test) for path, tests in named for test in re.findall(r"`(\w+)`", tests)]
    assert len(pairs) >= 25
    assert len(rows) >= 20
    missing = [
        f"{path}::{test}"
        for path, test in pairs
        if not (ROOT / path).exists() or f"def {test}(" not in (ROOT / path).read_text()
    ]
    assert missing == []
