"""Runs a search from request to closing summary, or goes on with one."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType

from cluster.connect import Connection, connect, disconnect
from cluster.resources import Machine, trial_slots
from orchestrator.cli.common import print_message
from orchestrator.postprocessing.recipe_ensembles import combine_recipes
from orchestrator.reporting.compute_savings import count_images, savings_from_sharing, savings_message
from orchestrator.reporting.tensorboard import TensorBoardLog, setting_columns
from orchestrator.reporting.terminal import SearchProgress, closing_summary
from orchestrator.reporting.watchers import TensorBoardWatcher, TerminalWatcher
from orchestrator.request import SearchRequest, check_numbers
from orchestrator.tuning.allocation import SHARES
from orchestrator.tuning.setup import Prepared, deadline_of, now, prepare_search, reopen_search
from orchestrator.tuning.trial_manager import RUN_ALONE, TrialManager
from results.errors import RunError
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder, write_atomically
from results.scores.leaderboard import leaderboard, rows_as_csv, settings_text
from trainables.data.splits import read_split

if TYPE_CHECKING:  # the engine imports Ray
    from orchestrator.tuning.ray_backend import Resources

INTERRUPTED = 130


def start_search(request: SearchRequest, *, address: str | None, console: Console, finish: bool) -> int:
    """Prepare and run a search; returns the exit code."""

    def prepare(connect_once: Callable[[], Connection]) -> Prepared:
        return prepare_search(request, connect_once, lambda text: print_message(console, text))

    return _run(prepare, resumed=None, address=address, console=console, finish=finish)


def resume_search(
    run: RunFolder, *, address: str | None, minutes: float | None, trials: int | None, console: Console
) -> int:
    """Go on with an interrupted search; returns the exit code."""
    check_numbers(("--minutes", minutes, 0.05), ("--trials", trials, 1))
    record = run.search()
    changes = {"minutes": minutes, "trials": trials}
    changed = record.model_copy(update={name: value for name, value in changes.items() if value is not None})

    def prepare(connect_once: Callable[[], Connection]) -> Prepared:
        if changed != record:
            run.write_search(changed)
        return reopen_search(run, connect_once, lambda text: print_message(console, text))

    return _run(prepare, resumed=run, address=address, console=console, finish=False)


def _run(
    prepare: Callable[[Callable[[], Connection]], Prepared],
    *,
    resumed: RunFolder | None,
    address: str | None,
    console: Console,
    finish: bool,
) -> int:
    connection: Connection | None = None

    def connect_once() -> Connection:
        nonlocal connection
        if connection is None:
            connection = connect(address)
            print_message(console, connection.sentence)
        return connection

    try:
        with ExitStack() as stack:
            if resumed is not None:
                stack.enter_context(resumed.exclusive())
            prepared = prepare(connect_once)
            if resumed is None:
                stack.enter_context(prepared.run.exclusive())
            is_interrupted = _conduct(prepared, console, connection.machines if connection else ())
    finally:
        if connection is not None:
            disconnect(connection)
    return _close(prepared, console, is_interrupted=is_interrupted, finish=finish)


def _conduct(prepared: Prepared, console: Console, machines: tuple[Machine, ...]) -> bool:
    """Run the trials; returns True if Ctrl-C ended them."""
    from orchestrator.tuning.ray_backend import run_trials

    record, run = prepared.record, prepared.run
    progress = SearchProgress(
        task=record.task,
        name=record.name,
        data=record.source,
        trials=record.trials,
        minutes=record.minutes,
        workers=prepared.slots,
        is_synthetic=record.is_synthetic,
        metric=record.metric,
        split=record.split_name,
        already=run.records(),
        console=console,
    )
    log = TensorBoardLog(run.tensorboard, metric=record.metric, split=record.split_name)
    log.write_experiment(setting_columns({"model.backbone": record.backbones}))
    manager = TrialManager(
        run,
        record,
        prepared.policy,
        (TerminalWatcher(progress), TensorBoardWatcher(log)),
        deadline=deadline_of(record, now()),
        clock=now,
    )
    with progress:
        for sentence in _opening(prepared):
            progress.note(sentence)
        run_trials(manager, run, _resources(prepared, machines))
        if manager.is_stopping:
            progress.interrupted()
    return manager.is_stopping


def _resources(prepared: Prepared, machines: tuple[Machine, ...]) -> "Resources":
    """What trials are given: GPUs as measured, unless the user said how many GPUs a trial gets."""
    from orchestrator.tuning.ray_backend import Resources

    record, slots = prepared.record, prepared.slots
    is_measured = record.shares_gpus_as_measured
    if is_measured and machines:
        slots = trial_slots(
            sum(machine.cpus for machine in machines),
            sum(machine.gpus for machine in machines),
            cpus_per_trial=record.cpus_per_trial,
            gpus_per_trial=1 / SHARES,  # the smallest share that packing gives
            workers=record.workers,
            machines=machines,
        )
    return Resources(
        record.cpus_per_trial, record.gpus_per_trial, slots, machines=machines, is_measured=is_measured
    )


def _opening(prepared: Prepared) -> list[str]:
    if not prepared.recipes:
        return []
    return [f"first points: {', '.join(prepared.recipes)}"]


def _close(prepared: Prepared, console: Console, *, is_interrupted: bool, finish: bool) -> int:
    run, records = prepared.run, prepared.run.records()
    complete = [record for record in records if record.state == "complete"]
    if complete:
        write_atomically(run.leaderboard_file, rows_as_csv(leaderboard(run)))
        from orchestrator.reporting.best_trials import draw_best

        draw_best(run, prepared.record, complete)
    if complete and not is_interrupted:
        combine_recipes(run, prepared.record, complete, console)
    left = prepared.record.trials - len(records)
    commands = _next_commands(run, has_results=bool(complete), may_resume=is_interrupted and left > 0)
    console.print(_summary(run, prepared.record, records, commands), soft_wrap=True)
    if is_interrupted:
        return INTERRUPTED
    if not complete:
        raise RunError(_nothing_complete(_short(run.path), records))
    if finish:
        from orchestrator.cli.finish import finish_run

        finish_run(run, console)
    return 0


def _next_commands(run: RunFolder, *, has_results: bool, may_resume: bool) -> list[str]:
    place = _short(run.path)
    commands = [f"orchestrate resume {place}"] if may_resume else []
    if has_results:
        commands += [
            f"tensorboard --logdir {_short(run.path.parents[1])}",
            f"orchestrate leaderboard {place}",
            f"orchestrate ensemble {place}",
        ]
    return commands


def _summary(
    run: RunFolder, search: SearchRecord, records: list[TrialRecord], commands: list[str]
) -> RenderableType:
    complete = [record for record in records if record.state == "complete"]
    best = max(complete, key=lambda record: record.value or 0.0, default=None)
    images = count_images(read_split(run.split_file), search.classes)
    return closing_summary(
        records=records,
        metric=search.metric,
        best=None if best is None else (best.number, best.value or 0.0, settings_text(best.config)),
        saved=savings_message(savings_from_sharing(records, images)),
        folder=_short(run.path),
        commands=commands,
        split=search.split_name,
    )


def _nothing_complete(place: str, records: list[TrialRecord]) -> str:
    said = [
        (record.number, record.error.removeprefix(f"{RUN_ALONE}:\n").splitlines())
        for record in records
        if record.error
    ]
    # A traceback says what went wrong in its last line, Ray in its first.
    why = "".join(
        f"; trial {number} said: {(lines[0] if 'worker' in lines[0] else lines[-1])[:150]}"
        for number, lines in said[:1]
    )
    collapsed = sum(record.cause == "collapse" for record in records)
    how = f"{len(records)} ended"
    if collapsed:
        how += f", {collapsed} of them collapsed to a single class"
    advice = "Give the search more time (--minutes, --trial-minutes) or look at trials/*/record.json"
    if collapsed == len(records):
        advice = "Other class weights, another learning rate or another scaling may help"
    return f"no trial of {place} was completed ({how}){why}. {advice}"


def _short(path: Path) -> str:
    """The path as the user would type it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
