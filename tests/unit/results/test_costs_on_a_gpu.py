"""Times on a GPU in leaderboards, ensembles and reports: a column where some are known, and what computed."""

from pathlib import Path

import pytest
from reported_run import make_reported_run
from rich.console import Console
from rich.table import Table
from simulated_run import make_run
from simulated_trials import simulate

from orchestrator.report.facts import RunFacts
from orchestrator.report.sections.ensembles import ENSEMBLES
from orchestrator.report.sections.ranking import RANKING
from results.ensembles.build import build_ensembles
from results.ensembles.ensemble import Ensemble
from results.ensembles.tables import ensemble_table, ensembles_as_json
from results.run.prediction_costs import GpuRuntime, PredictionTime, add_costs
from results.run.run_folder import RunFolder
from results.scores.leaderboard import leaderboard
from results.scores.leaderboard_table import leaderboard_table, rows_as_csv, rows_as_json


def cost(core_ms: float, gpu_ms: float | None, runtime: GpuRuntime | None) -> PredictionTime:
    return PredictionTime(core_ms=core_ms, gpu_ms=gpu_ms, gpu_runtime=runtime, megabytes=14.3)


def a_run(folder: Path, **costs: PredictionTime) -> RunFolder:
    """Four trials; what the first ones cost is known."""
    run = make_run(folder, simulate(trials=4, strength=1.0, seed=1))
    add_costs(run, {(number,): own for number, own in enumerate(costs.values())})
    return run


def ensembles(run: RunFolder, gpu_ms: float | None, runtime: GpuRuntime | None) -> list[Ensemble]:
    def measure(models: list[tuple[int, ...]]) -> dict[tuple[int, ...], PredictionTime]:
        return {tuple(sorted(own)): cost(80.0, gpu_ms, runtime) for own in models}

    return build_ensembles(run, methods=["average"], seed=0, measure=measure)


def shown(table: Table) -> str:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def column(table: Table, header: str) -> list[str]:
    (found,) = [own for own in table.columns if own.header == header]
    return [str(cell) for cell in found.cells]


def test_a_leaderboard_has_a_column_of_times_on_the_gpu_and_says_what_computed(tmp_path: Path) -> None:
    run = a_run(tmp_path, first=cost(80.0, 2.54, "torch"), second=cost(90.0, None, None))
    rows = leaderboard(run)
    table = leaderboard_table(rows)
    assert sorted(column(table, "GPU ms")) == ["-"] * (len(rows) - 1) + ["2.5"]
    text = " ".join(shown(table).split())
    assert "GPU ms: on its GPU, in PyTorch, since ONNX Runtime could not use it." in text
    assert max(map(len, shown(table).splitlines())) <= 80
    (found,) = [row for row in rows_as_json(rows) if row["trial"] == 0]
    assert (found["gpu_ms_per_image"], found["gpu_runtime"]) == (2.54, "torch")
    assert "gpu_runtime" in rows_as_csv(rows).splitlines()[0].split(",")


def test_without_a_gpu_there_is_no_column(tmp_path: Path) -> None:
    run = a_run(tmp_path, first=cost(80.0, None, None))
    table = leaderboard_table(leaderboard(run))
    assert "ms/image" in [own.header for own in table.columns]
    assert "GPU" not in shown(table)
    assert "GPU" not in shown(ensemble_table(ensembles(run, None, None)))


def test_onnx_runtime_on_the_gpu_needs_no_excuse(tmp_path: Path) -> None:
    run = a_run(tmp_path, first=cost(80.0, 1.0, "onnxruntime"))
    text = " ".join(shown(leaderboard_table(leaderboard(run))).split())
    assert text.endswith("GPU ms: on its GPU.")
    assert "PyTorch" not in text


def test_a_table_of_both_kinds_of_times_says_so(tmp_path: Path) -> None:
    run = a_run(tmp_path, first=cost(80.0, 2.5, "torch"), second=cost(90.0, 1.0, "onnxruntime"))
    text = " ".join(shown(leaderboard_table(leaderboard(run))).split())
    assert text.endswith("GPU ms: on its GPU, of some rows in PyTorch and of others in ONNX Runtime.")


def test_ensembles_have_the_column_too(tmp_path: Path) -> None:
    built = ensembles(a_run(tmp_path), 3.25, "torch")
    table = ensemble_table(built)
    assert column(table, "GPU ms") == ["3.2", "3.2"]
    assert "in PyTorch" in " ".join(shown(table).split())
    assert max(map(len, shown(table).splitlines())) <= 80
    assert {(own["gpu_ms_per_image"], own["gpu_runtime"]) for own in ensembles_as_json(built)} == {
        (3.25, "torch")
    }


@pytest.mark.parametrize("gpu_ms", [2.5, None])
def test_a_report_has_the_column_where_a_time_is_known(tmp_path: Path, gpu_ms: float | None) -> None:
    runtime: GpuRuntime | None = "torch" if gpu_ms else None
    run = make_reported_run(tmp_path, trials=3, with_ensembles=False)
    add_costs(run, {(2,): cost(80.0, gpu_ms, runtime)})
    ensembles(run, gpu_ms, runtime)
    for section in (RANKING, ENSEMBLES):
        content = section.build(RunFacts(run))
        assert content is not None
        assert ("GPU ms" in content.html) == (gpu_ms is not None)
        assert "80.0" in content.html
