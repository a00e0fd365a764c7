"""A short search of `benchmarks.scale` on Ray's multi-node test cluster; its workers share processes."""

from pathlib import Path

import pytest

from benchmarks.scale import measure_cluster

pytestmark = [
    pytest.mark.machines,
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def test_a_search_on_pretended_nodes_ends_and_its_workers_were_busy(tmp_path: Path) -> None:
    found = measure_cluster(tmp_path, nodes=3, gpus=2, trials=18, seconds=6.0)
    assert found.start is not None
    assert (found.trials, found.at_once, found.start.nodes) == (18, 6, 3)
    assert 0.0 < found.pruned < 18
    assert 0.2 < found.full_utilisation <= 1.0
    assert found.run_folder_files > 18
