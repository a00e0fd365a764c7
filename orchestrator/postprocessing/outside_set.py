"""Evaluation of a model on labelled data that it never saw; every look at them is logged first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from orchestrator.preflight.search_data import make_store, read_images
from orchestrator.request import SearchRequest, parse_request, with_own_task
from results.errors import ExportError
from results.export.exported_model import Bundle, load_bundle
from results.export.manifest import MANIFEST_FILE, Manifest
from results.export.outside_data import predict_outside
from results.export.run_reference import reference_of
from results.export.training_reference import TrainingReference, read_reference
from results.run.run_folder import RunFolder
from results.run.test_accesses import (
    TestAccess,
    read_outside_accesses,
    record_outside_access,
)
from results.scores.decisions import check_two_classes
from results.scores.metrics import STANDARD, metric_named
from results.scores.operating_point import NOTHING_ASKED, Operation
from results.scores.outside import OutsideEvaluation, score_outside
from trainables.common.errors import OrchestrateError, UnknownNameError
from trainables.config.tasks import Task, task_named
from trainables.data.patches import PatchSet

_SEED: Final = 0  # of the intervals of a bundle, which knows no seed of a search


def is_bundle(path: Path) -> bool:
    """Tell whether a folder is an exported bundle."""
    return (path / MANIFEST_FILE).is_file()


@dataclass(frozen=True, slots=True)
class LabelledData:
    """Labelled data that a model is tried on.

    Attributes:
        data: Data as `--data` of a search takes them.
        by: Command that looks at them, for the log.
        notify: Function called with remarks on the data.
        options: Options of a search that read data, by name.
    """

    data: str
    by: str
    notify: Callable[[str], None]
    options: dict[str, Any] = field(default_factory=dict)


def evaluate_run_outside(
    run: RunFolder,
    asked: LabelledData,
    *,
    ensemble: str,
    trial: int | None,
    refit: bool,
    operation: Operation = NOTHING_ASKED,
) -> OutsideEvaluation:
    """Score a model of a run on labelled data that it never saw.

    Args:
        run: Folder of the search.
        asked: The data.
        ensemble: Name of the ensemble; not used if a trial is given.
        trial: Number of a single trial, or None.
        refit: Take the models that were trained on the whole training part.
        operation: What is asked of the decisions.

    Raises:
        OrchestrateError: If the data are those of the search, unlike them, or cannot be read.
    """
    from results.export.in_memory import model_in_memory

    bundle = model_in_memory(
        run, ensemble=ensemble, trial=trial, refit=refit, operation=operation, has_novelty=True
    )
    search = run.search()
    request = request_for(search.task_definition, asked, store=search.store)
    reference = reference_of(run, bundle.manifest.input)
    return _evaluated(bundle, request, reference, asked, run=run)


def evaluate_bundle_outside(path: Path, asked: LabelledData, *, task: str | None) -> OutsideEvaluation:
    """Score an exported bundle on labelled data that it never saw.

    Args:
        path: Folder of the bundle.
        asked: The data.
        task: YAML file that defines the bundle's task, if it is one of the user's own; None otherwise.

    Raises:
        OrchestrateError: If the data are those that the model was trained on, unlike them, or cannot be read.
    """
    bundle = load_bundle(path)
    request = request_for(task_of_bundle(bundle, task), asked)
    return _evaluated(bundle, request, read_reference(path), asked, run=None)


def task_of_bundle(bundle: Bundle, file: str | None) -> Task:
    """Return the task of a bundle: a built-in one, or that of a YAML file of the user's.

    Raises:
        ExportError: If the task is the user's own and no file is given, or the file has other classes.
    """
    manifest = bundle.manifest
    if file is not None:
        asked = with_own_task({"task": manifest.task, "own_task": file})
        task = parse_request(asked).task_definition
    else:
        try:
            task = task_named(manifest.task)
        except UnknownNameError as error:
            raise ExportError(
                f"{manifest.task} is a task of your own: give the file that defines it with --task FILE"
            ) from error
    if task.classes != manifest.classes:
        raise ExportError(
            f"task {task.name} has the classes {', '.join(task.classes)}, and this bundle has "
            f"{', '.join(manifest.classes)}; give the file that it was searched with"
        )
    return task


def read_outside(request: SearchRequest, notify: Callable[[str], None]) -> PatchSet:
    """Read the data of a request, and pass on what is to be said of them."""
    patch_set, notes = read_images(request, notify)
    for note in notes:
        notify(note)
    return patch_set


def request_for(task: Task, asked: LabelledData, **defaults: Any) -> SearchRequest:
    """Return the request that reads labelled data for a task; `defaults` are options that may be given."""
    own = {"own_task": task} if task.is_own else {}
    given = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in (defaults | asked.options).items()
    }
    return parse_request({"task": task.name, "data": asked.data, **own, **given})


def _evaluated(
    bundle: Bundle,
    request: SearchRequest,
    reference: TrainingReference | None,
    asked: LabelledData,
    *,
    run: RunFolder | None,
) -> OutsideEvaluation:
    manifest, store = bundle.manifest, make_store(request)
    patch_set = read_outside(request, asked.notify)
    found = predict_outside(bundle, patch_set, request.task_definition, reference)
    check_two_classes(found.labels, "an evaluation")  # what cannot be scored is no look at the labels
    objectives, unknown = _known_metrics(_shown(manifest))
    access = TestAccess.of(
        found.groups,
        run=None if run is None else run.path,
        by=asked.by,
        when=datetime.now(UTC),
        model=manifest.method,
        trials=tuple(member.trial for member in manifest.members),
        threshold=0.5 if manifest.threshold is None else manifest.threshold,
        data=patch_set.fingerprint,
    )
    read_outside_accesses(store, patch_set.fingerprint, patients=access.seen)  # refused if it is damaged
    record_outside_access(store, run, patch_set.fingerprint, access.opened)
    looks = len(read_outside_accesses(store, patch_set.fingerprint, patients=access.seen))
    evaluation = score_outside(
        found.labels,
        found.probabilities,
        found.groups,
        found.columns,
        classes=manifest.classes,
        threshold=manifest.threshold,
        thresholds=manifest.thresholds,
        training_shares=np.array([manifest.data.share_of(name) for name in manifest.classes]),
        objectives=objectives,
        seed=_SEED if run is None else run.search().request.seed,
        model=manifest.name if run is None else manifest.method,
        data=patch_set.source,
        chosen_for=manifest.chosen_for,
        decided_on=manifest.decided_on,
        split=manifest.split,
        look=looks,
        expected=manifest.out_of_fold.metrics,
        shift=found.shift,
        left_out=found.left_out,
        notes=(*found.notes, *unknown),
        unit=manifest.unit,
        operation=manifest.operation,
        triage_rule=manifest.triage,
        is_synthetic=manifest.is_synthetic or patch_set.is_synthetic,
        is_ordinal=manifest.is_ordinal,
    )
    record_outside_access(store, run, patch_set.fingerprint, access.ended(evaluation))
    return evaluation


def _shown(manifest: Manifest) -> list[str]:
    """The metric that the search optimised, and others than `STANDARD` whose scores are known."""
    scores = manifest.out_of_fold
    return [scores.metric, *(name for name in scores.metrics if name not in {scores.metric, *STANDARD})]


def _known_metrics(names: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Names of metrics of predictions that this process knows, and a sentence on each that it does not.

    A metric of the user's own may not be here.
    """
    found, unknown = [], []
    for name in names:
        try:
            if not metric_named(name).is_cost:
                found.append(name)
        except OrchestrateError as error:
            unknown.append(f"{name} is not computed, since this metric is not known here: {error}")
    return tuple(found) or ("auc",), unknown
