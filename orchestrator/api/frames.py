"""Rows and tables of results for Python, and what images may be given as."""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from results.run.records import TrialRecord
from trainables.common.errors import ConfigError
from trainables.common.text import count_text

if TYPE_CHECKING:  # pandas takes a second to import, and a result may only be looked at
    import pandas as pd

    from results.export.exported_model import Bundle
    from results.export.view_and_side import Stated

FACTS: Final = (  # columns of every trial
    "number",
    "state",
    "cause",
    "value",
    "best_epoch",
    "epochs",
    "seconds",
    "recipe",
    "error",
)


def trial_row(record: TrialRecord, *, settings: bool) -> dict[str, Any]:
    """Return a trial as a row: `FACTS`, parameters and, if asked for, the whole configuration."""
    facts = {name: getattr(record, name) for name in FACTS if name != "seconds"}
    facts = {name: facts.get(name, record.wall_seconds) for name in FACTS}
    facts |= {f"params_{name}": value for name, value in record.params.items()}
    if settings:
        facts |= {f"settings_{name}": value for name, value in record.config.items()}
    return facts


def as_paths(images: Any) -> list[Path]:
    """Return the paths among what was given; empty where arrays were given.

    Paths may be one, a list, an array of text or objects, or a pandas Series.

    Raises:
        ConfigError: If paths and arrays are mixed.
    """
    if isinstance(images, str | Path):
        return [Path(images)]
    if isinstance(images, np.ndarray) and images.dtype.kind not in "UO":
        return []
    are_paths = [isinstance(one, str | Path) for one in images]
    if any(are_paths) and not all(are_paths):
        raise ConfigError("images must be all arrays or all paths, found both")
    return [Path(one) for one in images] if any(are_paths) else []


def as_words(given: str | Iterable[str]) -> list[str]:
    """Return what was given as a word, or as a list, array or Series of words, one each."""
    return [given] if isinstance(given, str) else [str(one) for one in given]


def arrays_predicted(
    bundle: "Bundle", images: Any, baselines: Sequence[Any], types: Sequence[str], units: Sequence[str]
) -> "pd.DataFrame":
    """Return a row for each array, or for each unit: probabilities, predicted class, and triage if any."""
    import pandas as pd

    classes = list(bundle.manifest.classes)
    arrays, given = [np.asarray(image) for image in images], [np.asarray(one) for one in baselines]
    found = bundle.predict(arrays, baselines=given, types=types, units=units)
    index = pd.Index(list(dict.fromkeys(units)), name=bundle.manifest.unit) if units else None
    table = pd.DataFrame(found, columns=classes, index=index)
    table["predicted_class"] = [classes[place] for place in bundle.decide(found)]
    if bundle.manifest.triage is not None:
        table["triage"] = bundle.triage(found)
    return table


def files_predicted(
    bundle: "Bundle",
    paths: Sequence[Path],
    baselines: Sequence[Path],
    types: Sequence[str],
    units: Sequence[str] = (),
    stated: "Sequence[Stated]" = (),
) -> "pd.DataFrame":
    """Return a row for each file, in their order: probabilities, predicted class, or why it was not used.

    With the unit of each file it is a row for each unit, with the number of its images that were predicted,
    and why others were not. What was done to files, and what they lack, is a warning each.
    """
    import pandas as pd

    from results.export.onnx_predictor import predict_files

    found = predict_files(bundle, paths, baselines=baselines, types=types, units=units, stated=stated)
    for note in found.notes:
        warnings.warn(note, stacklevel=3)
    if found.faults:
        said = f"{count_text(len(found.faults), 'file')} of {len(paths)} could not be predicted"
        warnings.warn(f"{said}: the column fault says why", stacklevel=3)
    classes, triage = bundle.manifest.classes, ["triage"] if bundle.manifest.triage is not None else []
    columns = [*classes, "predicted_class", *triage]
    # By place and not by name, since a file may be given twice, with another type or baseline.
    rows: dict[int, dict[str, Any]] = {fault.place: {"fault": fault.reason} for fault in found.faults}
    for one in found.predictions:
        rows[one.place] = dict(zip(classes, one.probabilities, strict=True))
        rows[one.place] |= {"predicted_class": one.predicted_class, "triage": one.triage}
    if units:
        names = list(dict.fromkeys(units))
        by_unit: dict[str, dict[str, Any]] = {name: {"images": 0} for name in names}
        for one in found.predictions:
            by_unit[one.file] = {**rows[one.place], "images": one.images}
        for fault in found.faults:
            own = by_unit[units[fault.place]]
            own["fault"] = "; ".join(filter(None, (own.get("fault"), fault.reason)))
        return pd.DataFrame(
            [by_unit[name] for name in names],
            index=pd.Index(names, name=bundle.manifest.unit),
            columns=[*columns, "images", "fault"],
        )
    return pd.DataFrame(
        [rows[place] for place in range(len(paths))],
        index=pd.Index([str(path) for path in paths], name="file"),
        columns=[*columns, "fault"],
    )
