"""Reopening of an interrupted search: what is there is checked and brought together before a trial starts."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

from cluster.background import Connector
from cluster.connect import Connection
from orchestrator.preflight.gpus_and_slots import gpus_on, slots_for
from orchestrator.preflight.run_data import check_run_data
from orchestrator.preflight.search_data import messages_of_progress
from orchestrator.study.method import SearchMethod, method_of
from orchestrator.study.recovery import Recovery, StudyPlace, TrialSource
from orchestrator.study.study import OptunaStudy
from orchestrator.tuning.elsewhere import NOTHING_SAID, SaidPlaces, check_study_storage
from orchestrator.tuning.rebuild import mend_split, read_points
from orchestrator.tuning.room import members_of_ensembles, trials_of_ensembles
from orchestrator.tuning.setup import Prepared, allowance_of, in_time, study_place
from orchestrator.tuning.shared_store import check_shared_store
from orchestrator.tuning.unlike_versions import note_unlike_versions
from results.ensembles.ensemble import build_again
from results.run.damage import damaged_trials, damaged_weights
from results.run.origin import is_where_it_was_made
from results.run.records import Cause, SearchRecord
from results.run.refit_records import refit_folder
from results.run.run_folder import RunFolder
from results.run.run_paths import store_folder
from results.run.search_request import SearchRequest
from results.run.versions import package_versions
from results.scores.ranking import objectives_of
from search_spaces.context import SpaceContext
from search_spaces.learned import tried_digest
from search_spaces.registry import Space, file_in_working_folder, space_for
from trainables.common.errors import ConfigError, DataError, UnknownNameError
from trainables.common.files import set_aside
from trainables.common.notify import Notify
from trainables.common.text import command_text, count_text, done_text, trials_text, typed_path
from trainables.data.patches import open_patch_set
from trainables.data.prepared.on_the_way import load_data
from trainables.data.split_record import read_split

RETRIED: Final[tuple[Cause, ...]] = ("lost_worker", "environment")  # causes that are gone, as a rule


@dataclass(frozen=True, slots=True)
class ResumeOptions:
    """Choices of the user who resumes a search.

    Attributes:
        retry: Causes whose trials are tried again under their own numbers.
        space: Name of the search space, said again by the user; None if it was not.
        sampler: Name of the sampler, likewise.
        pruner: Name of the pruner, likewise.
        places: Storages and trackers, likewise.
        data: Where the data of the search lie now; None for where they were.
        store: Folder of its stored data and features now, likewise.
    """

    retry: Collection[str] = RETRIED
    space: str | None = None
    sampler: str | None = None
    pruner: str | None = None
    places: SaidPlaces = NOTHING_SAID
    data: str | None = None
    store: Path | None = None

    @property
    def for_inner(self) -> "ResumeOptions":
        """What is said of code, for the searches within this one: they are copied and followed nowhere."""
        return ResumeOptions(space=self.space, sampler=self.sampler, pruner=self.pruner)


DEFAULT_OPTIONS: Final = ResumeOptions()


def resume_options(
    retry: Sequence[str] | None,
    space: str | None,
    sampler: str | None = None,
    pruner: str | None = None,
    *,
    places: SaidPlaces = NOTHING_SAID,
    data: str | None = None,
    store: Path | None = None,
) -> ResumeOptions:
    """Return the choices of a user, checked.

    Args:
        retry: Causes of trials to try again besides `lost_worker` and `environment`, separated by commas or
            one by one; where there are none, no trial is tried again. None for those two alone.
        space: Name of the search space; None if it was not said.
        sampler: Name of the sampler; None if it was not said.
        pruner: Name of the pruner; None if it was not said.
        places: Storages and trackers that were said.
        data: Where the data of the search lie now; None if it was not said.
        store: Folder of its stored data and features now; None if it was not said.

    Raises:
        UnknownNameError: If there is no such cause.
    """
    if retry is None:
        return ResumeOptions(RETRIED, space, sampler, pruner, places, data, store)
    causes = [cause for text in retry for cause in text.split(",") if cause]
    for cause in causes:
        if cause not in get_args(Cause):
            raise UnknownNameError("cause", cause, get_args(Cause))
    tried_again = frozenset(causes) | set(RETRIED) if causes else ()
    return ResumeOptions(tried_again, space, sampler, pruner, places, data, store)


def reopen_search(
    run: RunFolder,
    connect: Connector,
    notify: Notify,
    options: ResumeOptions = DEFAULT_OPTIONS,
    *,
    record: SearchRecord | None = None,
    minutes: float | None = None,
) -> Prepared:
    """Open an interrupted search to go on with it.

    Args:
        run: Run folder of the search.
        connect: What starts or finds the Ray for the trials, and may have begun; asked once all else is known
            to be good, and not at all if no trial is left to run.
        notify: Function called with messages for the user.
        options: Choices of the user.
        record: Request and facts with another budget, to be kept; None for those in the run folder.
        minutes: Time limit of this session in minutes, which is not kept; None for that of the record.

    Raises:
        OrchestrateError: If the run folder, its data, split, weights, space or study are not as they must be.
    """
    before = run.search()
    record = _where_data_are(run, before if record is None else record, options, notify)
    timed = in_time(record, minutes)
    check_study_storage(run, record, options.places)
    for message in (*_other_versions(record), *_other_experience(record)):
        notify(message)
    space = checked_space(run, record, notify, options)
    method = method_of(record)  # which raises before anything is changed
    again = _set_aside(run, options, notify)
    study, run_again = _reopened_study(run, timed, space, method, notify)
    again["whose record is gone"] = run_again - again.total()
    records = {trial.number: trial for trial in run.records()}
    for number, trial in records.items():
        if trial.cause != "environment":  # written by a worker that was ended just after its trial
            run.discard_checkpoint(number)
    running = study.adopt(records)
    notify(_said(len(records), record.request, running, again))
    slots = 0
    if study.has_more:
        connection = connect()
        record = _with_gpus_of(record, connection, notify)
        slots = slots_for(record.request, record.gpus_per_trial, connection)
        check_shared_store(record.request, connect)
        note_unlike_versions(connect, notify)
    if record != before:
        run.write_search(record)
    return Prepared(run, record, study, slots, session_minutes=minutes)


def _with_gpus_of(record: SearchRecord, connection: Connection, notify: Notify) -> SearchRecord:
    """Give trials of a search that began without a GPU those that there are now."""
    gpus = gpus_on(record.request, connection)
    if gpus == 0 or record.gpus_per_trial > 0:
        return record
    notify("there are GPUs now, which trials use from now on")
    return record.model_copy(update={"gpus_per_trial": gpus, "shares_gpus_as_measured": True})


def _set_aside(run: RunFolder, options: ResumeOptions, notify: Notify) -> Counter[str]:
    """Set aside what is damaged, failed or outdated; returns why trials are run again -> their number."""
    again = Counter[str]()
    again["with damaged files"] = _set_damaged_aside(run, notify)
    _let_damaged_weights_go(run, notify)
    for cause, count in _set_failed_aside(run, options.retry).items():
        again[f"that failed ({cause})"] = count
    _let_go_of_what_is_outdated(run, notify)
    return again


def _reopened_study(
    run: RunFolder, record: SearchRecord, space: Space, method: SearchMethod, notify: Notify
) -> tuple[OptunaStudy, int]:
    """Open the study, brought up to date with the records; returns how many trials it runs again, too."""
    place = study_place(run, record)
    recovery = _recovered(run, record, space, place, notify)
    for message in recovery.messages:
        notify(message)
    study = OptunaStudy(
        recovery.study,
        space,
        SpaceContext.model_validate(record.space_context),
        record.request.fixed_params,
        method,
        driver=record.driver,
        patience=place.patience,
        allowance=allowance_of(record, read_split(run.split_file)),
    )
    return study, recovery.run_again


def checked_space(
    run: RunFolder, record: SearchRecord, notify: Notify, options: ResumeOptions = DEFAULT_OPTIONS
) -> Space:
    """Return the space of a recorded search, once its code, data, split and weights are known to be good.

    Args:
        run: Run folder of the search.
        record: Request and facts of the search.
        notify: Function called with messages for the user.
        options: Choices of the user, which may name code of somebody else's.

    Raises:
        OrchestrateError: If one of them is not as it must be.
    """
    space = _space(run, record, options.space, notify)
    _check_own_code(run, record, options)
    _open_data(run, record, notify)
    mend_split(run, record, notify)
    check_run_data(run, record)
    return space


def _where_data_are(
    run: RunFolder, record: SearchRecord, options: ResumeOptions, notify: Notify
) -> SearchRecord:
    """The record of a search that goes on, with its data and its store where they are now."""
    request, store = record.request, record.store
    if options.data is not None:
        if not Path(options.data).exists():
            raise DataError(f"--data {options.data} is not there; say where the data of this search lie now")
        notify(f"the data of this search are {options.data} from now on")
        request = request.model_copy(update={"data": str(Path(options.data).resolve())})
    if options.store is not None:
        request = request.model_copy(update={"store": options.store.resolve()})
        store = str(request.store)
        notify(f"the store of this search is {store} from now on")
    elif not (Path(store).is_dir() or is_where_it_was_made(run, record)) and request.store is None:
        store = str(store_folder(run.path.resolve().parent.parent))  # never where somebody once had one
    return record.model_copy(update={"ended": None, "request": request, "store": store})


def _open_data(run: RunFolder, record: SearchRecord, notify: Notify) -> None:
    """Make sure that the stored copy of the data is there; reads the data again if it is not."""
    try:
        open_patch_set(*record.data_location)
    except DataError:
        data = Path(str(record.request.data))
        if data.is_absolute() and not data.exists():
            raise DataError(
                f"{data} is not here, and neither is a copy of it in {record.store}; say where "
                f"the data of this search are: {run.resume_command} --data PATH, or where that store is: "
                "--store PATH"
            ) from None
        notify(f"the stored copy of the data is gone; reading {record.request.data} again")
        patch_set, _ = load_data(
            str(record.request.data),
            task=record.task_definition,
            label_codes=None if record.label_codes == "own" else record.label_codes,  # type: ignore[arg-type]
            store=Path(record.store),
            source=record.request.source,
            max_value=record.request.max_value,
            upper_folders=record.request.upper_folders,
            as_declared=record.max_value is None,  # a search of an earlier version
            progress=messages_of_progress(notify),
        )
        if patch_set.fingerprint != record.fingerprint:
            again = command_text("orchestrate", "search", "--config", typed_path(run.search_file))
            raise DataError(
                f"{record.request.data} is not what this search was started on; it has changed since. Put "
                f"the earlier data back, or search these with: {again} --name NEW"
            ) from None


def _other_versions(record: SearchRecord) -> list[str]:
    """One sentence about packages that have another version now than when the search was started."""
    now = package_versions()
    changed = [
        f"{name} {before} -> {now.get(name, 'not installed')}"
        for name, before in record.versions.items()
        if now.get(name) != before
    ]
    if not changed:
        return []
    return [
        f"packages have changed since this search was started ({', '.join(changed)}): trials from now on may "
        "differ a little from earlier ones with the same settings"
    ]


def _other_experience(record: SearchRecord) -> list[str]:
    """One sentence where other sets have taught something else since the search was started."""
    if record.tried_elsewhere in ("", tried_digest()):
        return []
    return [
        "what configurations did on other sets has changed since this search was started: it goes on without"
    ]


def _space(run: RunFolder, record: SearchRecord, said: str | None, notify: Notify) -> Space:
    """The space of the search; code from the working folder only if the user means it.

    Raises:
        ConfigError: If it is another space than the user says, or if a run from elsewhere names a file of the
            working folder, which would be run.
    """
    name = record.request.space_name
    if said is not None and said != name:
        raise ConfigError(f"--space {said}: this search has the space {name}, and keeps it")
    file = file_in_working_folder(name)
    if file is not None and said is None and not is_where_it_was_made(run, record):
        raise ConfigError(
            f"{run.path} was made elsewhere, and its space {name} is code in {file}, which would be run. "
            f"Look at that file; to go on with it, add --space {name}"
        )
    if record.request.space is not None:
        notify(f"search space: {name}" + (f" from {file}" if file else ""))
    return space_for(record.task_definition, record.request.space)


def _check_own_code(run: RunFolder, record: SearchRecord, options: ResumeOptions) -> None:
    """Make sure that a sampler or pruner of somebody else's is run only if the user says so.

    Raises:
        ConfigError: If the run was made elsewhere, and what it names is code in the working folder.
    """
    own = (("sampler", record.sampler, options.sampler), ("pruner", record.pruner, options.pruner))
    for kind, name, said in own:
        if said is not None and said != name:
            raise ConfigError(f"--{kind} {said}: this search has the {kind} {name}, and keeps it")
        file = file_in_working_folder(name)
        if file is not None and said is None and not is_where_it_was_made(run, record):
            raise ConfigError(
                f"{run.path} was made elsewhere, and its {kind} {name} is code in {file}, which would be "
                f"run. Look at that file; to go on with it, add --{kind} {name}"
            )


def _set_damaged_aside(run: RunFolder, notify: Notify) -> int:
    """Set the records of damaged trials aside, so that they are run again; returns their number."""
    damage = damaged_trials(run)
    for number, error in damage.items():
        notify(f"{str(error).partition(';')[0]}; trial {number} is run again")
        set_aside(run.record_file(number), "damaged")
    return len(damage)


def _let_damaged_weights_go(run: RunFolder, notify: Notify) -> None:
    """Remove the weights of trials whose files are damaged, as if they had been of losing trials."""
    damage = damaged_weights(run)
    for number, error in damage.items():
        run.discard_weights(number)
        notify(f"{str(error).partition(';')[0]}; trial {number} goes on without weights")
    unable = {record.number for record in run.records() if damage and not record.can_predict}
    if lost := trials_of_ensembles(run) & damage.keys() & unable:
        notify(
            f"an ensemble holds {count_text(len(lost), 'trial')} whose weights are gone; build it again: "
            f"{build_again(run)}"
        )


def _set_failed_aside(run: RunFolder, causes: Collection[str]) -> Counter[str]:
    """Set the records of trials that failed for one of these causes aside; returns cause -> number."""
    found: Counter[str] = Counter()
    for record in run.records():
        if record.state != "complete" and record.cause is not None and record.cause in causes:
            set_aside(run.record_file(record.number), "failed")
            found[record.cause] += 1
    return found


def _let_go_of_what_is_outdated(run: RunFolder, notify: Notify) -> None:
    """Set refits of trials without a record aside, and name the ensembles that hold such trials."""
    ended = {record.number for record in run.records()}
    for number in run.trial_numbers():
        folder = refit_folder(run, number)
        if number not in ended and folder.is_dir():
            kept = set_aside(folder, "outdated")
            notify(f"trial {number} has no result any more: its refit is kept as {kept.name}")
    for name, trials in members_of_ensembles(run).items():
        if lost := sorted(trials - ended):
            notify(
                f"ensemble {name} holds {trials_text(lost)} without a result; once the search has ended, "
                f"build it again: {build_again(run, name)}"
            )


def _recovered(
    run: RunFolder, record: SearchRecord, space: Space, place: StudyPlace, notify: Notify
) -> Recovery:
    """Open the study of the run, brought up to date with the records."""
    context = SpaceContext.model_validate(record.space_context)
    source = TrialSource(
        space, context, record.request.fixed_params, objectives_of(record), read_points(run, record, notify)
    )
    return place.recovered({trial.number: trial for trial in run.records()}, source)


def _said(done: int, request: SearchRequest, running: int, again: Counter[str]) -> str:
    """Say what stays and what is run again."""
    finished = done_text(done, request.asked_trials, "trial")
    said = f"{finished} {'is' if done == 1 and request.fills_its_time else 'are'} finished and stay; "
    said += f"{running} that were running are run again"
    others = [f"{count} {why}" for why, count in again.items() if count > 0]
    return f"{said}; so are {', '.join(others)}" if others else said
