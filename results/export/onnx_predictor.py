"""Prediction from a bundle: it needs the folder and ONNX Runtime, but neither the search nor torch."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from results.errors import ExportError
from results.export.image_reading import NOTES, read_image
from results.export.input_checks import as_numbers, check_given, check_sizes
from results.export.manifest import FORMAT, MANIFEST_FILE, MODEL_FILE, Manifest
from results.tables import csv_text, result_table
from trainables.common.text import printable

_BATCH: Final = 8  # images in one run of the session; bounds memory
_NAMED: Final = 3  # files that a note lists by name


@dataclass(frozen=True, slots=True)
class Prediction:
    """Prediction of a model for one file.

    Attributes:
        file: Path of the file as given.
        probabilities: Probability of each class, in the bundle's order; they sum to 1.
        probability: Probability of the positive class; beyond two classes, of the predicted one.
        predicted_class: Name of the class that is called.
        threshold: Smallest probability that is called positive; None beyond two classes.
    """

    file: str
    probabilities: tuple[float, ...]
    probability: float
    predicted_class: str
    threshold: float | None


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions in the order of the files, and sentences on changes that made files fit."""

    predictions: tuple[Prediction, ...]
    notes: tuple[str, ...]


class Bundle:
    """An exported model that predicts.

    Args:
        manifest: Manifest of the bundle.
        session: Session of ONNX Runtime with the bundle's model.
    """

    def __init__(self, manifest: Manifest, session: onnxruntime.InferenceSession) -> None:
        self.manifest, self.session = manifest, session

    def predict(
        self,
        images: Sequence[NDArray[Any]],
        *,
        baselines: Sequence[NDArray[Any]] = (),
        types: Sequence[str] = (),
    ) -> NDArray[np.float32]:
        """Predict raw images, which may differ in size; those of one size run together.

        Args:
            images: Images of shape (H, W) for a grey model or (H, W, 3) for a colour model, with values from
                0 to the model's `max_value`.
            baselines: Healthy baseline of each image, of its size, if the manifest takes `baseline`.
            types: `mass` or `calcification`, one for all or one each, if the manifest takes `finding_type`.

        Returns:
            Calibrated probabilities, shape (len(images), classes).

        Raises:
            ExportError: If an image has another shape or range than the model takes, or baselines or types
                are missing, superfluous or too few or too many.
        """
        check_given(self.manifest, images=len(images), baselines=len(baselines), types=types)
        for kind, arrays in (("image", images), ("baseline", baselines)):
            for number, array in enumerate(arrays):
                self._check(array, f"{kind} {number}")
        check_sizes(images, baselines)
        told = as_numbers(types, len(images))
        predicted = np.zeros((len(images), len(self.manifest.classes)), dtype=np.float32)
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for number, image in enumerate(images):
            by_shape.setdefault(image.shape, []).append(number)
        for numbers in by_shape.values():
            for start in range(0, len(numbers), _BATCH):
                chosen = numbers[start : start + _BATCH]
                feed = {self.manifest.input.name: self._stacked(images, chosen)}
                if baselines:
                    feed["baseline"] = self._stacked(baselines, chosen)
                if types:
                    feed["finding_type"] = told[chosen]
                predicted[chosen] = self.session.run(None, feed)[0]
        return predicted

    def decide(self, probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
        """Call a class for each row of (n, classes): by threshold for two classes, else the most probable."""
        threshold = self.manifest.threshold
        if threshold is None:
            return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)
        return (probabilities[:, 1] >= threshold).astype(np.int64)

    def _stacked(self, images: Sequence[NDArray[Any]], chosen: Sequence[int]) -> NDArray[Any]:
        return np.stack([images[number] for number in chosen]).astype(self.manifest.input.dtype)

    def _check(self, image: NDArray[Any], name: str) -> None:
        wanted = self.manifest.input
        fits = image.ndim == 2 if wanted.channels == 1 else image.ndim == 3 and image.shape[2] == 3
        if not fits or 0 in image.shape:
            shape = "(H, W)" if wanted.channels == 1 else "(H, W, 3)"
            raise ExportError(f"{name} must have shape {shape}, but has {image.shape}")
        low, high = image.min(), image.max()
        if not (low >= 0 and high <= wanted.max_value):
            raise ExportError(
                f"{name} holds values from {low} to {high}; this model takes raw pixels from 0 to "
                f"{wanted.max_value:g}"
            )


def load_bundle(path: Path) -> Bundle:
    """Open a bundle and check that its model is the one that was exported.

    Args:
        path: Folder of the bundle.

    Raises:
        ExportError: If it is missing or not a bundle, made by a newer version, or its model was changed.
    """
    if not path.is_dir():
        raise ExportError(f"no bundle at {path}; a bundle is the folder that `orchestrate export` writes")
    manifest = _manifest(path / MANIFEST_FILE)
    model = path / MODEL_FILE
    if not model.is_file():
        raise ExportError(f"{path} is not a whole bundle: it holds no {MODEL_FILE}; export it again")
    with model.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != manifest.sha256:
        raise ExportError(
            f"{model} is not the file that was exported: its SHA-256 is {digest[:12]}..., the manifest says "
            f"{manifest.sha256[:12]}...; copy the bundle again, or export it again"
        )
    try:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has many error types and no common one
        raise ExportError(
            f"ONNX Runtime {onnxruntime.__version__} cannot open {model}: {error}; it has opset "
            f"{manifest.onnx_opset} and was made with {manifest.versions.get('onnxruntime')}"
        ) from error
    return Bundle(manifest, session)


