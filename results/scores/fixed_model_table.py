"""What the tables of a sealed part and of other data have in common."""

from collections.abc import Iterable, Mapping

from rich.table import Table

from results.run.split_labels import GROUPED, SplitName, scored
from results.scores.fixed_model import FixedModelScores
from results.scores.metrics import metric_named, shown_metric
from results.tables import result_table
from trainables.config.unit_config import PLURALS
from trainables.data.group_names import of_groups


def scores_table(
    scores: FixedModelScores, *, name: str, place: str, here: str, main: str, split: SplitName = GROUPED
) -> Table:
    """Return the metrics as a table that fits 80 columns, without a caption.

    Args:
        scores: Scores of a model.
        name: Name of the model, for the title.
        place: Name of what it was scored on, for the title.
        here: Header of the scores; the others are those out of fold and of a model of class shares alone.
        main: Name of the metric that the search optimised.
        split: Name of the kind of split that the scores themselves are of; those out of fold have their own.
    """
    counts = ", ".join(f"{number} {one}" for one, number in scores.counts.items())
    whose = of_groups(scores.groups, scores.group_unit)
    table = result_table(
        title=f"{name} on {place}: {scores.images} {PLURALS[scores.unit]}{whose} ({counts})",
        title_justify="left",
    )
    expected = "out of fold" if split == scores.split else f"out of fold\n({scores.split})"
    for header in ("metric", here, expected, "majority"):
        table.add_column(header, no_wrap=True, justify="left" if header == "metric" else "right")
    for metric, found in ((metric_named(one), found) for one, found in scores.metrics.items()):
        table.add_row(
            scored(metric.header, split),
            found.text(metric.digits),
            metric.text(scores.expected.get(metric.name)),
            metric.text(scores.baseline.get(metric.name)),
            style="bold" if metric.name == main else None,
        )
    return table


def said_of_looks(number: int, group: str, where: str) -> str:
    """Say how many looks there were at these patients.

    Args:
        number: Number of this look, from 1.
        group: Noun for one of them, such as `patient`.
        where: What the looks are counted over.
    """
    return (
        f"The first look at these {group}s."
        if number == 1
        else (f"Look number {number} at these {group}s, {where}.")
    )


def said_of_thresholds(thresholds: Mapping[str, float], threshold: float, shown: Iterable[str]) -> str:
    """Say which of the metrics shown judge decisions at another threshold than the model's; empty for none.

    >>> said_of_thresholds({"f1": 0.4, "f2": 0.2}, 0.2, ["auc", "f1", "f2"])
    'F1 at a threshold of its own'
    """
    own = [shown_metric(name).header for name in shown if thresholds.get(name, threshold) != threshold]
    if not own:
        return ""
    names = " and ".join([", ".join(own[:-1]), own[-1]] if len(own) > 1 else own)
    return f"{names} at {'thresholds of their own' if len(own) > 1 else 'a threshold of its own'}"
