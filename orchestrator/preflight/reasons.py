"""Sentences about backbones that a search leaves out, or takes in part, with the reasons."""

from collections.abc import Mapping

from orchestrator.preflight.feasibility import FeasibleModels


def reasons_by_backbone(left_out: Mapping[str, str]) -> dict[str, list[str]]:
    """Return reason -> backbones that it keeps out of a search, so that each reason is said once."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        general = reason.replace(f" for {name}:", ":").replace(f"{name}*", "NAME*")
        general = general.replace(f"package {name.replace('_', '-')}-", "package NAME-")
        by_reason.setdefault(general, []).append(name)
    return by_reason


def describe_feasible(feasible: FeasibleModels) -> list[str]:
    """Say which backbones take no part in a search, and which serve closed-form heads alone."""
    left_out = [
        f"left out: {', '.join(names)}: {reason}"
        for reason, names in reasons_by_backbone(feasible.left_out).items()
    ]
    plain = [
        f"closed-form heads on plain images alone: {', '.join(names)}: {reason}"
        for reason, names in reasons_by_backbone(feasible.plain_only).items()
    ]
    return [*left_out, *plain]
