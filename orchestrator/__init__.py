"""The command line and the search: combines the other packages, runs trials on Ray, asks Optuna for them.

What stands in `__all__` is the Python interface. It is imported when it is first used, so that
the command line and its help start without torch, Ray and Optuna.

>>> from orchestrator import SearchRequest
>>> SearchRequest(task="benign_malignant", trials=4).trials
4
"""

import importlib
import warnings
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from orchestrator.api.claims import compare_models, evaluate_bundle, recalibrate_bundle
    from orchestrator.api.data import audit_data, describe_data
    from orchestrator.api.prepared_sets import join_sets, prepare_set
    from orchestrator.api.result import SearchResult
    from orchestrator.api.search import open_run, plan_search, resume_search, run_search
    from orchestrator.callbacks import Callback, StopSearch
    from orchestrator.estimate.simulation import Estimate
    from orchestrator.simulation.replay import replay_search
    from orchestrator.simulation.replayed import Replay, ReplayedSearch, ReplayedTrial
    from orchestrator.simulation.table import ResultTable, Trajectory, packaged_table
    from results.export.exported_model import Bundle, load_bundle
    from results.run.search_request import SearchRequest
    from results.scores.metrics import Metric, register_metric
    from results.scores.operating_point import Operation
    from trainables.common.errors import OrchestrateError
    from trainables.config.tasks import Task
    from trainables.models.registry import register_backbone
    from trainables.models.stages import Backbone

# Name -> module that defines it.
_PLACES: Final = MappingProxyType(
    {
        "Backbone": "trainables.models.stages",
        "Bundle": "results.export.exported_model",
        "Callback": "orchestrator.callbacks",
        "Estimate": "orchestrator.estimate.simulation",
        "Metric": "results.scores.metric",
        "Operation": "results.scores.operating_point",
        "OrchestrateError": "trainables.common.errors",
        "Replay": "orchestrator.simulation.replayed",
        "ReplayedSearch": "orchestrator.simulation.replayed",
        "ReplayedTrial": "orchestrator.simulation.replayed",
        "ResultTable": "orchestrator.simulation.table",
        "SearchRequest": "results.run.search_request",
        "SearchResult": "orchestrator.api.result",
        "StopSearch": "orchestrator.callbacks",
        "Task": "trainables.config.tasks",
        "Trajectory": "orchestrator.simulation.table",
        "audit_data": "orchestrator.api.data",
        "compare_models": "orchestrator.api.claims",
        "describe_data": "orchestrator.api.data",
        "evaluate_bundle": "orchestrator.api.claims",
        "join_sets": "orchestrator.api.prepared_sets",
        "load_bundle": "results.export.exported_model",
        "open_run": "orchestrator.api.search",
        "packaged_table": "orchestrator.simulation.table",
        "plan_search": "orchestrator.api.search",
        "prepare_set": "orchestrator.api.prepared_sets",
        "recalibrate_bundle": "orchestrator.api.claims",
        "register_backbone": "trainables.models.registry",
        "register_metric": "results.scores.metrics",
        "replay_search": "orchestrator.simulation.replay",
        "resume_search": "orchestrator.api.search",
        "run_search": "orchestrator.api.search",
    }
)

__all__ = [
    "Backbone",
    "Bundle",
    "Callback",
    "Estimate",
    "Metric",
    "Operation",
    "OrchestrateError",
    "Replay",
    "ReplayedSearch",
    "ReplayedTrial",
    "ResultTable",
    "SearchRequest",
    "SearchResult",
    "StopSearch",
    "Task",
    "Trajectory",
    "audit_data",
    "compare_models",
    "describe_data",
    "evaluate_bundle",
    "join_sets",
    "load_bundle",
    "open_run",
    "packaged_table",
    "plan_search",
    "prepare_set",
    "recalibrate_bundle",
    "register_backbone",
    "register_metric",
    "replay_search",
    "resume_search",
    "run_search",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with warnings.catch_warnings():
        # Of tqdm in a notebook, which libraries import for bars that nobody sees here.
        warnings.filterwarnings("ignore", message="IProgress not found")
        value = getattr(importlib.import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
