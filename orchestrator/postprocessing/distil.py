"""Distillation: one trial of a run is trained to answer as an ensemble does, and takes its place.

The student of a fold learns from teachers that saw neither this fold nor the image that they are asked about:
without each fold the members are trained in a cross-validation of the others. With the ensemble's own
out-of-fold predictions as targets, whose models were trained on the labels of every fold but one, a student
would be scored on images whose labels its teachers had told it. What the student is compared with are the
ensemble's nested predictions.

A student is a run folder of one trial, `students/<method>-<trial>/` of its run, so that what reads runs reads
it.

Source:
    Hinton, Vinyals and Dean (2015), "Distilling the Knowledge in a Neural Network", arXiv:1503.02531.
"""

import hashlib
import json
import shutil
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import numpy as np
from pydantic import ValidationError

from orchestrator.postprocessing.student_choice import check_student, chosen_student
from orchestrator.preflight.run_data import open_run_data
from orchestrator.preflight.run_validation import open_run_validation
from results.ensembles.choice import choose_members
from results.ensembles.ensemble import Ensemble, read_ensemble
from results.ensembles.members import Members, align
from results.ensembles.out_of_fold import nested_again, pool_of
from results.errors import ExportError, ModelChangedError
from results.export.allowed_change import AllowedChange
from results.export.graph_cost import measure_models
from results.export.precision_record import Distillation
from results.run.records import OutOfFold, SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.scores.decision_rule import cross_fit
from results.scores.fold_scores import objective_values
from results.scores.joint_comparison import differences_to
from results.scores.metrics import mean_fold_auc
from results.scores.operating_point import NOTHING_ASKED, Operation
from results.scores.ranking import objectives_of
from trainables.common.files import folder_in_progress, replace_folder, write_atomically
from trainables.common.notify import Notify
from trainables.common.text import trials_text
from trainables.common.types import Float64Array, IntArray
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.training_data import TrainingData
from trainables.runtime.checkpoint import write_fold_weights
from trainables.runtime.devices import available_device
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.validation.epoch_selection import TrialSnapshot

DISTILLATION_FILE: Final = "distillation.json"
_FEWEST_FOLDS: Final = 3


@dataclass(frozen=True, slots=True)
class Student:
    """A trained student.

    Attributes:
        run: Its run folder, which holds one trial.
        record: What it was distilled from, and what that changed.
    """

    run: RunFolder
    record: Distillation


def distil(  # noqa: PLR0913 - whose student of which kind, and what may change
    run: RunFolder,
    *,
    ensemble: str,
    trial: int | None,
    weight: float,
    allowed: AllowedChange,
    operation: Operation = NOTHING_ASKED,
    max_ms: float | None = None,
    say: Notify = lambda _: None,
) -> Student:
    """Train a student of an ensemble, or take the one that was trained before, and compare both.

    Args:
        run: Folder of the search; its data must still be in the store.
        ensemble: Name of the ensemble.
        trial: Number of the trial whose configuration the student has; None chooses one.
        weight: Share of the ensemble's predictions in what it learns, in (0, 1]; the labels have the rest.
        allowed: What may change.
        operation: What is asked of the decisions of both, whose calls are compared.
        max_ms: Longest time of an image on one core, in milliseconds, where the trial is chosen.
        say: Function called with a sentence before what takes time.

    Raises:
        ModelChangedError: If AUC or calls change by more than is allowed; the student is kept.
        ExportError: If the weight, the data or the trial do not admit a student.
        OrchestrateError: If the ensemble was not built, or data or pretrained files are missing.
    """
    if not 0 < weight <= 1:
        raise ExportError(f"--distil-weight must lie above 0 and up to 1, found {weight:g}")
    search, teacher = run.search(), read_ensemble(run, ensemble)
    _check_teacher(run, search, teacher)
    number = chosen_student(run, max_ms, say) if trial is None else trial
    check_student(run, number)
    folder = run.student_run(teacher.method, number)
    known = _read(run, folder, teacher, number, weight)
    if known is None:
        _train(run, folder, teacher, number, weight, say)
    else:
        say(f"the student, {known.teacher} in trial {number}, was there already")
    if known is None or known.operation != operation:
        known = _compared(run, folder, teacher, number, weight, allowed, operation)
        write_atomically(folder.path / DISTILLATION_FILE, known.model_dump_json(indent=1) + "\n")
    record = known.model_copy(
        update={"max_auc_loss": allowed.auc_loss, "max_changed_calls": allowed.changed_calls}
    )
    if faults := record.faults(allowed):
        raise ModelChangedError(
            f"trial {number} as a student of {record.teacher} changes too much: {'; '.join(faults)}. Nothing "
            "was exported; take another trial (--distil TRIAL), another --distil-weight, or allow more"
        )
    return Student(folder, record)


