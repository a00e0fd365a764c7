"""What is exported instead of an ensemble decides at the operating point that the ensemble was built for."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from simulated_run import make_run
from simulated_trials import simulate

from orchestrator.api.export import export_model
from orchestrator.postprocessing import distil
from results.ensembles.build import build_ensembles
from results.export import bundle
from results.export.allowed_change import ExportChanges
from results.run.run_folder import RunFolder
from results.scores.operating_point import NOTHING_ASKED, Operation

BUILT_FOR = Operation.of(at="specificity=0.9", prevalence=0.01)
OTHER = Operation.of(at="sensitivity=0.9")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = make_run(tmp_path / "runs", simulate(trials=2))
    build_ensembles(run, methods=["average"], seed=0, operation=BUILT_FOR)
    return run


@pytest.mark.parametrize(("asked", "wanted"), [(NOTHING_ASKED, BUILT_FOR), (OTHER, OTHER)])
def test_a_student_decides_at_the_operating_point_of_its_teacher(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Operation, wanted: Operation
) -> None:
    seen: list[Operation] = []
    student = SimpleNamespace(run=run, record=SimpleNamespace(trial=1))
    monkeypatch.setattr(distil, "distil", lambda run, **_: student)
    monkeypatch.setattr(bundle, "export_bundle", lambda run, out, **said: seen.append(said["operation"]))
    export_model(run, tmp_path / "out", changes=ExportChanges(distil=1), operation=asked)
    assert seen == [wanted]


@pytest.mark.parametrize(("asked", "wanted"), [(NOTHING_ASKED, BUILT_FOR), (OTHER, OTHER)])
def test_a_trial_that_is_chosen_for_its_time_decides_at_the_operating_point_of_the_ensemble(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Operation, wanted: Operation
) -> None:
    def opened(run: RunFolder, *, trial: int, operation: Operation, **_: Any) -> None:
        raise InterruptedError(f"trial {trial}: {operation}")

    monkeypatch.setattr(bundle, "best_within", lambda run, max_ms: ("best", 1))
    monkeypatch.setattr(bundle, "open_model", opened)
    with pytest.raises(InterruptedError, match=f"^trial 1: {wanted}$"):
        bundle.export_bundle(run, tmp_path / "out", max_ms=5.0, operation=asked)
