"""Relevance maps of a run's model: of its worst mistakes, of rows of its data, or of image files."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.postprocessing.relevance_methods import AnyMethod, any_method
from results.ensembles.ensemble import BEST
from results.errors import ExportError, RunError
from results.export.view_and_side import Stated, check_stated, each_of
from results.relevance.explained_folder import check_folder, picture_names, write_explanations
from results.relevance.explaining import score_of
from results.relevance.explanation import (
    ExplainedImage,
    Explanation,
    Explanations,
    facts_of_file,
    facts_of_map,
    sensitivities,
    settings_of,
)
from results.relevance.faithfulness import faithfulness, rank_correlation
from results.relevance.known_boxes import known_boxes
from results.relevance.method import RelevanceSettings
from results.relevance.methods.windows import with_window
from results.relevance.place_in_file import PlaceInFile
from results.relevance.pointing import Pointing, point
from results.relevance.slides import coordinates_of, put_together
from results.relevance.worst import worst_places
from results.run.run_folder import RunFolder
from trainables.common.errors import ConfigError
from trainables.common.text import printable
from trainables.common.types import IntArray
from trainables.data.patches import TaskRows, select_rows
from trainables.data.split_record import TEST, read_split

if TYPE_CHECKING:  # torch takes seconds to import, and a mistake in the request is said before
    from results.predictors.explained_model import ExplainedModel
    from results.predictors.loading import OpenedModel


_ABOUT_SLIDES: Final = "the probability of each patch, put together to the slide"


@dataclass(frozen=True, slots=True)
class ExplanationRequest:
    """What is to be explained, and how.

    Attributes:
        method: Name of a relevance method.
        rows: Rows of the run's data; None takes the worst mistakes, unless `files` are given.
        files: Image files.
        worst: Number of mistakes, at least 1; misses and false alarms take turns.
        settings: Settings of methods that need nothing but predictions.
        is_slide: The files are patches of one slide, which is put together by the coordinates in their names
            and coloured by their probabilities; there is no method then.
        has_checks: Measure insertion and deletion of each map, and its likeness to that of shuffled weights.
        stated: View and side of the mammograms of files, one for all or one each, as `predict_files` takes
            them; they go before those of the files.

    Raises:
        ConfigError: If rows and files are given, or no row among `rows`, or views or sides without files, or
            the number of mistakes is below 1.
    """

    method: str = "occlusion"
    rows: tuple[int, ...] | None = None
    files: tuple[Path, ...] = ()
    worst: int = 6
    settings: RelevanceSettings = field(default_factory=RelevanceSettings)
    has_checks: bool = False
    is_slide: bool = False
    stated: tuple[Stated, ...] = ()

    def __post_init__(self) -> None:
        if self.files and self.rows is not None:
            raise ConfigError("either files or rows of the run's data are explained, found both")
        if self.rows is not None and not self.rows:
            raise ConfigError(
                "no image is named to explain; name some, or none at all for the worst mistakes out of fold"
            )
        if self.is_slide and not self.files:
            raise ConfigError("a slide is put together of files of patches; name them with --images")
        if self.stated and not self.files:
            raise ConfigError(
                "a view or side is stated of image files, and images of the run's data are explained as they "
                "are stored; leave --view and --laterality out, or name files with --images"
            )
        if self.worst < 1:
            raise ConfigError(f"the number of mistakes to explain must be at least 1, found {self.worst}")


def explain_run(
    run: RunFolder,
    request: ExplanationRequest,
    *,
    ensemble: str = BEST,
    trial: int | None = None,
    refit: bool = False,
    out: Path | None = None,
) -> tuple[Explanations, Path]:
    """Compute relevance maps of a model of a run, and write them as pictures, arrays and JSON.

    An image of the training part is explained by the fold models that held it out, since what a model does on
    images that it learned from says little about others. The sealed test part is not read.

    Args:
        run: Folder of the search; its data must still be in the store.
        request: What is to be explained, and how.
        ensemble: Name of a method, `best_single` or `best`; not used if a trial is given.
        trial: Number of a single trial, or None.
        refit: Explain the models that were trained on the whole training part.
        out: Folder to write; None takes `explanations/MODEL-METHOD` in the run folder, where pictures of an
            earlier explanation are removed.

    Returns:
        Facts, and the folder that was written.

    Raises:
        UnknownNameError: If there is no such method.
        RunError: If a row is sealed, takes no part in the task, or is out of range.
        ConfigError: If the method cannot explain the model.
        ExportError: If a file cannot be used, the model takes more than an image or no view or side, or a
            file of the folder would be lost.
    """
    method = any_method(request.method)
    from results.predictors.loading import open_model

    opened = open_model(run, ensemble=ensemble, trial=trial, refit=refit)
    trained = opened.patch_set.images.shape[1:]
    request = replace(request, settings=with_window(request.settings, trained))
    asked = (
        list(_files(run, opened, request, ensemble, trial, refit=refit))
        if request.files
        else _rows(run, opened, request, ensemble, trial)
    )
    method_name = "slide" if request.is_slide else method.name
    name = f"{opened.chosen.name}-{method_name}".replace(", ", "-").replace(" ", "-")
    folder = out or run.explanations / name
    check_folder(
        folder, ["slide"] if request.is_slide else [one.facts["name"] for one in asked], request.files
    )
    images = (
        [_slide(opened, asked)]
        if request.is_slide
        else [_explained(opened, one, method, request) for one in asked]
    )
    healthy = opened.search.task_definition.lesion_free
    found_at, left_out = sensitivities([one.facts for one in images], healthy=healthy)
    explanations = Explanations(
        model=opened.chosen.name,
        trials=opened.chosen.trials,
        method=method_name,
        about=_ABOUT_SLIDES if request.is_slide else method.about,
        source="" if request.is_slide else method.source,
        settings=settings_of(request.settings) if method.settings and not request.is_slide else {},
        is_synthetic=opened.search.is_synthetic,
        split=opened.chosen.split,
        images=tuple(one.facts for one in images),
        pointing=_pointing(opened, images),
        found_at=found_at,
        left_out=left_out,
        notes=tuple(dict.fromkeys(note for one in asked for note in one.notes)),
        model_digest=opened.chosen.whole_digest,
    )
    max_value = opened.patch_set.max_value
    write_explanations(folder, explanations, images, max_value=max_value, removes_earlier=out is None)
    return explanations, folder


@dataclass(frozen=True, slots=True)
class _Asked:
    """One image that is to be explained: its model, its pixels, and what is known about it."""

    model: "ExplainedModel"
    image: NDArray[Any]
    facts: dict[str, Any]
    place: PlaceInFile | None = None  # of a prepared film in its file
    notes: tuple[str, ...] = ()


def _explained(
    opened: "OpenedModel", asked: _Asked, method: AnyMethod, request: ExplanationRequest
) -> ExplainedImage:
    probabilities = asked.model.predict(asked.image[None])[0]
    label = 1 if len(probabilities) == 2 else int(probabilities.argmax())
    began = time.perf_counter()
    found = method.compute(asked.model, asked.image, label, request.settings)
    seconds = time.perf_counter() - began
    known = asked.facts.pop("known", ())
    facts = Explanation(
        **asked.facts,
        explained_class=opened.chosen.classes[label],
        probability=float(probabilities[label]),
        evaluations=found.evaluations,
        marks=found.marks,
        seconds=round(seconds, 3),
        **facts_of_map(found.values, known),
        **(facts_of_file(found, asked.place) if "file" in asked.facts else {"pixels_of": "stored image"}),
    )
    if request.has_checks:
        facts = facts.model_copy(update=_checks(asked, method, label, found.values, request))
    return ExplainedImage(facts, asked.image, found.values)


def _slide(opened: "OpenedModel", asked: list[_Asked]) -> ExplainedImage:
    """The slide that patches were cut from, with the probability of the last class at each."""
    files = [Path(one.facts["file"]) for one in asked]
    corners, label = coordinates_of(files), len(opened.chosen.classes) - 1
    began = time.perf_counter()
    found = np.array([float(one.model.predict(one.image[None])[0, label]) for one in asked])
    slide, values = put_together([one.image for one in asked], corners, found)
    values = np.nan_to_num(values, nan=0.0)
    facts = Explanation(
        name="slide",
        file=str(files[0].parent),
        explained_class=opened.chosen.classes[label],
        probability=float(found.mean()),
        evaluations=len(asked),
        seconds=round(time.perf_counter() - began, 3),
        pixels_of="slide",
        **facts_of_map(values),
    )
    return ExplainedImage(facts, slide, values)


def _checks(
    asked: _Asked, method: AnyMethod, label: int, values: NDArray[np.float64], request: ExplanationRequest
) -> dict[str, Any]:
    from trainables.relevance.shuffled_weights import shuffled_copy

    settings = request.settings
    score = score_of(asked.model.predict, label)
    shuffled = replace(asked.model, module=shuffled_copy(asked.model.module, seed=settings.seed))
    try:
        likeness = rank_correlation(values, method.compute(shuffled, asked.image, label, settings).values)
    except ConfigError:  # shuffled weights may kill every unit, and then there is no map to compare with
        likeness = None
    return {
        "faithfulness": faithfulness(score, asked.image, values, fill=settings.fill, seed=settings.seed),
        "randomised": likeness,
    }


def _rows(
    run: RunFolder, opened: "OpenedModel", request: ExplanationRequest, ensemble: str, trial: int | None
) -> list[_Asked]:
    """Rows of the run's data: those that are asked for, or the worst mistakes."""
    from results.predictors.explained_model import explained_row, raw_image

    task, patch_set = opened.search.task_definition, opened.patch_set
    selected = select_rows(patch_set, task)
    folds = read_split(run.split_file).folds_of(selected)
    rows, out_of_fold = (
        (request.rows, dict[int, float]())
        if request.rows is not None
        else _worst(run, opened, request.worst, ensemble, trial)
    )
    places = [_place(run, selected, folds, row) for row in rows]
    asked = []
    for row, place in zip(rows, places, strict=True):
        held_out = None if opened.chosen.is_refitted or folds[place] < 0 else int(folds[place])
        facts = {
            "name": f"row-{row:06d}",
            "row": row,
            "label": task.classes[selected.labels[place]],
            "fold": held_out,
            "out_of_fold": out_of_fold.get(row),
            "known": known_boxes(patch_set, row),
        }
        asked.append(_Asked(explained_row(opened, row, held_out), raw_image(opened, row), facts))
    return asked