def _check_teacher(run: RunFolder, search: SearchRecord, teacher: Ensemble) -> None:
    if len(teacher.trials) < 2:
        raise ExportError(
            f"ensemble {teacher.method} of {run.path} is one trial and needs no student; export it with "
            f"--trial {teacher.trials[0]}, or name an ensemble of several trials (--ensemble)"
        )
    if search.folds < _FEWEST_FOLDS:
        raise ExportError(
            f"--distil needs {_FEWEST_FOLDS} folds or more, and {run.path} has {search.folds}: teachers are "
            "trained without two of them. Search again with --folds 3 or more"
        )
    if search.request.unit != "image":
        raise ExportError(
            f"--distil is for models of single images, and this one predicts a {search.request.unit}; export "
            "a single trial (--trial)"
        )
    for number in teacher.pool:
        if option := _source_of(run, number):
            raise ExportError(
                f"trial {number} of {run.path}, of which ensemble {teacher.method} may be made, builds on a "
                f"trial of another search ({option}) that has seen the other folds, and teachers may not "
                "know the fold of their student; export a single trial (--trial), or distil an ensemble of "
                "trials that build on none"
            )


def _source_of(run: RunFolder, number: int) -> str:
    """Option that names the trial of another search that a trial builds on; empty where there is none."""
    record = run.record(number)
    model = None if record is None else decode(record.config).model
    if model is None:
        return ""
    if model.weights == "start":
        return "--start-from"
    return "--type-from" if model.type_input in ("probability", "hard") else ""


def _train(
    run: RunFolder,
    folder: RunFolder,
    teacher: Ensemble,
    number: int,
    weight: float,
    say: Notify,
) -> None:
    """Train a student and write its run folder, whole or not at all."""
    search, record, begun = run.search(), run.record(number), time.monotonic()
    if record is None:
        raise ExportError(f"trial {number} of {run.path} has no record")
    training_data, runtime = open_run_data(run, search, available_device())
    shares = teachers_targets(run, teacher, training_data, runtime, say)
    labels = np.eye(training_data.classes)[training_data.labels]
    targets = (1 - weight) * labels + weight * np.where(np.isnan(shares), labels, shares)
    say(f"training the student, trial {number}, on what they predict ({weight:.0%}) and the labels")
    config = decode(record.config)
    best, epochs = _validated(search, config, replace(training_data, soft_targets=targets), runtime)
    with folder_in_progress(folder.path) as place:
        new = RunFolder(place)
        _write(new, run, record, best, training_data, epochs=epochs, seconds=time.monotonic() - begun)
        replace_folder(folder.path, place)


def _write(
    new: RunFolder,
    run: RunFolder,
    record: TrialRecord,
    best: TrialSnapshot,
    training_data: TrainingData,
    *,
    epochs: int,
    seconds: float,
) -> None:
    search, scored = run.search(), training_data.scored
    new.write_search(search.model_copy(update={"name": f"{search.name}, student"}))
    shutil.copyfile(run.split_file, new.split_file)
    predictions = OutOfFold(scored.rows, scored.labels, scored.folds, scored.groups, best.probabilities)
    held_out, objectives = predictions.held_out(), objectives_of(search)
    values = objective_values(held_out, objectives)
    new.write_out_of_fold(record.number, held_out)
    write_fold_weights(new.weights_folder(record.number), best.weights)
    changes = {
        "value": values.get(search.metric, record.value),
        "values": {**record.values, **values},
        "best_epoch": best.epoch,
        "epochs": epochs,
        "fold_metrics": tuple(best.fold_metrics),
        "losses": tuple(best.losses),
        "collapsed_folds": tuple(best.collapsed),
        "wall_seconds": seconds,
        "has_weights": bool(best.weights),
        "predictions_digest": held_out.digest,
        "finished_at": datetime.now(UTC),
    }
    new.write_record(record.model_copy(update=changes))


def teachers_targets(
    run: RunFolder, teacher: Ensemble, training_data: TrainingData, runtime: TrialRuntime, say: Notify
) -> Float64Array:
    """Train the members of an ensemble without each fold, and predict the images of the others out of fold.

    Args:
        run: Folder of the search.
        teacher: The ensemble; its members are chosen anew without each fold.
        training_data: The training part.
        runtime: Store, device and weights.
        say: Function called with a sentence for each fold.

    Returns:
        Probabilities for the student of each fold, (folds, images, classes); NaN for the images of the fold,
        and for those that no fold holds out.
    """
    search, pool = run.search(), pool_of(run, teacher)
    folds = int(training_data.folds.max()) + 1
    shape = (folds, len(training_data.labels), training_data.classes)
    found = np.full(shape, np.nan)
    for fold in range(folds):
        without = pool.where(pool.folds != fold)
        most = teacher.max_members or len(teacher.trials)
        chosen = without.only(choose_members(without, most, teacher.considered or most))
        say(f"teachers of fold {fold + 1} of {folds}: training {trials_text(chosen.trials)} without it")
        rest, trials = training_data.without_fold(fold), dict[int, OutOfFold]()
        for number in chosen.trials:
            trials[number] = _out_of_fold(search, _config(run, number), rest, runtime)
        members = align(trials, objectives=pool.objectives, costs=_costs(chosen))
        own = nested_again(members, teacher, is_of_choice=False)
        found[fold, _places(training_data.rows, own.rows)] = own.probabilities
    return found


