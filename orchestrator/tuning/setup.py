"""Composes a search from its parts, and checks everything before a trial starts."""

import importlib.metadata
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cluster.resources import trial_slots
from orchestrator.preflight.preflight import Connector, Notify, Preflight, run_preflight
from orchestrator.request import SearchRequest, check_request
from orchestrator.study.study import OptunaStudy, open_study
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from search_spaces.context import SpaceContext
from search_spaces.registry import Space, space_named
from trainables.common.errors import DataError
from trainables.config.tasks import task_named
from trainables.data.patches import open_patch_set
from trainables.data.sources import is_built_in, load_patch_set
from trainables.data.splits import write_split

METRIC: Final = "auc"
_PACKAGES: Final = (
    "breast-image-orchestrator",
    "torch",
    "torchvision",
    "timm",
    "ray",
    "optuna",
    "numpy",
    "scikit-learn",
    "albumentations",
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A search that may start: written down, checked, nothing run yet.

    Attributes:
        run: Its run folder.
        record: What was asked.
        policy: The study.
        slots: Trials at once.
        recipes: Names of the first points.
    """

    run: RunFolder
    record: SearchRecord
    policy: OptunaStudy
    slots: int
    recipes: tuple[str, ...] = ()


def prepare_search(request: SearchRequest, connect: Connector, say: Notify) -> Prepared:
    """Survey, then write the run folder.

    Args:
        request: What the user asked for.
        connect: Starts or finds the Ray that will run the trials; called once the data are known to be good.
        say: Called with sentences for the user.

    Raises:
        OrchestrateError: Whatever makes the search impossible, before any trial starts.
    """
    run = check_request(request)
    survey = run_preflight(request, connect, say)
    record = _search_record(request, run.path.name, survey)
    run.path.mkdir(parents=True)
    try:
        write_split(run.split_file, survey.split)
        policy = open_policy(run, record, survey.space, is_new=True)
        policy.enqueue(survey.first)
        run.write_search(record)
    except BaseException:
        shutil.rmtree(run.path)  # half a run folder can be neither used nor resumed
        raise
    return Prepared(run, record, policy, survey.slots, record.recipes)


def _search_record(request: SearchRequest, name: str, survey: Preflight) -> SearchRecord:
    """What is written down of a request and its survey."""
    context, patch_set = survey.afforded.context, survey.patch_set
    return SearchRecord(
        task=survey.task.name,
        classes=survey.task.classes,
        name=name,
        data=request.data if is_built_in(request.data) else str(Path(request.data).resolve()),
        label_codes=patch_set.label_codes,
        source=patch_set.source,
        is_synthetic=patch_set.is_synthetic,
        fingerprint=patch_set.fingerprint,
        store=str(survey.store),
        metric=METRIC,
        space=request.space or request.task,
        space_context=context.as_plain(),
        pins=dict(survey.pins),
        backbones=context.backbones,
        left_out=survey.afforded.left_out,
        weights_dir=str(request.weights_dir.resolve()) if request.weights_dir else None,
        weights={
            backbone: file.sha256
            for backbone, file in survey.inventory.usable.items()
            if file is not None and backbone in context.backbones
        },
        trials=request.trials,
        minutes=request.minutes,
        trial_minutes=survey.trial_minutes,
        folds=survey.split.folds,
        test_share=survey.split.test_share,
        seed=request.seed,
        workers=request.workers,
        cpus_per_trial=request.cpus_per_trial,
        gpus_per_trial=survey.gpus_per_trial,
        shares_gpus_as_measured=survey.gpus_per_trial > 0 and request.gpus_per_trial is None,
        epochs=request.epochs,
        keep_weights=request.keep_weights,
        study_storage=request.study_storage,
        command=request.command,
        versions={package: importlib.metadata.version(package) for package in _PACKAGES},
        started_at=datetime.now(UTC),
        features=request.features,
        store_gb=request.store_gb,
        shared_store=str(request.shared_store.resolve()) if request.shared_store else None,
        holdout=survey.split.holdout,
        naive_split=survey.split.is_naive,
        start_from=survey.start_from,
        type_from=survey.type_from,
        recipes=survey.recipes,
        process_per_fold=request.process_per_fold,
    )


def reopen_search(run: RunFolder, connect: Connector, say: Notify) -> Prepared:
    """Open an interrupted search to go on with it.

    Raises:
        OrchestrateError: If the run folder, its data or its study cannot be read.
    """
    record = run.search()
    try:
        open_patch_set(Path(record.store) / "data", record.fingerprint)
    except DataError:
        say(f"the stored copy of the data is gone; reading {record.data} again")
        patch_set, _ = load_patch_set(
            record.data,
            task=task_named(record.task),
            label_codes=record.label_codes,  # type: ignore[arg-type]
            store=Path(record.store),
        )
        if patch_set.fingerprint != record.fingerprint:
            raise DataError(
                f"{record.data} is not what this search was started on; it has changed since"
            ) from None
    policy = open_policy(run, record, space_named(record.space), is_new=False)
    again = policy.adopt({trial.number: trial for trial in run.records()})
    done = len(run.records())
    say(f"{done} of {record.trials} trials are finished and stay; {again} that were running are run again")
    connection = connect()
    slots = trial_slots(
        connection.cpus,
        connection.gpus,
        cpus_per_trial=record.cpus_per_trial,
        gpus_per_trial=record.gpus_per_trial,
        workers=record.workers,
        machines=connection.machines,
    )
    return Prepared(run, record, policy, slots)


def open_policy(run: RunFolder, record: SearchRecord, space: Space, *, is_new: bool) -> OptunaStudy:
    """Open the study of a run."""
    study = open_study(
        storage=record.study_storage,
        journal=run.study_file,
        name=f"{record.task}/{record.name}",
        seed=record.seed,
        epochs=record.epochs,
        is_new=is_new,
    )
    context = SpaceContext.from_plain(record.space_context)
    return OptunaStudy(study, space, context, record.pins, trials=record.trials)


def deadline_of(record: SearchRecord, started: float) -> float | None:
    """Reading of `time.time()` at which the search is out of time; None without a budget."""
    return None if record.minutes is None else started + 60.0 * record.minutes


def now() -> float:
    """Seconds since the epoch."""
    return time.time()
