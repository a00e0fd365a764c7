"""Run folders of earlier versions: translation of their names of options, settings and causes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from trainables.config.trial_config import RENAMED_SETTINGS

_RENAMED_CAUSES: Final = MappingProxyType({"asha": "pruner", "budget": "time_budget"})
# Options that were fields of the record itself, before it held the request.
_OPTIONS: Final = (
    *("task", "data", "label_codes", "test_share", "seed", "trials", "minutes", "trial_minutes", "epochs"),
    *("weights_dir", "workers", "cpus_per_trial", "process_per_fold", "store", "features", "store_gb"),
    *("shared_store", "study_storage", "keep_weights", "name", "naive_split"),
)
_FACTS_TOO: Final = ("label_codes", "test_share", "trial_minutes", "store", "name", "naive_split")


def lifted(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a `search.yaml` that mixed options and facts, in today's layout."""
    facts = dict(values)
    request: dict[str, Any] = {name: facts[name] for name in _OPTIONS if name in facts}
    for name in _OPTIONS:
        if name not in _FACTS_TOO:
            facts.pop(name, None)
    space = facts.pop("space", None)
    request["space"] = space if space and ":" in space else None
    request["fixed_params"] = renamed_settings(facts.pop("pins", {}))
    request["holdout"] = facts.get("holdout")
    request["folds"] = None if facts.get("holdout") is not None else facts.get("folds")
    if facts.get("gpus_per_trial") and not facts.get("shares_gpus_as_measured"):
        request["gpus_per_trial"] = facts["gpus_per_trial"]
    for option in ("start_from", "type_from"):
        source = facts.get(option)
        request[option] = None if source is None else f"{source['run']}:{source['trial']}"
    return {"request": request, **facts}


def with_pairs_as_searched(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a `search.yaml` whose request says whether trials could compare pairs.

    Searches once compared wherever the data allowed it; their space knows.
    """
    request, context = values["request"], values.get("space_context")
    if not isinstance(request, Mapping) or "pairs" in request or not isinstance(context, Mapping):
        return dict(values)
    return {**values, "request": {**request, "pairs": bool(context.get("has_pairs"))}}


def with_metrics(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a `search.yaml` that names one metric under today's name of several."""
    facts = dict(values)
    if "metric" in facts:
        facts["metrics"] = [facts.pop("metric")]
    return facts


def renamed_cause(cause: Any) -> Any:
    """Return today's name of a cause; any other value stays as it is."""
    return _RENAMED_CAUSES.get(cause, cause) if isinstance(cause, str) else cause


def renamed_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return flat settings under today's names."""
    return {RENAMED_SETTINGS.get(name, name): value for name, value in settings.items()}
