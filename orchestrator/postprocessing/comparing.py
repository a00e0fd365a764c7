"""Comparison of models of one run or several, named as the user types them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from results.ensembles.ensemble import BEST, read_ensemble
from results.ensembles.later_trials import said_of_later_trials
from results.ensembles.out_of_fold import out_of_fold_of
from results.errors import RunError
from results.run.finding import find_run
from results.run.records import OutOfFold
from results.run.run_folder import RunFolder
from results.run.split_labels import GROUPED, NAIVE, NAIVE_WARNING
from results.scores.metrics import metric_named
from results.scores.model_comparison import Comparisons, NamedPredictions, compare_models
from results.scores.operating_point import NOTHING_ASKED
from results.scores.repeats import repeated_predictions
from trainables.common.errors import ConfigError, DataError
from trainables.common.types import IntArray
from trainables.data.patches import select_rows
from trainables.data.shared_images import rows_elsewhere

_TRIAL: Final = "trial"


def parse_model(text: str, runs: Path) -> tuple[RunFolder, str, int | None]:
    """Read a model such as `latest`, `first:7` or `first:average`.

    Args:
        text: A run as any verb takes it, and behind a colon the number of a trial or the name of an ensemble;
            without a colon the run's best ensemble.
        runs: Folder of all runs.

    Returns:
        The run folder, the name of the ensemble, and the number of the trial, or None.

    Raises:
        RunError: If there is no such run.
    """
    name, sign, model = text.rpartition(":")
    if not sign:
        return find_run(text, runs), BEST, None
    run = find_run(name, runs)
    number = model.removeprefix(_TRIAL).strip()
    if number.isdecimal():
        return run, BEST, int(number)
    return run, model or BEST, None


def compare(
    models: Sequence[tuple[RunFolder, str, int | None]],
    *,
    metric: str | None = None,
    has_all_pairs: bool = False,
) -> Comparisons:
    """Compare models of runs by their out-of-fold predictions, on the images that all of them predicted.

    Runs on other data than the first are compared on the images that both hold, found by their pixels: after
    a search on data that have grown, those of the patients that both searches knew.

    Args:
        models: Run folder, name of the ensemble, and number of a trial or None, of each model.
        metric: Name of the metric; None takes the one that the first search optimised.
        has_all_pairs: Compare all pairs; False compares the first with each of the others.

    Raises:
        RunError: If two runs are of another task, or on other data without an image in common.
        ConfigError: If the metric is one of cost.
        OrchestrateError: If a model is missing, or the models share no images.
    """
    searches = [run.search() for run, _, _ in models]
    first = searches[0]
    for (run, _, _), search in zip(models, searches, strict=True):
        for what, own, other in (
            ("task", search.task, first.task),
            ("unit", search.request.unit, first.request.unit),
        ):
            if own != other:
                raise RunError(
                    f"models can be compared on the same data alone; {run.path} has {what} {own}, "
                    f"{models[0][0].path} has {other}"
                )
    wanted = metric or first.metric
    if metric_named(wanted).is_cost:
        raise ConfigError(f"{wanted} is measured, and not scored on images; name a metric of scores")
    has_several = len({run.path.resolve() for run, _, _ in models}) > 1
    named, places = [], _places(models)
    notes = [f"{run.name} holds other data: only images that both runs know are compared" for run in places]
    for (run, ensemble, trial), search in zip(models, searches, strict=True):
        predictions, name = out_of_fold_of(run, ensemble=ensemble, trial=trial)
        shown = f"{run.path.name} {name}" if has_several else name
        repeats = () if trial is None else repeated_predictions(run, trial)
        operation = read_ensemble(run, ensemble).operation if trial is None else NOTHING_ASKED
        if (elsewhere := places.get(run.path)) is not None:
            predictions = _in_rows_of(models[0][0], elsewhere, predictions)
            repeats = tuple(_in_rows_of(models[0][0], elsewhere, one) for one in repeats)
        named.append(NamedPredictions(shown, predictions, repeats, search.metrics, operation, search.holdout))
        if trial is None and (said := said_of_later_trials(run, ensemble)):
            notes.append(said)
    found = compare_models(
        named,
        metric=wanted,
        has_all_pairs=has_all_pairs,
        registered=_registered(models, named),
        seed=first.request.seed,
        unit=first.request.unit,
    )
    split = NAIVE if any(search.split_name == NAIVE for search in searches) else GROUPED
    if split == NAIVE:
        notes.append(NAIVE_WARNING.rstrip("."))
    return found.model_copy(update={"notes": (*found.notes, *notes), "split": split})


def _places(models: Sequence[tuple[RunFolder, str, int | None]]) -> dict[Path, IntArray]:
    """Run folder of other data than the first run's -> row of each of its images in these, or `NOT_SHARED`.

    Raises:
        RunError: If a run's units are more than single images, which may have grown, or its images are gone.
    """
    first, found = models[0][0], dict[Path, IntArray]()
    search = first.search()
    for run, _, _ in models:
        own = run.search()
        if own.fingerprint == search.fingerprint or run.path in found:
            continue
        why = "" if own.request.unit == "image" else f", and a {own.request.unit} may have grown"
        if not why:
            try:
                found[run.path] = rows_elsewhere(run.patch_set(), first.patch_set())
            except DataError as error:
                why = f": {error}"
        if why:
            raise RunError(
                f"models can be compared on the same data alone; {run.path} has data "
                f"{own.fingerprint[:12]}, {first.path} has {search.fingerprint[:12]}{why}"
            )
    return found


def _in_rows_of(first: RunFolder, places: IntArray, predicted: OutOfFold) -> OutOfFold:
    """Predictions of the images that the first run's data hold, too, with the rows and patients of these."""
    rows = select_rows(first.patch_set(), first.search().task_definition)
    group_of = dict(zip(rows.rows.tolist(), rows.groups.tolist(), strict=True))
    moved = places[predicted.rows]
    kept = np.flatnonzero(np.isin(moved, rows.rows))
    _, once = np.unique(moved[kept], return_index=True)  # of several copies of an image, one
    kept = kept[np.sort(once)]
    groups = np.array([group_of[row] for row in moved[kept].tolist()], dtype=np.str_)  # as long as they are
    return replace(predicted.where(kept), rows=moved[kept], groups=groups)


def _registered(
    models: Sequence[tuple[RunFolder, str, int | None]], named: Sequence[NamedPredictions]
) -> frozenset[frozenset[str]]:
    """Pairs of shown names whose comparison the record of their run asked for before its first trial."""
    found = set()
    for place, (run, ensemble, trial) in enumerate(models):
        asked = run.search().request.comparisons
        for other, (other_run, other_ensemble, other_trial) in enumerate(models):
            if other == place or run.path.resolve() != other_run.path.resolve():
                continue
            pair = {_typed(ensemble, trial), _typed(other_ensemble, other_trial)}
            if any(set(one.split(":")) == pair for one in asked):
                found.add(frozenset((named[place].name, named[other].name)))
    return frozenset(found)


def _typed(ensemble: str, trial: int | None) -> str:
    return ensemble if trial is None else str(trial)
