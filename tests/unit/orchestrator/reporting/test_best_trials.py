"""Images of patients go to TensorBoard unless the user keeps them out."""

from pathlib import Path
from typing import Any

import pytest
from finished_run import CONFIGS, make_run

from orchestrator.reporting.best_trials import draw_best
from orchestrator.reporting.tensorboard import TensorBoardLog


@pytest.mark.parametrize("with_images", [True, False])
def test_no_image_of_a_patient_is_drawn_where_pictures_are_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_images: bool
) -> None:
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(TensorBoardLog, "pictures", lambda _, number, pictures: drawn.update(pictures))
    run = make_run(tmp_path, {0: CONFIGS[0]})
    draw_best(run, run.search().with_options(pictures=with_images), run.records())
    assert {"roc", "precision_recall", "confusion"} <= set(drawn)
    assert ("worst_mistakes" in drawn) is with_images
