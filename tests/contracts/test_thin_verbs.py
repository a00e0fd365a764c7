"""Verbs that show a run parse, call the Python interface and print: they import nothing that computes."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERBS = ("search", "resume", "plan", "leaderboard", "ensemble", "evaluate", "export", "refit")
THEIR_OWN = ("closing", "finish", "common", "opened")  # what these verbs print with

# Whole modules that parse, describe or print, and the interface itself.
ALLOWED = (
    "orchestrator.api",
    "orchestrator.cli",
    "orchestrator.reporting",
    "orchestrator.request",
    "results.errors",
    "results.run",
    "results.tables",
    "results.ensembles.tables",
    "rich",
    "trainables.common.errors",
    "trainables.common.text",
)
# Of other modules single names: records, words of options, and how a result is written down.
NAMES = {
    "orchestrator.estimate.nested": {"NestedEstimate"},
    "orchestrator.estimate.simulation": {"BackboneEstimate", "DataPart", "Estimate"},
    "orchestrator.preflight.reasons": {"reasons_by_backbone"},
    "orchestrator.study.trial_spec": {"TIME_WAS_UP"},
    "orchestrator.tuning.remarks": {"RUN_ALONE"},
    "results.ensembles.limits": {"DEFAULT_MEMBERS"},
    "results.ensembles.methods": {"METHODS", "methods_for"},
    "results.export.allowed_change": {
        "DISTIL_WEIGHT",
        "MAX_AUC_LOSS",
        "MAX_CHANGED_CALLS",
        "PRECISIONS",
        "STUDENT_AUC_LOSS",
        "STUDENT_CHANGED_CALLS",
        "ExportChanges",
    },
    "results.predictors.selected_model": {"reason_against_export"},
    "results.predictors.test_evaluation": {"evaluation_as_csv", "evaluation_as_json", "evaluation_table"},
    "results.scores.metrics": {"metric_named"},
    "results.scores.operating_point": {"Operation"},
    "results.scores.outer_result": {"read_outer", "readable_outer"},
    "results.scores.outside": {"OutsideEvaluation"},
    "results.scores.ranking": {"Objectives", "objectives_of"},
    "results.scores.repeats": {"read_repeats", "readable_repeats"},
    "results.scores.settings_text": {"labelled_settings"},
    "search_spaces.fixed_params": {"parse_fixed_params"},
    "trainables.data.split_record": {"read_split"},
}


def imports_of(code: str) -> Iterator[tuple[str, str]]:
    """Module and name of each import, wherever in the code it stands."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((str(node.module), alias.name) for alias in node.names)


def computes(module: str, name: str) -> bool:
    if module.partition(".")[0] in sys.stdlib_module_names:
        return False
    if any(module == known or module.startswith(f"{known}.") for known in ALLOWED):
        return False
    if module.startswith("results.") and module.endswith("_table"):
        return False
    return name not in NAMES.get(module, ())


def code_of(verb: str) -> str:
    return (ROOT / "orchestrator" / "cli" / f"{verb}.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("verb", VERBS + THEIR_OWN)
def test_a_verb_imports_nothing_that_computes(verb: str) -> None:
    found = [f"{module}.{name}" for module, name in imports_of(code_of(verb)) if computes(module, name)]
    assert not found, f"orchestrate {verb} works by itself: let orchestrator.api offer {', '.join(found)}"


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_calls_the_python_interface(verb: str) -> None:
    called = {module for module, _ in imports_of(code_of(verb)) if module.startswith("orchestrator.api")}
    through_common = "open_result" in {name for _, name in imports_of(code_of(verb))}
    assert called or through_common


@pytest.mark.parametrize(
    "code",
    [
        "from results.ensembles.build import build_ensembles",
        "def run():\n    from results.scores.leaderboard import leaderboard",
        "from orchestrator.postprocessing.test_set import open_test_part",
        "import results.export.bundle",
        "from results.predictors.test_evaluation import evaluate_test",
    ],
)
def test_a_verb_that_would_compute_is_seen(code: str) -> None:
    assert any(computes(module, name) for module, name in imports_of(code))
    assert not any(computes(*one) for one in imports_of("import json\nfrom rich.text import Text"))


def test_no_name_is_allowed_that_no_verb_needs() -> None:
    used = {one for verb in VERBS + THEIR_OWN for one in imports_of(code_of(verb))}
    allowed = {(module, name) for module, names in NAMES.items() for name in names}
    assert allowed <= used
