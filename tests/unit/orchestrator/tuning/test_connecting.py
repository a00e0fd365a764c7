"""When the Ray of a search begins: before what takes seconds to import, and before its data are read."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finished_run import make_run

from cluster.background import BackgroundConnection
from cluster.connect import Connection
from orchestrator.api.beginning import ray_begun
from orchestrator.preflight import preflight
from orchestrator.preflight.preflight import run_preflight
from orchestrator.request import SearchRequest, parse_request
from orchestrator.tuning import session
from orchestrator.tuning.connecting import may_begin
from orchestrator.tuning.setup import Prepared
from orchestrator.tuning.surroundings import Surroundings
from trainables.common.errors import DataError

LIGHT = "orchestrator.api.beginning, orchestrator.api.requests, orchestrator.request, orchestrator.cli.search"


class Asked(Exception):  # noqa: N818 - it is no error
    """Raised where a test has seen enough."""


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens, in order; no Ray starts."""
    found = list[str]()
    for name in ("begin_own", "close"):
        monkeypatch.setattr(BackgroundConnection, name, lambda _, name=name: found.append(name))
    return found


def request(tmp_path: Path, **options: Any) -> SearchRequest:
    data = tmp_path / "set.npz"
    np.savez(data, images=np.zeros((4, 8, 8), np.uint8), labels=np.array([0, 1, 0, 1]))
    return parse_request({"task": "benign_malignant", "data": str(data), "runs": tmp_path, **options})


def no_view(prepared: Prepared) -> Any:
    raise AssertionError("a view is opened")


def test_what_decides_whether_a_ray_may_begin_imports_neither_torch_nor_ray() -> None:
    script = f"import {LIGHT}, sys; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert not {"torch", "torchvision", "timm", "ray", "onnxruntime"} & set(said.split())


def test_a_ray_begins_where_the_data_are_and_all_that_is_quickly_known_is_right(tmp_path: Path) -> None:
    assert may_begin(request(tmp_path))
    assert may_begin(request(tmp_path, data="phantom"))
    (tmp_path / "images" / "benign").mkdir(parents=True)
    assert may_begin(request(tmp_path, data=str(tmp_path / "images")))


@pytest.mark.parametrize(
    "options",
    [
        {"data": "missing.npz"},
        {"name": "taken"},
        {"name": "a/b"},
        {"metrics": ("auk",)},
        {"folds": 5, "holdout": 0.3},
        {"weights_dir": "missing"},
    ],
)
def test_no_ray_begins_for_a_search_that_will_be_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    (tmp_path / "benign_malignant" / "taken").mkdir(parents=True)
    assert not may_begin(request(tmp_path, **options))


def test_data_that_are_prepared_first_have_all_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "collection"
    folder.mkdir()
    monkeypatch.setattr("trainables.data.prepared.on_the_way.collection_of", lambda *_: object())
    assert not may_begin(request(tmp_path, data=str(folder)))


def test_a_verb_begins_before_it_imports_and_ends_what_it_began_where_the_search_is_refused(
    tmp_path: Path, noted: list[str]
) -> None:
    def refuse() -> None:
        noted.append("refused")
        raise DataError("one class")

    with pytest.raises(DataError, match="one class"), ray_begun(request(tmp_path), None):
        refuse()
    assert noted == ["begin_own", "refused", "close"]
    noted.clear()
    with ray_begun(request(tmp_path, data="missing.npz"), None):
        pass
    assert noted == ["close"]


def test_a_session_takes_what_was_begun_over_and_ends_it(
    tmp_path: Path, noted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    used = list[object]()

    def prepare(asked: SearchRequest, connect: Any, notify: Any, **_: Any) -> Prepared:
        noted.append("prepared")
        used.append(connect)
        raise Asked

    monkeypatch.setattr(session, "prepare_search", prepare)
    with ray_begun(request(tmp_path), None) as begun, pytest.raises(Asked):
        session.run_search(request(tmp_path), Surroundings(print, no_view, begun=begun))
    assert used == [begun]
    assert noted == ["begin_own", "begin_own", "prepared", "close", "close"]
    noted.clear()
    with pytest.raises(Asked):  # from Python nobody has begun before
        session.run_search(request(tmp_path), Surroundings(print, no_view))
    assert noted == ["begin_own", "prepared", "close"]


@pytest.mark.parametrize(("trials", "first"), [(1, "reopened"), (2, "begin_own")])
def test_a_resume_begins_at_once_where_a_trial_is_left(
    tmp_path: Path, noted: list[str], monkeypatch: pytest.MonkeyPatch, trials: int, first: str
) -> None:
    made = make_run(
        tmp_path,
        {0: {"model.backbone": "texture", "classical.name": "logistic"}},
        backbones=("texture",),
        folds=3,
    )

    def reopen(*_: Any, **__: Any) -> Prepared:
        noted.append("reopened")
        raise Asked

    monkeypatch.setattr(session, "reopen_search", reopen)
    with pytest.raises(Asked):
        session.resume_search(made, Surroundings(print, no_view), trials=trials)
    assert noted[0] == first


class Notes:
    """A connector that notes when it is asked to begin."""

    def __init__(self, order: list[str]) -> None:
        self.order = order

    def begin(self) -> bool:
        self.order.append("begin")
        return True

    def __call__(self) -> Connection:
        raise Asked


def test_ray_starts_before_the_audit_which_refuses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = list[str]()

    def audit(*_: Any) -> Any:
        order.append("audit")
        raise Asked

    monkeypatch.setattr(preflight, "audit_once", audit)
    with pytest.raises(Asked):
        run_preflight(parse_request(asked_of_the_phantom(tmp_path)), Notes(order), print)
    assert order == ["begin", "audit"]


def asked_of_the_phantom(tmp_path: Path) -> dict[str, Any]:
    return {"task": "benign_malignant", "data": "phantom:patients=20", "runs": tmp_path, "folds": 2}
