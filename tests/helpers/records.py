"""Records of searches for tests."""

from datetime import UTC, datetime
from typing import Any

from results.run.records import SearchRecord
from results.run.search_request import SearchRequest


def search_record(**fields: Any) -> SearchRecord:
    """The record of a small search; any option or fact may be given."""
    options: dict[str, Any] = {
        "task": "benign_malignant",
        "data": "phantom",
        "trials": 4,
        "folds": 3,
        "epochs": 3,
        "minutes": None,
    }
    facts: dict[str, Any] = {
        "command": "orchestrate search benign_malignant",
        "name": "first",
        "classes": ("benign", "malignant"),
        "label_codes": "task",
        "source": "phantom",
        "is_synthetic": True,
        "fingerprint": "f" * 64,
        "store": "store",
        "metrics": ("auc",),
        "space_context": {},
        "backbones": ("efficientnet_lite0",),
        "left_out": {},
        "trial_minutes": 10.0,
        "folds": 3,
        "test_share": 0.2,
        "gpus_per_trial": 0.0,
        "versions": {},
        "started_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    for name, value in fields.items():
        (facts if name in SearchRecord.model_fields else options)[name] = value
    if facts.get("holdout") is not None:
        options["folds"] = None
    return SearchRecord(request=SearchRequest(**options), **facts)