def predict_files(
    bundle: Bundle, paths: Sequence[Path], *, baselines: Sequence[Path] = (), types: Sequence[str] = ()
) -> Predictions:
    """Predict image files.

    Args:
        bundle: Bundle from `load_bundle`.
        paths: PNG, JPEG, TIFF, PGM or BMP files, 8 or 16 bit, grey or colour, of any size.
        baselines: Files of the healthy baselines, in the same order, if the model takes them.
        types: `mass` or `calcification`, one for all or one each, if the model takes the type.

    Returns:
        One prediction for each file, in order, and notes on changes that made files fit.

    Raises:
        ExportError: If a file cannot be read, or the model takes other baselines or types; nothing is
            predicted then.
    """
    check_given(bundle.manifest, images=len(paths), baselines=len(baselines), types=types)
    read = [read_image(path, bundle.manifest.input) for path in (*paths, *baselines)]
    pixels = [image.pixels for image in read]
    probabilities = bundle.predict(pixels[: len(paths)], baselines=pixels[len(paths) :], types=types)
    called = bundle.decide(probabilities)
    is_binary = bundle.manifest.threshold is not None
    predictions = tuple(
        Prediction(
            file=str(path),
            probabilities=tuple(row.tolist()),
            probability=float(row[1] if is_binary else row[index]),
            predicted_class=bundle.manifest.classes[index],
            threshold=bundle.manifest.threshold,
        )
        for path, row, index in zip(paths, probabilities, called.tolist(), strict=True)
    )
    return Predictions(predictions, _notes((*paths, *baselines), [image.changes for image in read]))


def predictions_as_json(bundle: Bundle, predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Return one plain dictionary for each file, with the probability of every class."""
    classes = bundle.manifest.classes
    return [
        {
            "file": one.file,
            "predicted_class": one.predicted_class,
            "probability": one.probability,
            "threshold": one.threshold,
            "probabilities": dict(zip(classes, one.probabilities, strict=True)),
        }
        for one in predictions
    ]


def predictions_as_csv(bundle: Bundle, predictions: Sequence[Prediction]) -> str:
    """Return one row for each file, as CSV with a header; a missing threshold is empty.

    The path of a file whose name looks like a formula begins with `./`, so that it still names the file.
    """
    by_class = [f"probability_{name}" for name in bundle.manifest.classes]
    columns = ["file", "predicted_class", "probability", "threshold"]
    return csv_text(
        (
            {name: getattr(one, name) for name in columns}
            | {"file": _as_path(one.file)}
            | dict(zip(by_class, one.probabilities, strict=True))
            for one in predictions
        ),
        [*columns, *by_class],
    )


def predictions_table(bundle: Bundle, predictions: Sequence[Prediction]) -> Table:
    """Return a table that fits 80 columns; long file names are folded."""
    manifest = bundle.manifest
    is_binary = manifest.threshold is not None
    table = result_table(padding=(0, 1))
    table.add_column("file", overflow="fold")
    table.add_column("called", no_wrap=True)
    table.add_column(f"P({manifest.positive})" if is_binary else "P(called)", justify="right", no_wrap=True)
    for one in predictions:
        is_positive = one.predicted_class == manifest.positive
        style = "bold" if is_positive and is_binary else None
        table.add_row(
            Text(printable(one.file, keeps="")), one.predicted_class, f"{one.probability:.3f}", style=style
        )
    rule = f"{manifest.positive} from {manifest.threshold:.3f} on. " if is_binary else ""
    table.caption = f"{rule}Research use only; not a medical device."
    return table


def _as_path(file: str) -> str:
    return f"./{file}" if file.startswith(("=", "+", "-", "@")) else file


def _manifest(path: Path) -> Manifest:
    try:
        content = json.loads(path.read_bytes())
        version = content["format"]
    except FileNotFoundError as error:
        raise ExportError(f"{path.parent} is not a bundle: it holds no {path.name}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ExportError(f"{path} is not the manifest of a bundle; export it again") from error
    if version != FORMAT:
        raise ExportError(
            f"{path} has format {version}, this version reads format {FORMAT}; predict with the version that "
            "exported it"
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ExportError(
            f"{path} is not the manifest of a bundle: {where}: {first['msg']}; export it again"
        ) from error


def _notes(paths: Sequence[Path], changes: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    notes = []
    for kind, sentence in NOTES.items():
        changed = [path.name for path, done in zip(paths, changes, strict=True) if kind in done]
        if changed:
            named = ", ".join(changed[:_NAMED]) + (", ..." if len(changed) > _NAMED else "")
            notes.append(f"{len(changed)} of {len(paths)} images {sentence}: {named}")
    return tuple(notes)
