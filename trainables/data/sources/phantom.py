"""Data source of the built-in synthetic set: `phantom`, or `phantom:subtlety=0.7,patients=80,seed=3`."""

from collections.abc import Callable
from typing import Any, Final

from trainables.common.errors import DataError, UnknownNameError
from trainables.config.tasks import Task
from trainables.data.patches import RawPatches
from trainables.data.phantom import make_phantom
from trainables.data.source import Source, Stated

_SETTINGS: Final[dict[str, Callable[[str], Any]]] = {
    "patients": int,
    "lesions_per_patient": int,
    "size_px": int,
    "subtlety": float,
    "seed": int,
    "views": int,
    "boxes": lambda text: bool(int(text)),
}


def load_phantom(data: str, task: Task, stated: Stated) -> tuple[RawPatches, list[str]]:
    """Generate the synthetic set.

    Args:
        data: `phantom`, or `phantom:` and settings of `make_phantom`, separated by commas.
        task: Task; not used, since the label codes are known.
        stated: What the user says; label codes must be `pisa` or None.

    Returns:
        The patches, and the sentence that they are synthetic.

    Raises:
        UnknownNameError: If there is no such setting.
        DataError: If a setting has no usable value, or other label codes are asked for.
    """
    if stated.label_codes not in (None, "pisa"):
        raise DataError(
            f"the phantom's label codes are pisa, not {stated.label_codes}; leave --label-codes out"
        )
    _, _, text = data.partition(":")
    settings = dict(_setting(part) for part in text.split(",") if part.strip())
    raw = make_phantom(**settings)
    return raw, ["SYNTHETIC phantom images: scores on them say nothing about patients"]


def _setting(text: str) -> tuple[str, Any]:
    name, _, value = (part.strip() for part in text.partition("="))
    if name not in _SETTINGS:
        raise UnknownNameError("phantom setting", name, _SETTINGS)
    kind = _SETTINGS[name]
    try:
        return name, kind(value)
    except ValueError as error:
        what = "a number" if kind is float else "a whole number"
        raise DataError(
            f"phantom: {name} must be {what}, found {value!r}; write phantom:{name}=..."
        ) from error


PHANTOM = Source("phantom", load_phantom, "synthetic patches", takes_path=False)
