"""Relevance maps of image files by a bundle: they need ONNX Runtime, neither the search nor torch."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.errors import ExportError
from results.export.exported_model import Bundle
from results.export.file_reading import read_with_place
from results.export.image_reading import ReadImage
from results.export.view_and_side import Stated, each_of
from results.relevance.explained_folder import check_folder, picture_names, write_explanations
from results.relevance.explaining import Predict, relevance_map, score_of
from results.relevance.explanation import (
    ExplainedImage,
    Explanation,
    Explanations,
    facts_of_file,
    facts_of_map,
    settings_of,
)
from results.relevance.method import RelevanceSettings
from results.relevance.methods import relevance_method_named
from results.relevance.methods.windows import with_window
from trainables.common.text import printable
from trainables.common.types import FloatArray


def explain_files(  # noqa: PLR0913 - what a file is read with, and how it is explained
    bundle: Bundle,
    paths: Sequence[Path],
    out: Path,
    *,
    method: str = "occlusion",
    settings: RelevanceSettings | None = None,
    baselines: Sequence[Path] = (),
    types: Sequence[str] = (),
    stated: Sequence[Stated] = (),
) -> Explanations:
    """Compute relevance maps of image files, and write them as pictures, arrays and JSON.

    An image of a model of breasts, exams or patients is explained as if its unit had no other image.

    Args:
        bundle: An opened bundle.
        paths: Image files, which are read as `predict_files` reads them.
        out: Folder to write.
        method: Name of a method that needs nothing but predictions.
        settings: Time of a map, fill and seed; None for the defaults.
        baselines: Healthy baseline of each image, if the model takes them.
        types: `mass` or `calcification`, one for all or one each, if the model takes the type.
        stated: View and side of mammograms, as `predict_files` takes them.

    Raises:
        UnknownNameError: If there is no such method.
        ExportError: If a file cannot be used, there is none, or a file of `out` would be lost.
        OSError: If the folder cannot be written.
    """
    chosen = relevance_method_named(method)
    settings = with_window(settings or RelevanceSettings(), bundle.manifest.input.trained_shape)
    if not paths:
        raise ExportError("there is nothing to explain: no file could be used")
    each = list(types) if len(types) == len(paths) else list(types) * len(paths)
    films = each_of(stated, len(paths))
    names, images = picture_names(paths), []
    check_folder(out, names, [*paths, *baselines])
    for place, (path, name) in enumerate(zip(paths, names, strict=True)):
        read = read_with_place(bundle, path, films[place])
        beside = [read_with_place(bundle, one, films[place]).pixels for one in baselines[place : place + 1]]
        predict = predictor_of(bundle, beside, each[place : place + 1])
        file = printable(str(path), keeps="")
        images.append(_explained(bundle, predict, read, chosen.name, settings, name=name, file=file))
    explanations = Explanations(
        model=bundle.manifest.name,
        trials=tuple(member.trial for member in bundle.manifest.members),
        method=chosen.name,
        about=chosen.about,
        source=chosen.source,
        settings=settings_of(settings),
        is_synthetic=bundle.manifest.is_synthetic,
        split=bundle.manifest.split,
        images=tuple(one.facts for one in images),
    )
    write_explanations(out, explanations, images, max_value=bundle.manifest.input.max_value)
    return explanations


def predictor_of(
    bundle: Bundle, baselines: Sequence[NDArray[Any]] = (), types: Sequence[str] = ()
) -> Predict:
    """Return a bundle as a function of changed versions of one image.

    Args:
        bundle: An opened bundle.
        baselines: Healthy baseline of the image, if the model takes one.
        types: Type of its finding, if the model takes it.
    """

    def predict(images: NDArray[Any]) -> FloatArray:
        # Image by image, since the windows of a film are no whole mammograms.
        found = bundle.predict_images(
            list(images), baselines=list(baselines) * len(images), types=list(types)
        )
        if bundle.manifest.unit == "image":
            return found
        return bundle.combine(found, [str(number) for number in range(len(images))])

    return predict


def _explained(
    bundle: Bundle,
    predict: Predict,
    read: ReadImage,
    method: str,
    settings: RelevanceSettings,
    *,
    name: str,
    file: str,
) -> ExplainedImage:
    probabilities = np.asarray(predict(read.pixels[None]))[0]
    label = 1 if len(probabilities) == 2 else int(probabilities.argmax())
    began = time.perf_counter()
    found = relevance_map(method, score_of(predict, label), read.pixels, settings)
    facts = Explanation(
        name=name,
        file=file,
        explained_class=bundle.manifest.classes[label],
        probability=float(probabilities[label]),
        evaluations=found.evaluations,
        marks=found.marks,
        seconds=round(time.perf_counter() - began, 3),
        **facts_of_map(found.values),
        **facts_of_file(found, read.place),
    )
    return ExplainedImage(facts, read.pixels, found.values)
