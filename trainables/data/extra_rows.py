"""Extra rows of a data set: every fold trains on them, and none scores them.

They are images of another set, or images whose labels a model has guessed.
"""

from collections.abc import Collection
from dataclasses import replace

from trainables.common.errors import SplitError
from trainables.data.patches import TaskRows


def extra_groups(rows: TaskRows, unit: str, *, sealed: Collection[str] = ()) -> list[str]:
    """Return the groups of the extra rows, in order.

    Args:
        rows: Rows of the task.
        unit: Noun for a group, for messages, such as `patient`.
        sealed: Groups that an earlier split, which holds here, too, has sealed.

    Raises:
        SplitError: If a group has extra rows and others, or extra rows and is sealed.
    """
    if rows.is_extra is None or not rows.is_extra.any():
        return []
    extra, scored = (set(rows.groups[part].tolist()) for part in (rows.is_extra, ~rows.is_extra))
    both = sorted(extra & scored)
    if both:
        raise SplitError(
            f"{_some(both, unit)[0]} both among the extra images and among those that are scored: "
            f"{_some(both, unit)[1]}; leave their extra images out, so that no model is scored on what it "
            f"has seen (images with the same pixels count as one {unit})"
        )
    lost = sorted(extra.intersection(sealed))
    if lost:
        raise SplitError(
            f"{_some(lost, unit)[0]} of the extra images lay in the sealed test part of the earlier split: "
            f"{_some(lost, unit)[1]}; leave their images out, or search without starting from that run"
        )
    return sorted(extra)


def _some(groups: list[str], unit: str) -> tuple[str, str]:
    """How many groups there are, and the first of them."""
    number = f"{len(groups)} {unit}{'' if len(groups) == 1 else 's'}"
    return number, f"{', '.join(groups[:5])}{', ...' if len(groups) > 5 else ''}"


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
        patients=None if rows.patients is None else rows.patients[kept],
    )
