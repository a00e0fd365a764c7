"""Versions on machines, beside those of this one and of each other."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_check import FACTS

from cluster.cluster_file import ClusterFile
from cluster.probe import MachineFacts, environment_here
from cluster.versions import check_versions, compare_versions, read_pins

REPOSITORY = Path(__file__).parents[3]
HERE = {
    "python": "3.12.3",
    "ray": "2.60.0",
    "torch": "2.15.0+cpu",
    "optuna": "5.0.0",
    "breast-image-orchestrator": "0.1.0",
    "code": "abc",
}
PINS = {"ray": "2.60.0", "torch": "2.15.0", "optuna": "5.0.0"}


def machine(**environment: str) -> MachineFacts:
    return replace(FACTS, environment={**HERE, "torch": "2.15.0", **environment})


def check(facts: MachineFacts, **here: str) -> Any:
    return check_versions(facts, here=HERE | here, pins=PINS, path=Path("my.yaml"))


def test_a_machine_that_has_what_is_here_is_fine_whatever_torch_was_built_for() -> None:
    found = check(machine())
    assert (found.where, found.what, found.state) == ("10.0.0.1", "versions", "ok")
    assert found.detail.startswith("as here: Python 3.12.3, ray 2.60.0, torch 2.15.0, optuna 5.0.0")


@pytest.mark.parametrize(
    ("there", "state", "told"),
    [
        ({"ray": "2.59.0"}, "broken", "ray 2.59.0 (here 2.60.0); `orchestrate cluster up my.yaml` brings it"),
        (
            {"python": "3.11.7"},
            "note",
            "Python 3.11.7 (here 3.12.3); a search that is submitted runs on theirs",
        ),
        ({"torch": "2.14.0"}, "note", "torch 2.14.0 (here 2.15.0+cpu)"),
        ({"optuna": "4.0.0"}, "note", "optuna 4.0.0 (here 5.0.0)"),
        ({"breast-image-orchestrator": "0.0.9"}, "note", "breast-image-orchestrator 0.0.9 (here 0.1.0)"),
        ({"code": "def"}, "note", "other than here: the code; `orchestrate cluster up my.yaml` brings it"),
    ],
)
def test_what_is_another_than_here_is_told(there: dict[str, str], state: str, told: str) -> None:
    found = check(machine(**there))
    assert found.state == state
    assert told in found.detail


def test_where_this_machine_is_the_odd_one_it_is_to_be_set_up() -> None:
    found = check(machine(), ray="2.61.0")
    assert found.state == "broken"
    assert found.detail == (
        "other than here: ray 2.60.0 (here 2.61.0); here it is not that of constraints.txt: make setup"
    )


def test_a_new_machine_is_told_what_will_be_installed() -> None:
    found = check(replace(FACTS, environment={}))
    assert found.state == "note"
    assert found.detail == (
        "nothing yet; `ray up` installs an environment of python3.12 3.12.3, ray 2.60.0, torch 2.15.0, "
        "optuna 5.0.0, breast-image-orchestrator 0.1.0 as it is here; several GB"
    )


@pytest.mark.parametrize("name", ["ray", "python"])
def test_machines_that_ray_would_refuse_are_broken(name: str) -> None:
    other = replace(machine(**{name: HERE[name][:-1] + "9"}), host="10.0.0.2")
    broken = [one for one in compare_versions([machine(), other]) if one.state == "broken"]
    assert [one.what for one in broken] == [name]


def test_ray_refuses_a_python_whose_last_number_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray
    from ray._private import utils

    monkeypatch.delenv("RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL", raising=False)
    major, minor, micro = sys.version_info[:3]
    same = {"ray_version": ray.__version__, "python_version": f"{major}.{minor}.{micro}"}
    utils.check_version_info(same, "a test")
    with pytest.raises(RuntimeError, match="Version mismatch"):
        utils.check_version_info(same | {"python_version": f"{major}.{minor}.{micro + 1}"}, "a test")


def test_other_packages_and_other_code_are_noted_and_builds_do_not_count() -> None:
    other = replace(machine(torch="2.15.0+cpu", timm="1.0.0", code="def"), host="10.0.0.2")
    found = {one.what: one.state for one in compare_versions([machine(timm="1.0.1"), other])}
    assert found == {"python": "ok", "timm": "note", "code": "note"}


def test_the_pins_are_those_of_the_file_that_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    config = yaml.safe_load((REPOSITORY / "cluster/local.yaml").read_text())
    pins = read_pins(ClusterFile(Path("my.yaml"), config))
    assert {"ray", "torch", "optuna"} <= set(pins)
    assert read_pins(ClusterFile(Path("my.yaml"), config | {"file_mounts": {}})) == {}


def test_this_machine_says_what_it_has_as_another_would() -> None:
    here = environment_here()
    assert here["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"ray", "torch", "optuna", "code"} <= set(here)
