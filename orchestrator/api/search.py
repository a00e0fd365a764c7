"""Searches from Python: `run_search`, `resume_search` and `plan_search`. They print nothing by themselves."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cluster.background import BackgroundConnection, KnownConnection
from orchestrator.api.arrays import ArrayLike
from orchestrator.api.displays import Display, display_of
from orchestrator.api.nesting import nest_search
from orchestrator.api.repeating import repeat_search
from orchestrator.api.requests import arrays_of, request_of
from orchestrator.api.result import SearchResult
from orchestrator.api.surroundings import surroundings_of
from orchestrator.callbacks import Callback, StopSearch
from orchestrator.estimate.simulation import Estimate, estimate_search
from orchestrator.preflight.preflight import run_preflight
from orchestrator.preflight.this_machine import this_machine
from orchestrator.reporting.mirror import mirror_callbacks
from orchestrator.reporting.time_left import busy_seconds
from orchestrator.reporting.tracking import tracking_callbacks
from orchestrator.request import SearchRequest, check_request
from orchestrator.tuning import session
from orchestrator.tuning.elsewhere import SaidPlaces, places_of
from orchestrator.tuning.reopen import DEFAULT_OPTIONS, ResumeOptions, resume_options
from results.run.finding import find_run
from results.run.run_folder import RunFolder
from results.scores.ranking import objectives_of
from search_spaces.registry import name_of_function
from trainables.config.tasks import Task
from trainables.runtime.devices import kept_threads

if TYPE_CHECKING:
    from search_spaces.enqueue import SpaceFunction

_MEASURED: Final = 5  # trials whose cost is measured at the end of a search, the best ones,
_SHARE_OF_COSTS: Final = 0.1  # in this share of the time that it took,
_FEWEST_SECONDS: Final = 10.0  # unless that is too little for a single one


def run_search(  # noqa: PLR0913 - the data in either form, and what goes with a search but is no option of it
    request_or_task: SearchRequest | Task | str,
    data: str | Path | None = None,
    *,
    images: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    patient: ArrayLike | None = None,
    space: "SpaceFunction | str | None" = None,
    callbacks: Sequence[Callback] = (),
    address: str | None = None,
    progress: bool | Display | None = None,
    command: str = "",
    **options: Any,
) -> SearchResult:
    """Search architectures and training settings for a task. Nothing is printed, unless `progress` says so.

    `KeyboardInterrupt`, as by the stop button of a notebook, ends the search: what has ended is kept, and the
    result says that it is interrupted.

    Args:
        request_or_task: Name of a task, a `Task` of your own, or a `SearchRequest`, whose options hold unless
            others are given.
        data: Path of the data, or the name of built-in ones; the phantom where neither data nor arrays are
            given.
        images: Data in memory: grey images (n, h, w) or RGB images (n, h, w, 3) of uint8, uint16 or float in
            [0, 1]. They are written to the store, under a name made of their content, so that the search can
            be resumed and its models refitted and exported.
        labels: Class of each image, by number or by name, shape (n,).
        patient: Patient of each image, shape (n,); folds keep patients whole.
        space: Search space: a function of a trial and the context, which may be defined in a notebook, or
            its name `MODULE:FUNCTION`; None takes the space of the task.
        callbacks: Callbacks for the events of the search, called in this process.
        address: A Ray cluster: `HOST:PORT`, `auto`, or `local` to start one here; None finds one or starts
            one.
        progress: None shows a live table in a notebook and nothing elsewhere; True shows the search in any
            case; False never.
        command: Command that started the search, for its record.
        options: Options of the search by the names of the fields of `SearchRequest`, such as `trials=24`.

    Returns:
        The result; `best` is None if no trial was completed.

    Raises:
        OrchestrateError: Whatever makes the search impossible, before any trial starts; or if the machine
            fails it.
    """
    arrays = arrays_of(images, labels, patient)
    request = request_of(request_or_task, data, arrays=arrays, space=space, options=options)
    check_request(request)
    return search_as_asked(request, address, display_of(progress), callbacks=callbacks, command=command)


def search_as_asked(
    request: SearchRequest,
    address: str | None,
    display: Display,
    *,
    callbacks: Sequence[Callback] = (),
    command: str = "",
    begun: BackgroundConnection | None = None,
) -> SearchResult:
    """Run a search whose request is complete and checked.

    Args:
        request: Options of the search, as `check_request` has found them to be right.
        address: A Ray cluster, as for `run_search`.
        display: What shows it.
        callbacks: Callbacks for its events.
        command: Command that started it, for its record.
        begun: What connects to Ray, if it was begun before; the search ends it.

    Raises:
        OrchestrateError: As of `run_search`.
    """
    copies = mirror_callbacks(request.results)
    callbacks = (*callbacks, *tracking_callbacks(request.track), *copies)
    surroundings = surroundings_of(display, address, callbacks, begun=begun)
    outcome = session.run_search(request, surroundings, command=command)
    return _nested(_finished(outcome, display, callbacks), display, address, copies=copies, by=command)


def resume_search(  # noqa: PLR0913 - what may be changed, and what goes with a search but is no option of it
    run: "str | Path | RunFolder | SearchResult",
    *,
    trials: int | None = None,
    minutes: float | None = None,
    retry: Sequence[str] | None = None,
    space: "SpaceFunction | str | None" = None,
    sampler: str | None = None,
    pruner: str | None = None,
    study_storage: str | None = None,
    results: str | None = None,
    track: Sequence[str] | None = None,
    data: str | Path | None = None,
    store: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    address: str | None = None,
    progress: bool | Display | None = None,
    runs: str | Path = "runs",
) -> SearchResult:
    """Go on with a search that was interrupted, or killed, or is to have more trials.

    Args:
        run: A result, a run folder, or its name as `open_run` takes it.
        trials: Number of trials in all; None keeps the number that was asked for.
        minutes: Time from now on, in minutes, for this session alone; None takes the search's own.
        retry: Causes whose trials are tried again besides `lost_worker` and `environment`; where it is empty
            none are. None for those two alone.
        space: The search's own space, said again: its function, where the program that started the search had
            defined it and this is another one.
        sampler: The search's own sampler, said again for a run that was made elsewhere.
        pruner: The search's own pruner, likewise.
        study_storage: URL of the storage of the search's own study, likewise.
        results: The search's own storage of results, likewise; `none` goes on without a copy.
        track: The search's own trackers, likewise; `none` goes on without.
        data: Path at which the data of the search lie now, where they were moved; they must be the same.
        store: Folder of its stored data and features now, likewise.
        callbacks: Callbacks for the events of the search from now on.
        address: A Ray cluster, as for `run_search`.
        progress: What to show, as for `run_search`.
        runs: Folder of all runs.

    Raises:
        OrchestrateError: If the run folder, its data, split, weights, space or study are not as they must be;
            or if the machine fails the search.
    """
    folder = folder_of(run, runs)
    name = space if space is None or isinstance(space, str) else name_of_function(space)
    display = display_of(progress)
    said = SaidPlaces(study_storage, results, track)
    places = places_of(folder, folder.search(), said)
    copies = mirror_callbacks(places.results)
    callbacks = (*callbacks, *tracking_callbacks(places.track), *copies)
    options = resume_options(
        retry,
        name,
        sampler,
        pruner,
        places=said,
        data=None if data is None else str(data),
        store=None if store is None else Path(store),
    )
    outcome = session.resume_search(
        folder,
        surroundings_of(display, address, callbacks),
        minutes=minutes,
        trials=trials,
        options=options,
    )
    ended = _finished(outcome, display, callbacks)
    return _nested(ended, display, address, copies=copies, options=options.for_inner)


def plan_search(
    request_or_task: SearchRequest | Task | str,
    data: str | Path | None = None,
    *,
    images: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    patient: ArrayLike | None = None,
    space: "SpaceFunction | str | None" = None,
    notify: Callable[[str], None] | None = None,
    **options: Any,
) -> Estimate:
    """Estimate what a search would do and how long it would take on this machine, without running it.

    Data and backbones are measured for some seconds. No Ray is started, and no run folder is written; data
    that were not read before are stored, as a search would do.

    Args:
        request_or_task: As for `run_search`, and so are data, arrays, space and options.
        data: Path of the data, or the name of built-in ones.
        images: Images in memory.
        labels: Class of each image.
        patient: Patient of each image.
        space: Search space.
        notify: Function called with remarks on the data before the estimate is made.
        options: Options of the search.

    Raises:
        OrchestrateError: Whatever makes the search impossible.
    """
    arrays = arrays_of(images, labels, patient)
    request = request_of(request_or_task, data, arrays=arrays, space=space, options=options)
    check_request(request)
    request = request.model_copy(update={"audit": False})  # a search makes it, and it changes no estimate
    with kept_threads():
        preflight = run_preflight(
            request, KnownConnection(this_machine()), lambda _: None, waits_for_exports=True
        )
    for note in preflight.notes if notify is not None else ():
        notify(note)  # type: ignore[misc]
    with kept_threads():
        return estimate_search(preflight)


def open_run(name_or_path: str | Path | RunFolder, runs: str | Path = "runs") -> SearchResult:
    """Open the results of a search, ended or not.

    Args:
        name_or_path: A run folder, `TASK/NAME` or `NAME` below `runs`, or `latest`.
        runs: Folder of all runs.

    Raises:
        RunError: If there is no such run, or several have the name.
    """
    return SearchResult(folder_of(name_or_path, runs))


def folder_of(run: "str | Path | RunFolder | SearchResult", runs: str | Path = "runs") -> RunFolder:
    """Return the run folder that is meant.

    Raises:
        RunError: If there is no such run, or several have the name.
    """
    if isinstance(run, SearchResult):
        return run.run
    return run if isinstance(run, RunFolder) else find_run(str(run), Path(runs))


def _finished(
    outcome: session.SearchOutcome, display: Display, callbacks: Sequence[Callback]
) -> SearchResult:
    """Show the end of a search, write its reports, and tell the callbacks."""

    def result() -> SearchResult:
        return SearchResult(
            outcome.run,
            is_interrupted=outcome.is_interrupted,
            notes=tuple(display.notes),
            time_shares=outcome.time_shares,
        )

    ended = result()
    display.ended(ended)  # first of all: whatever fails after it, the user knows what there is
    _measure_best(outcome, display)
    for message in session.write_reports(outcome):
        display.warn(message)
    _tell_end(ended, callbacks, display)
    return result()  # with what was said meanwhile


def _tell_end(ended: SearchResult, callbacks: Sequence[Callback], display: Display) -> None:
    for callback in callbacks:
        try:
            callback.on_search_end(ended)
        except StopSearch:
            continue  # it has ended
        except Exception as error:  # a callback is the user's own, and the search has ended well
            display.warn(f"{type(callback).__name__} failed after the search: {error}")


def _nested(
    result: SearchResult,
    display: Display,
    address: str | None,
    *,
    copies: Sequence[Callback],
    by: str = "",
    options: ResumeOptions = DEFAULT_OPTIONS,
) -> SearchResult:
    """Repeat and nest a search that asked for it, once it has ended with something to ship.

    Args:
        result: The search that has ended.
        display: What shows it.
        address: A Ray cluster.
        copies: Callbacks that copy the run folder, and copy then what has come to it.
        by: Command that asks for it, for the log of looks.
        options: What the user has said of code that is run.
    """
    asked = result.request
    left = [verb for verb, number in (("repeat", asked.repeats), ("nest", asked.outer)) if number is not None]
    if not left or not result.complete or result.is_interrupted:
        return result
    said: dict[str, Any] = {"address": address, "progress": display, "options": options}
    try:
        if "repeat" in left and repeat_search(result.run, replaces=True, **said) is not None:
            left.remove("repeat")
        # The user who has ended the repeats has ended the whole, and wants no further search.
        if left == ["nest"] and nest_search(result.run, outer=asked.outer, by=by, **said) is not None:
            left.remove("nest")
    finally:
        _tell_end(result, copies, display)
    return SearchResult(
        result.run,
        is_interrupted=False,
        notes=tuple(display.notes),
        time_shares=result.time_shares,
        unfinished=tuple(left),
    )


def _measure_best(outcome: session.SearchOutcome, display: Display) -> None:
    """Measure what the best trials cost to use, in a small share of the time that the search took."""
    seconds = _SHARE_OF_COSTS * busy_seconds(outcome.records)
    if outcome.is_interrupted or seconds < _FEWEST_SECONDS or outcome.search.task_definition.takes_table:
        return
    from results.export.graph_cost import measure_models  # torch takes seconds to import

    best = [record for record in objectives_of(outcome.search).rank(outcome.complete) if record.can_predict]
    try:
        measure_models(
            outcome.run, [(record.number,) for record in best[:_MEASURED]], seconds=seconds, say=display.note
        )
    except Exception as error:  # as of the other reports: none is worth the end of a search
        display.warn(f"what the best trials cost could not be measured: {error}")
