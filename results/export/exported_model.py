"""An exported model: the folder of a bundle, opened and checked, that predicts arrays of raw pixels."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from results.errors import ExportError
from results.export.companions import check_companions
from results.export.input_checks import as_numbers, check_given, check_sizes, check_units
from results.export.manifest import FORMAT, MANIFEST_FILE, MODEL_FILE, PREPARATION_CODE, UNITS_FILE, Manifest
from results.export.model_file import check_model
from results.scores.triage import OUTCOMES
from trainables.common.onnx_runtime import onnxruntime
from trainables.common.text import first_line
from trainables.data.mammogram.preparation import Preparation, PreparationError
from trainables.data.resizing import resize

_BATCH: Final = 8  # images in one run of the session, and
_BATCH_PIXELS: Final = 1 << 24  # their pixels, unless a single image has more: both bound its memory
_ROUNDING: Final = 1e-3  # by which probabilities of an image may miss a sum of 1


class Bundle:
    """An exported model that predicts.

    Args:
        manifest: Manifest of the bundle.
        session: Session of ONNX Runtime with the bundle's model.
        units_session: Session that combines the images of a unit; None for a model of single images.
    """

    def __init__(self, manifest: Manifest, session: Any, units_session: Any = None) -> None:
        self.manifest, self.session, self.units_session = manifest, session, units_session

    @property
    def preparation(self) -> Preparation | None:
        """Steps that make a whole mammogram ready for the model; None where files go in as they are.

        Raises:
            ExportError: If the steps are those of another version.
        """
        if self.manifest.preparation is None:
            return None
        try:
            return Preparation.from_dict(self.manifest.preparation)
        except (PreparationError, TypeError, ValueError) as error:
            raise ExportError(
                f"the preparation of this bundle cannot be done: {error}; predict with the version that "
                f"exported it, or make the images ready with the bundle's own {PREPARATION_CODE}"
            ) from error

    def predict(
        self,
        images: Sequence[NDArray[Any]],
        *,
        baselines: Sequence[NDArray[Any]] = (),
        types: Sequence[str] = (),
        units: Sequence[str] = (),
    ) -> NDArray[np.float32]:
        """Predict raw images, or the units that they make up; images may differ in size.

        Those of another size than the training images are resized as these were, where that is known. A model
        of mammograms that were made ready to one size takes arrays of that size alone: `predict_files` makes
        the films of files ready.

        Args:
            images: Images of shape (H, W) for a grey model or (H, W, 3) for a colour model, with values from
                0 to the model's `max_value`; whole numbers unless the model takes floats.
            baselines: Healthy baseline of each image, of its size, if the manifest takes `baseline`.
            types: `mass` or `calcification`, one for all or one each, if the manifest takes `finding_type`.
            units: Name of the breast, exam or patient of each image, if the manifest's `unit` is no image.

        Returns:
            Calibrated probabilities, shape (len(images), classes); of a model of units a row for each of
            them, in order of their first images, shape (units, classes).

        Raises:
            ExportError: If an image has another shape or range than the model takes, is no mammogram made
                ready, or baselines, types or units are missing, superfluous or too few or too many.
        """
        check_units(self.manifest, images=len(images), units=units)
        for kind, arrays in (("image", images), ("baseline", baselines)):
            for number, array in enumerate(arrays):
                self._check_made_ready(array, f"{kind} {number}")
        found = self.predict_images(images, baselines=baselines, types=types)
        return self.combine(found, units) if units else found

    def predict_images(
        self,
        images: Sequence[NDArray[Any]],
        *,
        baselines: Sequence[NDArray[Any]] = (),
        types: Sequence[str] = (),
    ) -> NDArray[Any]:
        """Predict each image by itself; those of one size run together. Arguments are those of `predict`.

        Returns:
            Probabilities, shape (len(images), classes); of a model of units what `combine` takes.

        Raises:
            ExportError: As `predict`.
        """
        return self.predict_with_novelty(images, baselines=baselines, types=types)[0]

    def predict_with_novelty(
        self,
        images: Sequence[NDArray[Any]],
        *,
        baselines: Sequence[NDArray[Any]] = (),
        types: Sequence[str] = (),
    ) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
        """Predict each image by itself, and tell how unlike the training images it is.

        Arguments are those of `predict`.

        Returns:
            What `predict_images` returns, and the conformal p-value of each image, shape (len(images),): the
            share of training images, of patients that were left out, that are as unlike the others as this
            one. None for a model without a novelty score, such as those of earlier versions.

        Raises:
            ExportError: As `predict`.
        """
        check_given(self.manifest, images=len(images), baselines=len(baselines), types=types)
        for kind, arrays in (("image", images), ("baseline", baselines)):
            for number, array in enumerate(arrays):
                self.check(array, f"{kind} {number}")
        images, baselines = self._resized(images), self._resized(baselines)
        check_sizes(images, baselines)
        told = as_numbers(types, len(images))
        predicted: list[NDArray[Any]] = [np.zeros(len(self.manifest.classes), np.float32)] * len(images)
        novelty = np.ones(len(images))
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for number, image in enumerate(images):
            by_shape.setdefault(image.shape, []).append(number)
        for shape, numbers in by_shape.items():
            step = max(1, min(_BATCH, _BATCH_PIXELS // (shape[0] * shape[1])))
            for start in range(0, len(numbers), step):
                chosen = numbers[start : start + step]
                feed = {self.manifest.input.name: self._stacked(images, chosen)}
                if baselines:
                    feed["baseline"] = self._stacked(baselines, chosen)
                if types:
                    feed["finding_type"] = told[chosen]
                rows, novelty[chosen] = self._run(feed, shape)
                for number, found in zip(chosen, rows, strict=True):
                    predicted[number] = found
        none = np.zeros((0, len(self.manifest.classes)), np.float32)
        return np.stack(predicted) if predicted else none, novelty if self.manifest.novelty else None

    def combine(self, predictions: NDArray[Any], units: Sequence[str]) -> NDArray[np.float32]:
        """Combine the predictions of images to those of their units.

        Args:
            predictions: Of `predict_images`, one a row.
            units: Name of the unit of each image.

        Returns:
            Calibrated probabilities, shape (units, classes), in order of their first images.

        Raises:
            ExportError: If the result holds no probabilities.
        """
        place = {name: number for number, name in enumerate(dict.fromkeys(units))}
        unit = np.array([place[name] for name in units], dtype=np.int64)
        found = self.units_session.run(None, {"predictions": predictions, "unit": unit})[0][: len(place)]
        self._check_probabilities(found, f"a {self.manifest.unit}")
        return np.asarray(found, dtype=np.float32)

    def decide(self, probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
        """Call a class for each row of (n, classes): by threshold for two classes, else the most probable."""
        threshold = self.manifest.threshold
        if threshold is None:
            return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)
        return (probabilities[:, 1] >= threshold).astype(np.int64)

    def triage(self, probabilities: NDArray[np.float32]) -> list[str]:
        """Sort each row of (n, classes) by the rule of two thresholds; empty texts without such a rule.

        Returns:
            `benign`, `do not know` or `recall` for each row.
        """
        rule = self.manifest.triage
        if rule is None:
            return [""] * len(probabilities)
        return [OUTCOMES[place] for place in rule.outcomes(probabilities[:, 1].astype(np.float64)).tolist()]

    def _run(
        self, feed: dict[str, NDArray[Any]], shape: tuple[int, ...]
    ) -> tuple[NDArray[Any], NDArray[Any] | float]:
        """Run the session and check that what comes out are probabilities; 1 for no novelty score."""
        size = f"{shape[1]}x{shape[0]} pixels"
        try:
            found, *further = (np.asarray(own) for own in self.session.run(None, feed))
        except Exception as error:  # ONNX Runtime has many error types and no common one
            reason = first_line(error)[:200]
            raise ExportError(f"the model cannot run on an image of {size}: {reason}") from error
        novelty = further[0] if further and self.manifest.novelty else 1.0
        if self.manifest.unit != "image":
            if not np.isfinite(found).all():
                raise ExportError(f"the model returned no numbers for an image of {size}")
            return found, novelty
        wanted = (len(feed[self.manifest.input.name]), len(self.manifest.classes))
        if found.shape != wanted:
            raise ExportError(f"the model must return {wanted} probabilities, but returned {found.shape}")
        self._check_probabilities(found, f"an image of {size}")
        return found.astype(np.float32), novelty

    def _check_probabilities(self, found: NDArray[Any], what: str) -> None:
        in_range = (found >= -_ROUNDING) & (found <= 1 + _ROUNDING)
        if not (in_range.all() and (np.abs(found.sum(axis=1) - 1) <= _ROUNDING).all()):
            raise ExportError(f"the model returned no probabilities for {what}")

    def _resized(self, images: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Images as the training images were resized; as they are where that is not known."""
        wanted = self.manifest.input
        if wanted.resized is None:
            return list(images)
        size = (wanted.trained_shape[0], wanted.trained_shape[1])
        return [resize(image.astype(wanted.dtype), size) for image in images]

    def _stacked(self, images: Sequence[NDArray[Any]], chosen: Sequence[int]) -> NDArray[Any]:
        return np.stack([images[number] for number in chosen]).astype(self.manifest.input.dtype)

    def _check_made_ready(self, image: NDArray[Any], name: str) -> None:
        """Refuse an array of another size than that to which the training images were made ready."""
        steps = self.preparation if isinstance(image, np.ndarray) else None  # `check` refuses the rest
        if steps is None or steps.size is None or image.shape[:2] == tuple(steps.size):
            return
        height, width = steps.size
        raise ExportError(
            f"{name} has shape {image.shape}, but the images of this model are mammograms made ready to "
            f"{height} rows and {width} columns, and a film that is merely resized is none: predict the file "
            f"itself, which is made ready then, or make the array ready with {PREPARATION_CODE} of the bundle"
        )

    def check(self, image: NDArray[Any], name: str) -> None:
        """Refuse an array that is no raw image of this model.

        Args:
            image: The array.
            name: Its name in the message.

        Raises:
            ExportError: If it has another shape or range, or fractions where the model takes whole numbers.
        """
        if not isinstance(image, np.ndarray):
            raise ExportError(
                f"{name} must be an array of raw pixels, found {type(image).__name__}; files are predicted "
                "by `orchestrate predict`, or in Python by `SearchResult.predict`"
            )
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
        if wanted.dtype == "int32" and image.dtype.kind == "f" and (image != np.rint(image)).any():
            cause = ": it was scaled to [0, 1], so give it as it is in the file" if high <= 1 else ""
            raise ExportError(
                f"{name} holds fractions, with values up to {high:g}; this model takes whole numbers from 0 "
                f"to {wanted.max_value:g}{cause}"
            )


