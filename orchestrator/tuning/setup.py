"""Setup of a search: preflight, run folder, record and study, all checked before a trial starts."""

import math
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cluster.background import Connector
from orchestrator.preflight.preflight import Preflight, run_preflight
from orchestrator.preflight.pricing import lasting, recorded_prices, stored_passes
from orchestrator.reporting.worker_time import WorkerTime
from orchestrator.request import SearchRequest, asked_objectives, check_request
from orchestrator.study.allowance import Allowance
from orchestrator.study.method import asked_method, method_of
from orchestrator.study.patience import Patience
from orchestrator.study.recovery import StudyPlace
from orchestrator.study.shared import facts_of
from orchestrator.study.study import OptunaStudy
from orchestrator.tuning.shared_store import check_shared_store
from orchestrator.tuning.unlike_versions import note_unlike_versions
from results.errors import RunError
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from results.run.versions import package_versions
from results.scores.metric import Metric
from results.scores.metrics import metric_named
from results.scores.ranking import Objectives, objectives_of
from search_spaces.context import SpaceContext
from search_spaces.enqueue import InitialPoint
from search_spaces.learned import tried_digest, tried_space
from search_spaces.registry import Space
from trainables.common.files import folder_in_progress, make_private
from trainables.common.notify import Notify
from trainables.common.registered import names_in_use
from trainables.config.trial_config import flatten
from trainables.data.sources import is_built_in
from trainables.data.split_record import Split, read_split, write_split


@dataclass(frozen=True, slots=True)
class Prepared:
    """A search that is ready to start: recorded and checked, but nothing has run yet.

    Attributes:
        run: Run folder of the search.
        record: Request and facts of the search.
        study: Optuna study of the search.
        slots: Number of trials at once; 0 where no trial is left to run.
        session_minutes: Time limit of this session in minutes, where the user has said another one than that
            of the search; None where not.
        worker_time: Time of the workers of this session; it counts while trials run.
    """

    run: RunFolder
    record: SearchRecord
    study: OptunaStudy
    slots: int
    session_minutes: float | None = None
    worker_time: WorkerTime = field(default_factory=WorkerTime)

    @property
    def has_more(self) -> bool:
        """True if a trial is left to run."""
        return self.study.has_more

    @property
    def timed(self) -> SearchRecord:
        """Record with the time limit of this session, which is not kept, in the place of the search's own."""
        return in_time(self.record, self.session_minutes)


def prepare_search(
    request: SearchRequest, connect: Connector, notify: Notify, *, command: str = ""
) -> Prepared:
    """Run the preflight, then write the run folder.

    Args:
        request: Options of the search.
        connect: Starts or finds the Ray for the trials; it may have begun already.
        notify: Function called with messages for the user.
        command: Command line, for the record.

    Raises:
        OrchestrateError: Whatever makes the search impossible, before any trial starts.
    """
    run = check_request(request)
    preflight = run_preflight(request, connect, notify)
    check_shared_store(request, connect)
    record = _search_record(preflight, run.path.name, command)
    study = write_run(
        run,
        record,
        preflight.split,
        preflight.initial_points,
        preflight.space,
        storage=request.study_storage,
    )
    if study.shared is not None:
        before = study.handed_out
        notify(
            f"study {record.study_name} of several searches: {before} of its trials were handed out before"
        )
    note_unlike_versions(connect, notify)
    return Prepared(run, record, study, preflight.slots)


def write_run(
    run: RunFolder,
    record: SearchRecord,
    split: Split,
    points: Sequence[InitialPoint],
    space: Space,
    *,
    storage: str | None = None,
) -> OptunaStudy:
    """Write the run folder of a search that is about to start, whole or not at all; returns its study.

    Args:
        run: Folder to write; must be missing.
        record: Request and facts of the search.
        split: Folds and sealed test part.
        points: Points to try first.
        space: Search space.
        storage: URL of the study's storage as the user gave it, with the password; None takes that of the
            record.

    Raises:
        RunError: If the folder is there.
    """
    _write_files(run, record, split, points)
    try:
        place = study_place(run, record, storage=storage)
        opened, is_first = place.begin()
        study = OptunaStudy(
            opened,
            space,
            SpaceContext.model_validate(record.space_context),
            record.request.fixed_params,
            method_of(record),
            driver=record.driver,
            patience=place.patience,
            allowance=allowance_of(record, split),
        )
        if is_first:
            study.enqueue(points)
    except BaseException:
        shutil.rmtree(run.path)  # without its study it would be another search
        raise
    return study


