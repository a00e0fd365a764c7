"""Predictions as they are handed on: as JSON, as CSV, and as a table for the terminal."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from results.export.exported_model import Bundle
from results.export.onnx_predictor import Prediction, is_unlike
from results.tables import csv_text, result_table
from trainables.common.text import printable


def predictions_as_json(bundle: Bundle, predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Return one plain dictionary for each file or unit, with the probability of every class.

    That of a unit names in `left_out` its files that could not be used.
    """
    classes = bundle.manifest.classes
    return [
        {
            **_named(bundle, one),
            "predicted_class": one.predicted_class,
            "probability": one.probability,
            "threshold": one.threshold,
            "probabilities": dict(zip(classes, one.probabilities, strict=True)),
            **({"triage": one.triage} if bundle.manifest.triage else {}),
            **({} if bundle.manifest.unit == "image" else {"left_out": list(one.left_out)}),
            **_novelty_of(bundle, one),
        }
        for one in predictions
    ]


def _novelty_of(bundle: Bundle, one: Prediction) -> dict[str, Any]:
    """Columns of a model with a novelty score; none for another."""
    if bundle.manifest.novelty is None:
        return {}
    return {"novelty_p": one.novelty_p, "is_unlike_training": is_unlike(bundle, one)}


def predictions_as_csv(bundle: Bundle, predictions: Sequence[Prediction]) -> str:
    """Return one row for each file or unit, as CSV with a header; a missing threshold is empty.

    `left_out` is the number of images of a unit that could not be used.
    The path of a file whose name looks like a formula begins with `./`, so that it still names the file.
    """
    by_class = [f"probability_{name}" for name in bundle.manifest.classes]
    columns = ["predicted_class", "probability", "threshold", *(["triage"] if bundle.manifest.triage else [])]
    first = ["file"] if bundle.manifest.unit == "image" else [bundle.manifest.unit, "images", "left_out"]
    return csv_text(
        (
            _named(bundle, one, as_path=True)
            | ({} if bundle.manifest.unit == "image" else {"left_out": len(one.left_out)})
            | {name: getattr(one, name) for name in columns}
            | dict(zip(by_class, one.probabilities, strict=True))
            | _novelty_of(bundle, one)
            for one in predictions
        ),
        [*first, *columns, *by_class, *_novelty_columns(bundle)],
    )


def _novelty_columns(bundle: Bundle) -> list[str]:
    return [] if bundle.manifest.novelty is None else ["novelty_p", "is_unlike_training"]


def _named(bundle: Bundle, one: Prediction, *, as_path: bool = False) -> dict[str, Any]:
    """The file of a prediction, or its unit with the number of images."""
    name = _as_path(one.file) if as_path else one.file
    unit = bundle.manifest.unit
    return {"file": name} if unit == "image" else {unit: name, "images": one.images}


def predictions_table(bundle: Bundle, predictions: Sequence[Prediction]) -> Table:
    """Return a table that fits 80 columns; long file names are folded."""
    manifest = bundle.manifest
    is_binary = manifest.threshold is not None
    table = result_table(padding=(0, 1))
    table.add_column("file" if manifest.unit == "image" else manifest.unit, overflow="fold")
    if manifest.unit != "image":
        table.add_column("images", justify="right", no_wrap=True)
    table.add_column("called", no_wrap=True)
    table.add_column(f"P({manifest.positive})" if is_binary else "P(called)", justify="right", no_wrap=True)
    if manifest.triage is not None:
        table.add_column("triage", no_wrap=True)
    if manifest.novelty is not None:
        table.add_column("novelty p", justify="right", no_wrap=True)
    for one in predictions:
        is_positive = one.predicted_class == manifest.positive
        style = "bold" if is_positive and is_binary else None
        images = [] if manifest.unit == "image" else [_images_of(one)]
        table.add_row(
            Text(printable(one.file, keeps="")),
            *images,
            one.predicted_class,
            f"{one.probability:.3f}",
            *([one.triage] if manifest.triage else []),
            *_novelty_cells(bundle, one),
            style=style,
        )
    rule = f"{manifest.positive} from {manifest.threshold:.3f} on. " if is_binary else ""
    if any(is_unlike(bundle, one) for one in predictions):
        rule += "! unlike the training images. "
    table.caption = f"{rule}Research use only; not a medical device."
    return table


def _images_of(one: Prediction) -> str:
    """Number of images of a unit, of all where some could not be used."""
    return f"{one.images} of {one.images + len(one.left_out)}" if one.left_out else str(one.images)


def _novelty_cells(bundle: Bundle, one: Prediction) -> list[str]:
    if bundle.manifest.novelty is None:
        return []
    p = "-" if one.novelty_p is None else f"{one.novelty_p:.3f}"
    return [f"! {p}" if is_unlike(bundle, one) else p]


def _as_path(file: str) -> str:
    return f"./{file}" if file.startswith(("=", "+", "-", "@")) else file
