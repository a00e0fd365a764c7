"""Rows and tables of results for Python, and what images may be given as."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from results.run.records import TrialRecord
from trainables.common.errors import ConfigError

if TYPE_CHECKING:  # pandas takes a second to import, and a result may only be looked at
    import pandas as pd

    from results.export.exported_model import Bundle

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

    Raises:
        ConfigError: If paths and arrays are mixed.
    """
    if isinstance(images, str | Path):
        return [Path(images)]
    if isinstance(images, np.ndarray) and images.dtype.kind != "U":
        return []
    are_paths = [isinstance(one, str | Path) for one in images]
    if any(are_paths) and not all(are_paths):
        raise ConfigError("images must be all arrays or all paths, found both")
    return [Path(one) for one in images] if any(are_paths) else []


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
) -> "pd.DataFrame":
    """Return a row for each file, in their order: probabilities, predicted class, or why it was not used.

    With the unit of each file it is a row for each unit that has files which can be used.
    """
    import pandas as pd

    from results.export.onnx_predictor import predict_files

    found = predict_files(bundle, paths, baselines=baselines, types=types, units=units)
    classes = bundle.manifest.classes
    # By place and not by name, since a file may be given twice, with another type or baseline.
    rows: dict[int, dict[str, Any]] = {fault.place: {"fault": fault.reason} for fault in found.faults}
    for one in found.predictions:
        rows[one.place] = dict(zip(classes, one.probabilities, strict=True))
        rows[one.place]["predicted_class"] = one.predicted_class
    if units:
        return pd.DataFrame(
            [rows[one.place] for one in found.predictions],
            index=pd.Index([one.file for one in found.predictions], name=bundle.manifest.unit),
            columns=[*classes, "predicted_class"],
        )
    return pd.DataFrame(
        [rows[place] for place in range(len(paths))],
        index=pd.Index([str(path) for path in paths], name="file"),
        columns=[*classes, "predicted_class", "fault"],
    )