def _write_files(run: RunFolder, record: SearchRecord, split: Split, points: Sequence[InitialPoint]) -> None:
    """Write all files but the study under a temporary name, and move the folder to its place.

    So a search that is killed leaves no folder, or one that can be resumed: points make the study.
    """
    taken = RunError(f"another search has made {run.path} meanwhile; give this one another --name")
    if run.path.exists():
        raise taken
    with folder_in_progress(run.path) as scratch:
        folder = scratch / run.path.name
        make_private(folder)  # its split and its predictions name patients
        draft = RunFolder(folder)
        write_split(draft.split_file, split)
        write_initial_points(draft, points)
        draft.write_search(record)
        try:
            folder.rename(run.path)
        except OSError as error:
            if not run.path.exists():
                raise
            raise taken from error


def _search_record(preflight: Preflight, name: str, command: str) -> SearchRecord:
    """The request, and the facts that the preflight found."""
    objectives = asked_objectives(preflight.request)
    request, context, patch_set = preflight.request, preflight.feasible.context, preflight.patch_set
    data = str(request.data)
    sampler, pruner = asked_method(request, folds=preflight.split.folds)
    return SearchRecord(
        request=request.resolved(data=data if is_built_in(data) else str(Path(data).resolve())),
        command=command,
        name=name,
        classes=preflight.task.classes,
        label_codes=patch_set.label_codes,
        source=patch_set.source,
        is_synthetic=patch_set.is_synthetic,
        fingerprint=patch_set.fingerprint,
        max_value=patch_set.max_value,
        store=str(preflight.store),
        metrics=objectives.metrics,
        ranges={name: _range(metric_named(name)) for name in objectives.needed},
        sampler=sampler.name,
        pruner=pruner.name,
        space_context=context.model_dump(mode="json"),
        backbones=context.backbones,
        left_out=preflight.feasible.left_out,
        costs={name: lasting(cost) for name, cost in preflight.feasible.costs.items()},
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
        split_digest=preflight.split.digest,
        gpus_per_trial=preflight.gpus_per_trial,
        shares_gpus_as_measured=preflight.gpus_per_trial > 0 and request.gpus_per_trial is None,
        start_from=preflight.start_from,
        type_from=preflight.type_from,
        recipes=preflight.recipes,
        registered=names_in_use(
            backbone=context.backbones,
            metric=[name.partition("@")[0] for name in objectives.needed],
            space=[request.space_name],
        ),
        versions=package_versions(),
        started_at=datetime.now(UTC),
        driver=uuid.uuid4().hex[:12] if request.study else "",
        audit=None if preflight.audit is None else preflight.audit.without_names(),
        tried_elsewhere=_experience(preflight.space, objectives),
    )


def _experience(space: Space, objectives: Objectives) -> str:
    """Digest of what was tried on other sets in the search's own space; empty where it is of no use."""
    return tried_digest() if space.name == tried_space() and len(objectives.metrics) == 1 else ""


def _range(metric: Metric) -> tuple[float | None, float | None]:
    """Smallest and largest possible value of a metric; None for no bound."""
    low, high = (bound if math.isfinite(bound) else None for bound in (metric.low, metric.high))
    return low, high


def study_place(run: RunFolder, record: SearchRecord, *, storage: str | None = None) -> StudyPlace:
    """Return where the study of a run lies.

    Args:
        run: Folder of the search.
        record: Request and facts of the search, which hold the URL of a storage without its password.
        storage: URL as the user gave it, with the password; None takes that of the record.
    """
    request = record.request
    return StudyPlace(
        storage=storage or request.study_storage,
        journal=run.study_file,
        name=record.study_name,
        directions=objectives_of(record).directions,
        driver=record.driver,
        facts=facts_of(record, read_split(run.split_file).digest) if record.driver else {},
        patience=Patience(request.wait_minutes),
    )


def write_initial_points(run: RunFolder, points: Sequence[InitialPoint]) -> None:
    """Write the points to try first, for a study that is lost before they ran."""
    plain = [{"recipe": point.recipe, "settings": flatten(point.settings)} for point in points]
    run.write_json(run.initial_points_file, plain)


def in_time(record: SearchRecord, minutes: float | None) -> SearchRecord:
    """Return a record with another time limit, and with as many trials as before.

    Args:
        record: Request and facts of the search.
        minutes: The limit in minutes; None keeps that of the record.

    Raises:
        ConfigError: If the limit is not allowed.
    """
    if minutes is None:
        return record
    return record.with_options(minutes=minutes, trials=record.request.asked_trials)


def allowance_of(record: SearchRecord, split: Split) -> Allowance:
    """Return what trials of a search may cost: it knows what was measured, and what is stored.

    Args:
        record: Request and facts of the search.
        split: Its folds and sealed test part.
    """
    keeps_passes = record.request.features != "off"
    passes = stored_passes(record) if record.request.minutes and keeps_passes else ()
    return Allowance(recorded_prices(record, split), passes, keeps_passes=keeps_passes)


def deadline_of(record: SearchRecord, started: float) -> float | None:
    """Reading of the clock that gave `started` at which the search is out of time; None without a budget."""
    minutes = record.request.minutes
    return None if minutes is None else started + 60.0 * minutes
