"""The choice between models side by side and one after the other."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from isolated_folds import FROZEN, material_of, place_in

from trainables.config.trial_config import decode
from trainables.data.patches import PatchSet
from trainables.training import execution_mode
from trainables.training.execution_mode import choose_mode


@pytest.mark.parametrize(
    "allocate", [lambda: torch.empty(2**50, dtype=torch.uint8), lambda: np.empty(2**60, dtype=np.uint8)]
)
def test_models_that_find_no_memory_beside_each_other_train_one_after_the_other(
    bright_patches: PatchSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allocate: Any
) -> None:
    monkeypatch.setattr(execution_mode, "FusedModels", lambda *_: allocate())
    runtime = replace(place_in(tmp_path), fusion="auto")
    mode = choose_mode(decode(FROZEN), (1280,), runtime, material_of(bright_patches))
    assert mode == "sequential"


def test_another_fault_of_models_beside_each_other_is_one(
    bright_patches: PatchSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(execution_mode, "FusedModels", fail)
    runtime = replace(place_in(tmp_path), fusion="auto")
    with pytest.raises(RuntimeError, match="no such operator"):
        choose_mode(decode(FROZEN), (1280,), runtime, material_of(bright_patches))
