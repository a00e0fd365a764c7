"""What `from orchestrator import ...` gives: all of it, described, and nothing heavy before it is used."""

import inspect
from pathlib import Path

import pytest
from built_wheel import ROOT, run_python, unpacked_wheel

import orchestrator

pytestmark = pytest.mark.slow

HEAVY = ("torch", "ray", "optuna", "pandas", "sklearn", "matplotlib", "IPython")
FIRST = "from orchestrator import run_search, resume_search, open_run, SearchRequest"


def test_every_name_is_there_and_listed() -> None:
    assert sorted(orchestrator.__all__) == orchestrator.__all__ == sorted(orchestrator._PLACES)
    assert set(orchestrator.__all__) <= set(dir(orchestrator))
    for name in orchestrator.__all__:
        assert getattr(orchestrator, name) is not None
    misspelt = "run_serch"
    with pytest.raises(AttributeError, match=misspelt):
        getattr(orchestrator, misspelt)


@pytest.mark.parametrize("name", orchestrator.__all__)
def test_every_name_is_described_with_its_methods(name: str) -> None:
    value = getattr(orchestrator, name)
    assert inspect.getdoc(value)
    own = vars(value) if inspect.isclass(value) else {}
    public = [one for key, one in own.items() if not key.startswith("_")]
    methods = [one for one in public if inspect.isfunction(one) or isinstance(one, property)]
    assert [method for method in methods if not inspect.getdoc(method)] == []


@pytest.mark.parametrize("name", ["run_search", "resume_search", "plan_search", "open_run", "replay_search"])
def test_every_parameter_is_typed_and_described(name: str) -> None:
    function = getattr(orchestrator, name)
    described = inspect.getdoc(function) or ""
    for parameter in inspect.signature(function).parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty
        assert f"{parameter.name}:" in described


def test_nothing_heavy_is_imported_before_it_is_used(tmp_path: Path) -> None:
    code = f"""
import sys
import orchestrator
from orchestrator import Callback, SearchRequest
import orchestrator.cli.main
print([name for name in {HEAVY} if name in sys.modules])
"""
    assert run_python(code, tmp_path, ROOT) == "[]\n"


def test_a_wheel_brings_it_elsewhere(tmp_path: Path) -> None:
    unpacked, elsewhere = unpacked_wheel(tmp_path), tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = f"{FIRST}; import orchestrator as o; print(o.__file__, SearchRequest(task='idc').most_trials)"
    place, trials = run_python(code, elsewhere, unpacked).split()
    assert Path(place) == unpacked / "orchestrator" / "__init__.py"
    assert trials == "24"
