"""The preflight of a search, before it writes anything: data, split, machine, models and first points."""

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cluster.background import Connector
from orchestrator.audit.examined_set import ExaminedSet
from orchestrator.audit.stored_audits import audit_once
from orchestrator.preflight.asked_backbones import check_held, inventory_of
from orchestrator.preflight.compatibility import check_config, with_labels
from orchestrator.preflight.feasibility import (
    FeasibleModels,
    TrialBudget,
    about_short_limit,
    find_feasible_models,
    measure_costs,
)
from orchestrator.preflight.gpus_and_slots import gpus_per_trial, measured_on, trials_of
from orchestrator.preflight.initial_points import (
    LONGEST_SHARE,
    ConfigCheck,
    InitialPoints,
    about_earlier,
    about_slow_recipes,
    choose_initial_points,
)
from orchestrator.preflight.pricing import prices_of
from orchestrator.preflight.reasons import describe_feasible
from orchestrator.preflight.search_data import read_images, split_images, store_of
from orchestrator.preflight.unit_choices import (
    combinations_for,
    describe_units,
    heads_for,
    rarer_heads_for,
    sees_plain_images,
)
from orchestrator.preflight.warm_start import WarmStartSources, find_sources
from orchestrator.request import SearchRequest
from orchestrator.study.drawn_points import check_space
from orchestrator.study.method import asked_method
from orchestrator.study.price import Pricing
from results.run.audit_record import AuditRecord
from results.run.source_trial import SourceTrial
from results.run.split_labels import NAIVE_WARNING
from search_spaces.closed_form import SCALINGS
from search_spaces.context import SpaceContext
from search_spaces.enqueue import InitialPoint
from search_spaces.learned import learned_ranges
from search_spaces.registry import Space, space_for
from trainables.common.errors import ConfigError
from trainables.common.notify import Notify
from trainables.common.types import IntArray
from trainables.config.tasks import Task
from trainables.config.trial_config import TrialConfig
from trainables.data.outer_folds import cut_outer_folds
from trainables.data.patches import PatchSet, TaskRows, select_rows
from trainables.data.split_checks import split_warnings, trained_and_predicted
from trainables.data.split_record import TEST, Split
from trainables.data.training_data import training_data_of
from trainables.data.units import with_units
from trainables.models.weights import Inventory
from trainables.runtime.devices import device_of_trials, limit_torch_threads

_MEASURED_ELSEWHERE: Final = (
    "trials run on GPUs, and this machine has none that torch can use: what nets cost was measured on its "
    "CPU, which takes several times as long; nets that are left out for that take part with a larger "
    "--trial-minutes"
)


@dataclass(frozen=True, slots=True)
class Preflight:
    """Data, split, machine, feasible models and first points of a search.

    Attributes:
        request: Options of the search.
        task: Classification task.
        space: Search space.
        store: Folder of data and stored features, absolute.
        patch_set: The images.
        rows: Rows of the patch set that take part in the task.
        split: Folds and sealed test part.
        gpus_per_trial: Number of GPUs of a trial, a fraction if several share one.
        slots: Number of trials at once.
        trial_minutes: Longest time of a single trial, in minutes.
        inventory: Backbones with their weights.
        feasible: Backbones that fit the time budget on this machine, with their costs.
        initial_points: Configurations to try before the sampler proposes any.
        recipes: Names of the recipes: those that the user named, else those of the first points.
        points: The first points and others drawn from the space; all of them can run.
        start_from: Trial whose weights others start from; None without one.
        type_from: Trial that predicts the type of the finding; None without one.
        notes: Remarks from reading the data, in sentences.
        audit: What the audit of the data found; None where it was left out.
    """

    request: SearchRequest
    task: Task
    space: Space
    store: Path
    patch_set: PatchSet
    rows: TaskRows
    split: Split
    gpus_per_trial: float
    slots: int
    trial_minutes: float
    inventory: Inventory
    feasible: FeasibleModels
    initial_points: tuple[InitialPoint, ...]
    recipes: tuple[str, ...]
    points: tuple[TrialConfig, ...]
    start_from: SourceTrial | None
    type_from: SourceTrial | None
    notes: tuple[str, ...]
    audit: AuditRecord | None = None


