"""Audits and descriptions from Python read what a search reads: raw collections, too."""

from pathlib import Path

import pytest
from collections_trees import TREES

from orchestrator import audit_data, describe_data
from orchestrator.preflight.search_data import read_images
from orchestrator.request import SearchRequest


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    TREES["cmmd"].build(tmp_path / "cmmd")
    return tmp_path / "cmmd"


def test_a_raw_collection_is_prepared_and_described(collection: Path, tmp_path: Path) -> None:
    said: list[str] = []
    found = describe_data(collection, "benign_malignant", runs=tmp_path / "runs", notify=said.append)
    assert any("CMMD" in sentence for sentence in said)
    request = SearchRequest(task="benign_malignant", data=str(collection), runs=tmp_path / "runs")
    assert found.images == len(read_images(request, said.append)[0].images)


def test_an_audit_of_a_raw_collection_is_that_of_a_search_on_it(collection: Path, tmp_path: Path) -> None:
    options = {"runs": tmp_path / "runs", "test_share": 0.0, "folds": 2}
    record = audit_data(collection, "benign_malignant", **options)
    again = audit_data(
        tmp_path / "runs" / ".store" / "prepared" / _only(tmp_path), "benign_malignant", **options
    )
    assert record == again


def _only(folder: Path) -> str:
    (found,) = (folder / "runs" / ".store" / "prepared").glob("cmmd-*")
    return found.name
