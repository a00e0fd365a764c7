"""What a search says of the Ray that it has connected to."""

import pytest

from cluster.connect import Connection, PlannedConnection
from cluster.target import Target
from orchestrator.request import parse_request
from orchestrator.tuning import connecting, session
from orchestrator.tuning.surroundings import Surroundings


@pytest.mark.parametrize("warning", ["", "the Ray cluster at 10.0.0.1:6379 is open"])
def test_a_search_says_where_it_runs_and_warns_of_an_open_cluster(
    monkeypatch: pytest.MonkeyPatch, warning: str
) -> None:
    found = Connection("10.0.0.1:6379", False, 2.0, 0.0, 1, "Running on a cluster.", warning=warning)
    monkeypatch.setattr(
        connecting,
        "plan_connection",
        lambda *_, **__: PlannedConnection(Target(found.address, "the user"), {}),
    )
    monkeypatch.setattr(PlannedConnection, "start", lambda *_: found)
    monkeypatch.setattr("cluster.background.disconnect", lambda _: None)
    said: list[str] = []
    surroundings = Surroundings(said.append, lambda *_, **__: pytest.fail("no trial runs"))
    with session._connector(surroundings, parse_request({"task": "benign_malignant"})) as connect:
        assert connect() is found
        assert connect() is found
    assert said == ["Running on a cluster.", *([f"WARNING: {warning}"] if warning else [])]