def run_preflight(
    request: SearchRequest, connect: Connector, notify: Notify, *, waits_for_exports: bool = False
) -> Preflight:
    """Load, split, look for weights, measure costs, check the space. Writes to the store of data only.

    Args:
        request: Options of the search, checked by `check_request`.
        connect: Returns the machines for the trials, and may start or find a Ray for them; begun at the
            latest once the data are known to be good, before they are audited.
        notify: Function called with messages for the user.
        waits_for_exports: Spend seconds on exporting nets, to measure their passes as they run later.

    Raises:
        OrchestrateError: Whatever makes the search impossible, before any trial starts.
    """
    task, space = request.task_definition, space_for(request.task_definition, request.space)
    asked_method(request)
    first = choose_initial_points(request.recipes, task.name, space)
    check_held(request.fixed_params, first, is_table=task.takes_table, weights_dir=request.weights_dir)
    data = _read_data(request, task, notify)
    connect.begin()
    audit = _audited(request, task, data, notify)
    first = first.after(data.sources.points)
    trial_minutes = _longest_trial(request)
    inventory = inventory_of(
        data.sources.holding(request.fixed_params),
        first,
        is_table=data.patch_set.is_table,
        weights_dir=request.weights_dir,
        may_download=request.may_download,
    )
    limit_torch_threads(request.fewest_cpus)  # costs are measured as trials will run
    device = measured_on(gpus_per_trial(request, connect), is_own=connect.begin())
    measure = functools.partial(
        measure_costs,
        inventory,
        data.patch_set,
        store=data.store,
        waits_for=len(data.rows.rows) if waits_for_exports else 0,
    )
    costs = measure(device)
    connection = connect()
    gpus, slots = trials_of(request, connection)
    if device != (promised := measured_on(gpus, is_own=connection.is_own)):
        costs, device = measure(promised), promised
    if costs and device != device_of_trials(gpus):
        notify(_MEASURED_ELSEWHERE)
    heads = heads_for(request, task, is_table=data.patch_set.is_table)
    allows_plain = bool(heads) and sees_plain_images(request)
    budget = _trial_budget(request, data, first, trial_minutes, slots, allows_plain=allows_plain)
    feasible = find_feasible_models(inventory, costs, data.patch_set, device_of_trials(gpus), budget)
    _notify_all(notify, *describe_feasible(feasible))
    if not feasible.context.backbones:
        raise ConfigError(
            "no backbone is left to search; see the reasons above, and try --trial-minutes or --weights-dir"
        )
    training_data = data.sources.complete(training_data_of(data.patch_set, task, data.split, request.unit))
    found = with_labels(feasible.context, training_data)
    with_pairs = asks_for_pairs(request, first)
    if request.pairs:
        training_data.baselines()  # says why there are none
    context = found.model_copy(
        update={
            "has_pairs": found.has_pairs and with_pairs,
            "heads": heads,
            "rarer_heads": rarer_heads_for(heads, training_data),
            "scalings": SCALINGS,
            "combines": combinations_for(request, task),
            "ranges": dict(learned_ranges()),
        }
    )
    _notify_all(
        notify,
        f"backbones: {', '.join(context.backbones)}",
        *_about_pairs(found, request, with_pairs=with_pairs),
        *describe_units(training_data),
    )
    check = functools.partial(
        check_config, training_data=training_data, context=context, start=data.sources.start
    )
    price = prices_of(feasible, budget.counts)
    initial, points = _points(request, first.enlarging(context), space, context, check, price, notify)
    return Preflight(
        request=request,
        task=task,
        space=space,
        store=data.store,
        patch_set=data.patch_set,
        rows=data.rows,
        split=data.split,
        gpus_per_trial=gpus,
        slots=slots,
        trial_minutes=trial_minutes,
        inventory=inventory,
        feasible=dataclasses.replace(feasible, context=context),
        initial_points=tuple(initial),
        recipes=tuple(recipe.name for recipe in first.recipes)
        or tuple(dict.fromkeys(point.recipe for point in initial)),
        points=tuple(points),
        start_from=data.sources.start_from,
        type_from=data.sources.type_from,
        notes=data.notes,
        audit=audit,
    )


@dataclass(frozen=True, slots=True)
class _Data:
    """The data of a search, split."""

    store: Path
    patch_set: PatchSet
    rows: TaskRows
    split: Split
    folds: IntArray  # of each of the rows
    sources: WarmStartSources
    notes: tuple[str, ...]


def _read_data(request: SearchRequest, task: Task, notify: Notify) -> _Data:
    """Read the data, find the runs that the search builds on, and split."""
    store = store_of(request)
    patch_set, notes = read_images(request, notify)
    rows = select_rows(patch_set, task)
    sources = find_sources(request, patch_set, rows)
    split = split_images(request, patch_set, rows, sources=sources)
    folds = split.folds_of(rows)
    if request.outer is not None:
        of_units = with_units(patch_set, rows, request.unit, task)
        cut_outer_folds(of_units, split, task, folds=request.outer)  # says at once why there can be none
    described = _describe_split(rows, split, folds, task)
    _notify_all(
        notify,
        *notes,
        *_about_the_store(request),
        *sources.messages,
        described,
        *split_warnings(rows, split, task.classes),
    )
    return _Data(store, patch_set, rows, split, folds, sources, tuple(notes))


def _audited(request: SearchRequest, task: Task, data: _Data, notify: Notify) -> AuditRecord | None:
    """What the audit of the data finds, which refuses nothing; None where it is left out."""
    if not request.audit:
        return None
    audit = audit_once(ExaminedSet.of(data.patch_set, task, data.split), data.store)
    _notify_all(notify, *audit.lines())
    return audit


