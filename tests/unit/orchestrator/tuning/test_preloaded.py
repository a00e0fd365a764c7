"""What each process of a search imports before its first trial."""

import subprocess
import sys


def test_a_first_trial_waits_for_nothing_that_writes_graphs_or_compiles() -> None:
    script = "import orchestrator.tuning.preloaded, sys; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert "orchestrator.tuning.trial_runner" in said.split()
    assert not {"onnxscript", "onnx_ir", "results.export.graph_cost"} & set(said.split())
    assert not {"onnx", "onnxruntime", "torch._dynamo"} & set(said.split())
