"""The result of a nested search as a table of 80 columns, as sentences, as JSON and as CSV."""

from types import MappingProxyType
from typing import Any, Final

from rich.table import Table

from results.run.outer_fold import Role
from results.run.split_labels import interval_header
from results.scores.interval import Interval
from results.scores.metric import Metric
from results.scores.metrics import metric_named, shown_metric
from results.scores.outer_result import OuterResult
from results.tables import csv_text, result_table
from trainables.common.text import count_text
from trainables.config.baseline import BASELINE_TEXT
from trainables.config.unit_config import PLURALS

ROLE_TEXTS: Final = MappingProxyType[Role, str](
    {
        "shipped": "what the search ships",
        "incumbent": "its best trial",
        "first_point": "its first point",
        "baseline": BASELINE_TEXT,
    }
)
_SHARED: Final = ("model.backbone", "model.cut", "model.trained_stages", "classical.name", "optimizer.name")


def outer_table(result: OuterResult) -> Table:
    """Return a table that fits 80 columns: the models, what the search claims for them, and what is true."""
    metric = metric_named(result.metric)
    table = result_table(
        title=f"{result.folds} outer folds, {_trials_text(result)} in each", title_justify="left"
    )
    table.add_column("model", no_wrap=True)
    table.add_column(interval_header(result.split, metric.header), no_wrap=True)
    others = [metric_named(name) for name in ("auc", "f2") if name != metric.name]
    for header in ("said inside", "too good by", *(other.header for other in others)):
        table.add_column(header, justify="right", no_wrap=True)
    for role, score in result.scores.items():
        table.add_row(
            ROLE_TEXTS[role],
            score.value.text(metric.digits),
            metric.text(score.inner_value),
            _signed_text(score.optimism, metric),
            *(other.text(score.metrics.get(other.name)) for other in others),
            style="bold" if role == "shipped" else None,
        )
    table.caption = " ".join(sentences(result))
    return table


def sentences(result: OuterResult) -> list[str]:
    """Say what the nested search has found, the score first and what cannot be claimed last."""
    metric = shown_metric(result.metric)
    return [
        f"On {result.group_unit}s that no part of it has seen, what this search ships has {metric.header} "
        f"{result.shipped.value.text(metric.digits)} ({_scored_text(result)}).",
        *_gain_sentences(result, metric),
        _optimism_sentence(result, metric),
        *_stability_sentences(result),
        cost_sentence(result),
        *result.caveats,
        *([result.outdated] if result.outdated else []),
    ]


def short_sentence(result: OuterResult) -> str:
    """Say the nested score in one line, for tables about something else."""
    metric = metric_named(result.metric)
    said = (
        f"The whole search, run again without each of {result.folds} outer folds: {metric.header} "
        f"{result.shipped.value.text(metric.digits)} on {result.group_unit}s that it has not seen."
    )
    return f"{said} {result.outdated}".strip()


def with_nested_score(table: Table, result: OuterResult | None) -> Table:
    """Add the nested score of the whole search to the caption of a table of its trials."""
    if result is not None:
        table.caption = f"{table.caption or ''} {short_sentence(result)}".strip()
    return table


def cost_sentence(result: OuterResult) -> str:
    """Say what the nested search took beside the search itself."""
    cost = result.cost
    ratio = "" if cost.ratio is None else f", {cost.ratio:.1f} times those of the search itself"
    again = (
        "no features were computed again"
        if not cost.features_again
        else f"{count_text(cost.features_again, 'feature file')} had to be computed again"
    )
    new = (
        f" ({cost.features_computed - cost.features_again} were new: no trial had asked for them)"
        if cost.features_computed > cost.features_again
        else ""
    )
    return f"It took {cost.nested_seconds:.0f} worker seconds{ratio}; {again}{new}."


def outer_as_json(result: OuterResult) -> dict[str, Any]:
    """Return the result as plain values, with its sentences."""
    return {**result.model_dump(mode="json"), "sentences": sentences(result)}


def outer_as_csv(result: OuterResult) -> str:
    """Return one row for each model, as CSV with a header."""
    names = tuple(dict.fromkeys(name for score in result.scores.values() for name in score.metrics))
    columns = ("model", "metric", "value", "low", "high", "said_inside", "too_good_by", *names, "split")
    return csv_text(
        (
            {
                **{name: score.metrics.get(name) for name in names},
                "model": role,
                "metric": result.metric,
                "value": score.value.estimate,
                "low": score.value.low,
                "high": score.value.high,
                "said_inside": score.inner_value,
                "too_good_by": score.optimism,
                "split": result.split,
            }
            for role, score in result.scores.items()
        ),
        columns,
    )


def _scored_text(result: OuterResult) -> str:
    """Number of what was scored, and of the patients or groups that it is of."""
    scored = f"{result.images} {PLURALS[result.unit]}"
    return (
        scored
        if result.group_unit == "image"
        else f"{scored}, {count_text(result.patients, result.group_unit)}"
    )


def _trials_text(result: OuterResult) -> str:
    fewest, most = min(result.trials), max(result.trials)
    return count_text(most, "trial") if fewest == most else f"{fewest} to {most} trials"


def _gain_sentences(result: OuterResult, metric: Metric) -> list[str]:
    texts = {"first_point": "its first point", "baseline": BASELINE_TEXT}
    found = [
        f"{_signed(gain, metric)} over {texts[role]}" for role, gain in result.gains.items() if role in texts
    ]
    if not found:
        return []
    sure = [gain.low > 0 for gain in result.gains.values()]
    doubt = "" if all(sure) else "; where the interval holds 0, chance explains it"
    return [f"It gains {' and '.join(found)}{doubt}."]


def _signed(gain: Interval, metric: Metric) -> str:
    digits = metric.digits
    return f"{gain.estimate:+.{digits}f} [{gain.low:+.{digits}f}, {gain.high:+.{digits}f}]"


def _optimism_sentence(result: OuterResult, metric: Metric) -> str:
    shipped, best = result.shipped.optimism, result.scores["incumbent"].optimism
    whose, own = f"on all of these {result.group_unit}s", ""
    if result.plain_value is not None:
        own = f" The search itself, {whose}, claims {metric.text(result.plain_value)}."
    return (
        f"Inside, the searches claimed {_too(shipped, metric)} for what they ship, and {_too(best, metric)} "
        f"for their best trial.{own}"
    )


def _signed_text(value: float, metric: Metric) -> str:
    return f"{round(value, metric.digits) + 0.0:+.{metric.digits}f}"  # no -0.00


def _too(optimism: float, metric: Metric) -> str:
    return f"{abs(optimism):.{metric.digits}f} too {'much' if optimism > 0 else 'little'}"


def _stability_sentences(result: OuterResult) -> list[str]:
    found = result.stability
    if found.agreement is None or found.by_chance is None:
        return []
    shared = [f"{name}={found.shared[name]}" for name in _SHARED if name in found.shared]
    common = f"; all have {', '.join(shared)}" if shared else ""
    return [
        f"Two best trials agree on {found.agreement:.0%} of the settings that vary, two trials at random on "
        f"{found.by_chance:.0%}{common}."
    ]