def _out_of_fold(
    search: SearchRecord, config: TrialConfig, training_data: TrainingData, runtime: TrialRuntime
) -> OutOfFold:
    best, _ = _validated(search, config, training_data, runtime)
    scored = training_data.scored
    return OutOfFold(scored.rows, scored.labels, scored.folds, scored.groups, best.probabilities).held_out()


def _validated(
    search: SearchRecord, config: TrialConfig, training_data: TrainingData, runtime: TrialRuntime
) -> tuple[TrialSnapshot, int]:
    """Train all folds of a configuration to the end; returns what is kept, and the number of epochs."""
    validation = open_run_validation(search, config, training_data, runtime, isolated=False)
    while not validation.is_over:
        validation.epoch()
    if validation.best is None:
        raise RuntimeError("a trial ends after its first epoch")
    return validation.best, validation.epochs_done


def _compared(
    run: RunFolder,
    folder: RunFolder,
    teacher: Ensemble,
    number: int,
    weight: float,
    allowed: AllowedChange,
    operation: Operation,
) -> Distillation:
    pool = pool_of(run, teacher)
    nested = nested_again(pool, teacher, is_of_choice=False)
    student = align({number: folder.out_of_fold(number)})
    own = replace(
        student.out_of_fold(student.probabilities[0]),
        folds=nested.folds,
        trained_on=nested.trained_on,
        chosen_on=nested.chosen_on,
    )
    (difference,) = differences_to(nested, [own], seed=teacher.seed)
    searched = pool.objectives.metrics
    first, second = (
        cross_fit(one, searched=searched, metrics=(), operation=operation).called for one in (nested, own)
    )
    cost = measure_models(run, [teacher.trials]).get(tuple(sorted(teacher.trials)))
    return Distillation(
        images=len(own.rows),
        how="out of fold, the ensemble's nested",
        auc_before=float(mean_fold_auc(nested.labels, nested.probabilities, nested.folds)),
        auc_change=difference,
        changed_calls=float((first != second).mean()),
        largest_difference=float(np.abs(nested.probabilities - own.probabilities).max()),
        max_auc_loss=allowed.auc_loss,
        max_changed_calls=allowed.changed_calls,
        cost_before=cost,
        teacher=f"ensemble {teacher.method}",
        teacher_trials=teacher.trials,
        trial=number,
        weight=weight,
        seed=teacher.seed,
        teacher_digest=_digest_of_teachers(run, teacher),
        operation=operation,
    )


def _digest_of_teachers(run: RunFolder, teacher: Ensemble) -> str:
    """Digest of an ensemble, and of all that its members are chosen from anew without each fold."""
    pool = [(number, run.predictions_digest(number)) for number in teacher.pool]
    known = json.dumps([teacher.digest, pool, teacher.max_members, teacher.considered])
    return hashlib.sha256(known.encode()).hexdigest()


def _read(
    run: RunFolder, folder: RunFolder, teacher: Ensemble, number: int, weight: float
) -> Distillation | None:
    """The record of a student that was trained before, if it has this teacher and this weight.

    That of an earlier version does not tell whether its teachers were run again since: it is trained anew.
    """
    try:
        known = Distillation.model_validate_json((folder.path / DISTILLATION_FILE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    digest = _digest_of_teachers(run, teacher)
    wanted = (f"ensemble {teacher.method}", digest, number, weight, teacher.seed)
    is_same = wanted == (known.teacher, known.teacher_digest, known.trial, known.weight, known.seed)
    return known if is_same and folder.record(number) is not None else None


def _config(run: RunFolder, number: int) -> TrialConfig:
    record = run.record(number)
    if record is None:
        raise ExportError(f"trial {number}, a member of the ensemble, has no record in {run.path}")
    return decode(record.config)


def _costs(members: Members) -> dict[int, dict[str, float]]:
    return {number: dict(own) for number, own in zip(members.trials, members.costs, strict=False)}


def _places(rows: IntArray, wanted: IntArray) -> IntArray:
    """Places of some rows among others, which need not be sorted."""
    order = np.argsort(rows)
    places: IntArray = order[np.searchsorted(rows[order], wanted)]
    return places