def load_bundle(path: Path | str) -> Bundle:
    """Open a bundle and check that its model is the one that was exported.

    Args:
        path: Folder of the bundle.

    Raises:
        ExportError: If it is missing or not a bundle, made by a newer version, its model or another of its
            files was changed, or its manifest is not that of the model.
    """
    path = Path(path)
    if not path.is_dir():
        raise ExportError(f"no bundle at {path}; a bundle is the folder that `orchestrate export` writes")
    manifest = _manifest(path / MANIFEST_FILE)
    check_companions(path, manifest)
    model = path / MODEL_FILE
    if not model.is_file():
        raise ExportError(f"{path} is not a whole bundle: it holds no {MODEL_FILE}; export it again")
    session = _opened(model, manifest.sha256, manifest)
    check_model(session, manifest, model)
    _check_novelty(session, manifest, path)
    bundle = Bundle(manifest, session)
    _ = bundle.preparation  # steps that cannot be done are said before the first file is read
    if manifest.unit == "image":
        return bundle
    units = path / UNITS_FILE
    if manifest.units_sha256 is None or not units.is_file():
        raise ExportError(f"{path} is not a whole bundle: it holds no {UNITS_FILE}; export it again")
    return Bundle(manifest, session, _opened(units, manifest.units_sha256, manifest))