def _worst(
    run: RunFolder, opened: "OpenedModel", number: int, ensemble: str, trial: int | None
) -> tuple[tuple[int, ...], dict[int, float]]:
    """Rows of the worst mistakes, all images of a unit, and the probability of the explained class.

    Probabilities are those at the prevalence that the model was built for, as the model's own are.
    """
    from results.ensembles.out_of_fold import out_of_fold_of
    from results.scores.calibration import Platt
    from results.scores.decision_rule import cross_fit

    predictions, _ = out_of_fold_of(run, ensemble=ensemble, trial=trial, is_of_choice=False)
    probabilities = cross_fit(predictions, metrics=()).probabilities
    if opened.chosen.shift:
        probabilities = Platt().moved(opened.chosen.shift).apply(probabilities)
    places = worst_places(predictions.labels, probabilities, number)
    explained = np.ones(len(places), int) if probabilities.shape[1] == 2 else probabilities[places].argmax(1)
    images, unit = opened.images_of(predictions.rows[places])
    of = np.arange(len(images)) if unit is None else unit
    found = {
        int(row): float(probabilities[places[own], explained[own]])
        for row, own in zip(images, of, strict=True)
    }
    return tuple(found), found


def _place(run: RunFolder, selected: TaskRows, folds: IntArray, row: int) -> int:
    place = int(np.searchsorted(selected.rows, row))
    if place == len(selected.rows) or selected.rows[place] != row:
        raise RunError(
            f"row {row} has no part in the task of {run.path}; rows go from {selected.rows[0]} to "
            f"{selected.rows[-1]}, and those of other findings are left out"
        )
    if folds[place] == TEST:
        raise RunError(
            f"row {row} lies in the sealed test part of {run.path}, and looking at it would open that part; "
            "explain another row"
        )
    return place


