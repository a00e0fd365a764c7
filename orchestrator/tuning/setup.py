"""Setup of a search: preflight, run folder, record and study, all checked before a trial starts."""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from orchestrator.preflight.preflight import Connector, Notify, Preflight, run_preflight, slots_for
from orchestrator.request import SearchRequest, check_request
from orchestrator.study.study import OptunaStudy, open_study
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from results.run.versions import package_versions
from results.scores.ranking import Objective
from search_spaces.context import SpaceContext
from search_spaces.registry import Space, space_named
from trainables.common.errors import DataError
from trainables.config.tasks import task_named
from trainables.data.sources import is_built_in, load_patch_set
from trainables.data.splits import write_split

METRIC: Final = "auc"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A search that is ready to start: recorded and checked, but nothing has run yet.

    Attributes:
        run: Run folder of the search.
        record: Request and facts of the search.
        study: Optuna study of the search.
        slots: Number of trials at once.
    """

    run: RunFolder
    record: SearchRecord
    study: OptunaStudy
    slots: int


def prepare_search(
    request: SearchRequest, connect: Connector, notify: Notify, *, command: str = ""
) -> Prepared:
    """Run the preflight, then write the run folder.

    Args:
        request: Options of the search.
        connect: Function that starts or finds the Ray for the trials; called once the data are known to be
            good.
        notify: Function called with messages for the user.
        command: Command line, for the record.

    Raises:
        OrchestrateError: Whatever makes the search impossible, before any trial starts.
    """
    run = check_request(request)
    preflight = run_preflight(request, connect, notify)
    record = _search_record(preflight, run.path.name, command)
    run.path.mkdir(parents=True)
    try:
        write_split(run.split_file, preflight.split)
        study = _study(run, record, preflight.space, is_new=True, storage=request.study_storage)
        study.enqueue(preflight.initial_points)
        run.write_search(record)
    except BaseException:
        shutil.rmtree(run.path)  # half a run folder can be neither used nor resumed
        raise
    return Prepared(run, record, study, preflight.slots)


def _search_record(preflight: Preflight, name: str, command: str) -> SearchRecord:
    """The request, and the facts that the preflight found."""
    request, context, patch_set = preflight.request, preflight.feasible.context, preflight.patch_set
    data = str(request.data)
    return SearchRecord(
        request=request.resolved(data=data if is_built_in(data) else str(Path(data).resolve())),
        command=command,
        name=name,
        classes=preflight.task.classes,
        label_codes=patch_set.label_codes,
        source=patch_set.source,
        is_synthetic=patch_set.is_synthetic,
        fingerprint=patch_set.fingerprint,
        store=str(preflight.store),
        metric=METRIC,
        space_context=context.model_dump(mode="json"),
        backbones=context.backbones,
        left_out=preflight.feasible.left_out,
        weights={
            backbone: file.sha256
            for backbone, file in preflight.inventory.usable.items()
            if file is not None and backbone in context.backbones
        },
        trial_minutes=preflight.trial_minutes,
        folds=preflight.split.folds,
        holdout=preflight.split.holdout,
        test_share=preflight.split.test_share,
        naive_split=preflight.split.is_naive,
        gpus_per_trial=preflight.gpus_per_trial,
        shares_gpus_as_measured=preflight.gpus_per_trial > 0 and request.gpus_per_trial is None,
        start_from=preflight.start_from,
        type_from=preflight.type_from,
        recipes=preflight.recipes,
        versions=package_versions(),
        started_at=datetime.now(UTC),
    )


def reopen_search(run: RunFolder, connect: Connector, notify: Notify) -> Prepared:
    """Open an interrupted search to go on with it.

    Raises:
        OrchestrateError: If the run folder, its data or its study cannot be read.
    """
    record = run.search()
    try:
        run.patch_set()
    except DataError:
        notify(f"the stored copy of the data is gone; reading {record.request.data} again")
        patch_set, _ = load_patch_set(
            str(record.request.data),
            task=task_named(record.task),
            label_codes=record.label_codes,  # type: ignore[arg-type]
            store=Path(record.store),
            source=record.request.source,
        )
        if patch_set.fingerprint != record.fingerprint:
            raise DataError(
                f"{record.request.data} is not what this search was started on; it has changed since"
            ) from None
    space, storage = space_named(record.request.space_name), record.request.study_storage
    study = _study(run, record, space, is_new=False, storage=storage)
    again = study.adopt({trial.number: trial for trial in run.records()})
    done = len(run.records())
    notify(
        f"{done} of {record.request.trials} trials are finished and stay; {again} that were running are run "
        "again"
    )
    return Prepared(run, record, study, slots_for(record.request, record.gpus_per_trial, connect()))


def _study(
    run: RunFolder, record: SearchRecord, space: Space, *, is_new: bool, storage: str | None
) -> OptunaStudy:
    """Open the study of a run; the record holds the URL of its storage without a password."""
    request = record.request
    study = open_study(
        storage=storage,
        journal=run.study_file,
        name=f"{record.task}/{record.name}",
        seed=request.seed,
        epochs=request.epochs,
        direction=Objective(record.metric).direction,
        is_new=is_new,
    )
    context = SpaceContext.model_validate(record.space_context)
    return OptunaStudy(study, space, context, request.fixed_params, trials=request.trials)


def deadline_of(record: SearchRecord, started: float) -> float | None:
    """Reading of `time.time()` at which the search is out of time; None without a budget."""
    minutes = record.request.minutes
    return None if minutes is None else started + 60.0 * minutes