def _opened(model: Path, sha256: str, manifest: Manifest) -> Any:
    """A session with a file of the bundle, if it is the one that was exported."""
    with model.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        raise ExportError(
            f"{model} is not the file that was exported: its SHA-256 is {digest[:12]}..., the manifest says "
            f"{sha256[:12]}...; copy the bundle again, or export it again"
        )
    try:
        return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has many error types and no common one
        raise ExportError(
            f"ONNX Runtime {onnxruntime.__version__} cannot open {model}: {error}; it has opset "
            f"{manifest.onnx_opset} and was made with {manifest.versions.get('onnxruntime')}"
        ) from error


def _check_novelty(session: Any, manifest: Manifest, path: Path) -> None:
    outputs = [port.name for port in session.get_outputs()][1:2]
    if manifest.novelty is not None and outputs != [manifest.novelty.output]:
        raise ExportError(
            f"{path / MANIFEST_FILE} says that the model puts out {manifest.novelty.output}, but it does "
            "not; export the bundle again"
        )


def _manifest(path: Path) -> Manifest:
    if path.exists() and not path.is_file():  # a pipe would never be read to its end
        raise ExportError(f"{path} is not a file; export the bundle again")
    try:
        content = json.loads(path.read_bytes())
        version = content["format"]
    except FileNotFoundError as error:
        raise ExportError(f"{path.parent} is not a bundle: it holds no {path.name}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
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
        where = "".join(f"{part}: " for part in (".".join(map(str, first["loc"])),) if part)
        message = first["msg"].removeprefix("Value error, ")
        raise ExportError(
            f"{path} is not the manifest of a bundle: {where}{message}; export it again"
        ) from error
