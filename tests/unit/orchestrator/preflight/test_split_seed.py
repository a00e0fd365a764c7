"""Searches with other seeds may have the same folds."""

import pytest

from orchestrator.preflight.search_data import split_images
from orchestrator.request import parse_request
from trainables.data.patches import PatchSet, select_rows


def folds_of(patch_set: PatchSet, **options: int) -> dict[str, int]:
    request = parse_request(
        {"task": "benign_malignant", "data": "x", "folds": 3, "test_share": 0.0, **options}
    )
    return dict(
        split_images(request, patch_set, select_rows(patch_set, request.task_definition)).fold_of_group
    )


@pytest.mark.parametrize("seed", [1, 7])
def test_the_seed_of_the_split_decides_the_folds_alone(bright_patches: PatchSet, seed: int) -> None:
    usual = folds_of(bright_patches, seed=3)
    assert folds_of(bright_patches, seed=seed, split_seed=3) == usual
    assert folds_of(bright_patches, seed=seed) != usual
