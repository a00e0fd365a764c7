"""Files of a run that are damaged or gone, made again from the others before a search goes on.

Records are mended by `reopen`, the study by `orchestrator.study.recovery`. Here are the split, which the seed
and the data give again, and the points that the search tries first, which the study holds as well. What is
made again is used only if something that was written before proves it to be the same.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from orchestrator.preflight.search_data import split_images
from orchestrator.preflight.warm_start import find_sources
from orchestrator.tuning.setup import study_place, write_initial_points
from results.errors import RunError
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from search_spaces.enqueue import InitialPoint
from trainables.common.errors import OrchestrateError, SplitError
from trainables.common.files import set_aside
from trainables.common.notify import Notify
from trainables.data.patches import select_rows
from trainables.data.repeated_splits import repeated_split
from trainables.data.split_record import Split, read_split, write_split
from trainables.data.units import with_units

_DAMAGED: Final = "damaged"


def mend_split(run: RunFolder, record: SearchRecord, notify: Notify) -> None:
    """Make the split again from data and seed if its file is damaged, changed or gone.

    Args:
        run: Run folder of the search, whose data are there.
        record: Request and facts of the search.
        notify: Function called with messages for the user.

    Raises:
        SplitError: If it cannot be made again, or nothing proves that it is the same.
    """
    try:
        read_split(run.split_file)
    except SplitError as error:
        fault = error
    else:
        return
    try:
        split = _made_again(run, record)
    except OrchestrateError as error:
        raise SplitError(f"{fault}. It cannot be made again either: {error}") from error
    proof = _proof(run, record, split)
    if proof is None:
        raise SplitError(
            f"{fault}. Made again from data and seed it would be another one, or nothing is left to compare "
            "it with, so that trials could be scored on what others have seen"
        ) from fault
    kept = (
        f"; what was there is {set_aside(run.split_file, _DAMAGED).name}" if run.split_file.exists() else ""
    )
    write_split(run.split_file, split)
    notify(f"{run.split_file} was damaged or gone: made again from data and seed, {proof}{kept}")


def _made_again(run: RunFolder, record: SearchRecord) -> Split:
    if record.outer is not None:
        raise RunError("it was cut by the nested search around it")
    patch_set, request, task = run.patch_set(), record.request, record.task_definition
    rows = select_rows(patch_set, task)
    if record.repeat is not None:
        search = RunFolder(run.path.parents[1])  # wherever both were copied to
        units = with_units(patch_set, rows, request.unit, task)
        return repeated_split(units, read_split(search.split_file), task, repeat=record.repeat.repeat)
    sources = find_sources(request, patch_set, rows)
    return split_images(request, patch_set, rows, sources=sources)


def _proof(run: RunFolder, record: SearchRecord, split: Split) -> str | None:
    """What shows that a split is the one of the search, as the end of a sentence; None if nothing does."""
    if record.split_digest is not None:
        return "with the digest of the first" if split.digest == record.split_digest else None
    complete = [own for own in run.records() if own.state == "complete"]
    compared = 0
    for _, found in run.readable_predictions(complete):
        compared += 1
        try:
            folds = split.fold_of(found.groups)
        except SplitError:  # it knows other patients
            return None
        if not np.array_equal(folds, found.folds):
            return None
    return f"with the folds of {compared} finished trials" if compared else None


def read_points(run: RunFolder, record: SearchRecord, notify: Notify) -> Sequence[InitialPoint]:
    """Return the points that a search tries first; a file that is damaged or gone is made from the study.

    Raises:
        RunError: If the file is damaged, and so is the study.
    """
    fault: RunError | None = None
    try:
        found = _read_points(run)
    except RunError as error:
        found, fault = None, error
    if found is not None:
        return found
    points = _points_of_study(run, record)
    if fault is None:
        if not points:  # an earlier version wrote no file
            return ()
        said = "gone: made again from the study"
    elif points is None:
        raise RunError(f"{fault}; {run.study_file.name} does not hold them either") from fault
    else:
        aside = set_aside(run.initial_points_file, _DAMAGED)
        said = f"damaged: made again from the study; what was there is {aside.name}"
    write_initial_points(run, points)
    notify(f"{run.initial_points_file} was {said}")
    return points


def _points_of_study(run: RunFolder, record: SearchRecord) -> list[InitialPoint] | None:
    """The first points that the study holds; None if it cannot be opened."""
    try:
        trials = study_place(run, record).open(is_new=False).get_trials(deepcopy=False)
    except OrchestrateError:
        return None
    points = list[InitialPoint]()
    for trial in trials:
        attributes: dict[str, Any] = trial.user_attrs
        if "recipe" not in attributes or "settings" not in attributes:
            break
        points.append(InitialPoint(attributes["recipe"], dict(attributes["settings"])))
    return points


def _read_points(run: RunFolder) -> list[InitialPoint] | None:
    """The points in the file; None if it is gone.

    Raises:
        RunError: If it is damaged.
    """
    path = run.initial_points_file
    try:
        return [
            InitialPoint(str(point["recipe"]), dict(point["settings"]))
            for point in json.loads(path.read_bytes())
        ]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(
            f"{path} is damaged ({error}); remove it to go on without the points that have not run yet"
        ) from error
