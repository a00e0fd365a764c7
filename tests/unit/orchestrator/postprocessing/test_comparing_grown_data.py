"""Predictions of one run in the rows of another run's data, which have grown."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from orchestrator.postprocessing.comparing import _in_rows_of
from results.run.records import OutOfFold, SearchRecord
from results.run.run_folder import RunFolder
from trainables.data.patches import RawPatches, store_patch_set


def test_a_group_of_more_rows_keeps_its_whole_name(
    tmp_path: Path, make_search: Callable[..., SearchRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without patients groups are named after rows, and those of the larger set have longer names."""
    labels = np.arange(1200) % 2
    grown = store_patch_set(RawPatches(np.zeros((1200, 4, 4), np.uint8), labels, "task"), tmp_path)
    monkeypatch.setattr(RunFolder, "patch_set", lambda run: grown)
    later, rows = RunFolder(tmp_path / "later"), np.arange(10)
    later.write_search(make_search(task="benign_malignant"))
    groups = np.array([f"row-{row}" for row in rows])
    earlier = OutOfFold(rows, rows % 2, rows % 4, groups, np.full((10, 2), 0.5))
    found = _in_rows_of(later, 1100 + np.arange(10), earlier)
    assert found.groups.tolist() == [f"row-{row}" for row in range(1100, 1110)]
