"""Extra rows of a data set: every fold trains on them, and none scores them.

They are images of another set, or images whose labels a model has guessed.
"""

from dataclasses import replace

from trainables.common.errors import SplitError
from trainables.data.patches import TaskRows


def extra_groups(rows: TaskRows, unit: str) -> list[str]:
    """Return the groups of the extra rows, in order.

    Args:
        rows: Rows of the task.
        unit: Noun for a group, for messages, such as `patient`.

    Raises:
        SplitError: If a group has extra rows and others.
    """
    if rows.is_extra is None or not rows.is_extra.any():
        return []
    extra, scored = (set(rows.groups[part].tolist()) for part in (rows.is_extra, ~rows.is_extra))
    both = sorted(extra & scored)
    if both:
        named = f"{', '.join(both[:5])}{', ...' if len(both) > 5 else ''}"
        raise SplitError(
            f"{len(both)} {unit}{'' if len(both) == 1 else 's'} both among the extra images and among those "
            f"that are scored: {named}; leave their extra images out, so that no model is scored on what it "
            f"has seen (images with the same pixels count as one {unit})"
        )
    return sorted(extra)


def without_extra(rows: TaskRows) -> TaskRows:
    """Return the rows that may be scored."""
    if rows.is_extra is None:
        return rows
    kept = ~rows.is_extra
    return replace(
        rows,
        rows=rows.rows[kept],
        labels=rows.labels[kept],
        groups=rows.groups[kept],
        is_test=None if rows.is_test is None else rows.is_test[kept],
        is_extra=None,
        units=None if rows.units is None else rows.units[kept],
    )