def _files(
    run: RunFolder,
    opened: "OpenedModel",
    request: ExplanationRequest,
    ensemble: str,
    trial: int | None,
    *,
    refit: bool,
) -> Iterator[_Asked]:
    from results.export.file_reading import read_with_place, sentence_of
    from results.export.in_memory import model_in_memory
    from results.predictors.explained_model import ExplainedModel

    needs = opened.module.members.needs
    if needs.baseline or needs.finding_type:
        raise ExportError(
            "this model takes more than an image; explain images of its run instead, with --worst or --rows"
        )
    bundle = model_in_memory(run, ensemble=ensemble, trial=trial, refit=refit)
    files, stated = request.files, request.stated
    check_stated(bundle.preparation, images=len(files), stated=stated)
    for path, name, film in zip(files, picture_names(files), each_of(stated, len(files)), strict=True):
        read = read_with_place(bundle, path, film)
        shown = printable(path.name, keeps="")
        notes = tuple(f"{shown}: {sentence_of(change)}" for change in read.changes)
        facts = {"name": name, "file": printable(str(path), keeps="")}
        yield _Asked(ExplainedModel(opened.module, {}), read.pixels, facts, read.place, notes)


def _pointing(opened: "OpenedModel", images: list[ExplainedImage]) -> Pointing | None:
    groups = dict(zip(*_groups_by_row(opened), strict=True))
    shown, owners, masks = [], [], []
    for one in images:
        if not one.facts.known or one.facts.row is None:
            continue
        shown.append(one.values)
        owners.append(groups[one.facts.row])
        mask = np.zeros(one.values.shape, dtype=bool)
        for box in one.facts.known:
            mask[box.top : box.top + box.height, box.left : box.left + box.width] = True
        masks.append(mask)
    return point(shown, masks, owners) if shown else None


def _groups_by_row(opened: "OpenedModel") -> tuple[list[int], list[str]]:
    selected = select_rows(opened.patch_set, opened.search.task_definition)
    return selected.rows.tolist(), selected.groups.tolist()