def _trial_budget(
    request: SearchRequest,
    data: _Data,
    first: InitialPoints,
    trial_minutes: float,
    slots: int,
    *,
    allows_plain: bool,
) -> TrialBudget:
    trained, predicted = trained_and_predicted(data.folds)
    return TrialBudget(
        images=len(data.rows.rows),
        training_images=int((data.folds != TEST).sum()),
        trained_an_epoch=trained,
        predicted_an_epoch=predicted,
        epochs=request.epochs,
        seconds=60.0 * trial_minutes,
        slots=slots,
        is_forced="model.backbone" in request.fixed_params or first.is_by_name,
        allows_plain=allows_plain,
    )


def _points(
    request: SearchRequest,
    first: InitialPoints,
    space: Space,
    context: SpaceContext,
    check: ConfigCheck,
    price: Pricing,
    notify: Notify,
) -> tuple[list[InitialPoint], list[TrialConfig]]:
    """Return the first points, and their configurations with more that are drawn from the space."""
    fixed = request.fixed_params
    longest = 60.0 * _longest_trial(request) * LONGEST_SHARE
    may_compare = first.is_all or asks_for_pairs(request, first)
    found = first.fitting(
        check if may_compare else functools.partial(_check_single, check),
        fixed,
        epochs=request.epochs,
        trials=request.most_trials,
        price=price,
        longest_seconds=longest,
    )
    if first.is_all:
        _notify_all(notify, *(f"recipe {name} is left out: {reason}" for name, reason in found.unfit.items()))
    _notify_all(notify, *about_earlier(first, found), *about_slow_recipes(found.slow, longest))
    points = [point.configure(fixed, epochs=request.epochs) for point in found.points]
    if not first.is_by_name or request.most_trials > len(points):
        points += check_space(space, context, fixed)
    for config in points:
        check(config)
    _notify_all(notify, *about_short_limit(points, price, request.minutes))
    return list(found.points), points


def _longest_trial(request: SearchRequest) -> float:
    """Longest time of a single trial, in minutes."""
    return request.trial_minutes or (max(0.5, request.minutes / 6) if request.minutes else 10.0)


def _notify_all(notify: Notify, *messages: str) -> None:
    for message in messages:
        notify(message)


def _about_the_store(request: SearchRequest) -> list[str]:
    if not request.shared_store or request.shared_store.is_dir():
        return []
    return [
        f"--shared-store {request.shared_store} is not there: this machine computes features for itself, and "
        "no search starts on several machines"
    ]


def asks_for_pairs(request: SearchRequest, first: InitialPoints) -> bool:
    """Tell whether models that need a healthy baseline of each image are wanted.

    Args:
        request: Options of the search: `pairs`, or a fixed `model.pair`.
        first: Points that the search tries first; a recipe of pairs that is named asks for them, too.
    """
    named = [point.settings for point in first.points] if first.is_by_name else []
    asked = [settings.get("model.pair", "none") != "none" for settings in (request.fixed_params, *named)]
    return request.pairs or any(asked)


def _check_single(check: ConfigCheck, config: TrialConfig) -> None:
    """Check a point that the search chose by itself: it may not ask for what people do not have."""
    if config.model.pair != "none":
        raise ConfigError("it compares images with healthy baselines, which --pairs asks for")
    check(config)


def _about_pairs(context: SpaceContext, request: SearchRequest, *, with_pairs: bool) -> list[str]:
    if not context.has_pairs or "model.pair" in request.fixed_params:
        return []
    if not with_pairs:
        return [
            "these data come in pairs; with --pairs trials may compare an image with its healthy baseline"
        ]
    return [
        "trials may compare an image with its healthy baseline, and such models ask for one when they predict"
    ]


def _describe_split(rows: TaskRows, split: Split, folds: IntArray, task: Task) -> str:
    training, test = rows.labels[folds != TEST], rows.labels[folds == TEST]
    what = "rows" if task.takes_table else "images"
    unit = "patients" if rows.is_grouped else f"{what} (no patient ids)"
    counts = ", ".join(f"{int((training == index).sum())} {name}" for index, name in enumerate(task.classes))
    groups = len(set(rows.groups[folds != TEST].tolist()))
    sealed = f"{len(test)} {what} sealed for the test" if len(test) else "no sealed test part"
    extra = 0 if rows.is_extra is None else int(rows.is_extra.sum())
    cut = f"in {split.folds} folds"
    if split.holdout is not None:
        cut = f"of which {int((folds == 0).sum())} {what} are held out for validation"
    if extra:
        cut += f", {extra} of them extra ones that every fold trains on and none scores"
    naive = f". {NAIVE_WARNING}" if split.is_naive else ""
    return f"split: {len(training)} {what} of {groups} {unit} {cut} ({counts}); {sealed}{naive}"
