"""Composes a search from its parts, and checks everything before a trial starts."""

import dataclasses
import functools
import importlib.metadata
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cluster.connect import Connection
from cluster.resources import trial_slots
from orchestrator.affordable import Afforded, Budget, afford
from orchestrator.building_on import find_sources
from orchestrator.first_points import FirstPoints, choose_first_points
from orchestrator.policy import StudyPolicy, check_space, open_study
from orchestrator.request import SearchRequest, check_request
from results.naming import NAIVE_SENTENCE
from results.records import SearchRecord, SourceTrial
from results.store import RunFolder
from search_spaces.context import SpaceContext
from search_spaces.points import FirstPoint
from search_spaces.registry import Space, space_named
from search_spaces.scratch import FREE_FORM
from trainables.config import TrialConfig
from trainables.data.patches import PatchSet, TaskRows, open_patch_set, select_rows
from trainables.data.sources import is_built_in, load_patch_set
from trainables.data.splits import TEST, Split, make_split, trained_and_predicted, write_split
from trainables.data.transforms import transform_spec
from trainables.devices import choose_device, limit_threads
from trainables.errors import ConfigError, DataError, OrchestrateError, UnknownNameError
from trainables.material import Material, prepare
from trainables.models.registry import DEFAULT_BACKBONES, backbone_named
from trainables.models.table import TABLE
from trainables.models.weights import Inventory, take_inventory
from trainables.tasks import TASKS, Task, task_named

Say = Callable[[str], None]
Connect = Callable[[], Connection]

METRIC: Final = "auc"
_TYPES: Final = ("none", "human", "probability", "hard")
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
        methods: Of the ensembles that recipes ask for.
    """

    run: RunFolder
    record: SearchRecord
    policy: StudyPolicy
    slots: int
    recipes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Survey:
    """What a search finds before it writes anything: the data, their split, the machine, what it can afford.

    Attributes:
        task: The question.
        space: What may vary.
        pins: Settings held fixed.
        store: Folder of data and stored features, absolute.
        patch_set: The images.
        rows: Those with a part in the task.
        split: Folds and sealed test part.
        gpus_per_trial: GPUs of a trial.
        slots: Trials at once.
        trial_minutes: Longest a single trial may take.
        inventory: Backbones with their weights.
        afforded: Backbones that this machine can afford, with what they cost.
        first: Points to try first.
        methods: Of the ensembles that recipes ask for.
        points: The first points and more, drawn from the space; all of them can run.
        start_from: Trial whose weights others start from.
        type_from: Trial that predicts the type of the finding.
        notes: What reading the data found out, in sentences.
    """

    task: Task
    space: Space
    pins: Mapping[str, Any]
    store: Path
    patch_set: PatchSet
    rows: TaskRows
    split: Split
    gpus_per_trial: float
    slots: int
    trial_minutes: float
    inventory: Inventory
    afforded: Afforded
    first: tuple[FirstPoint, ...]
    methods: tuple[str, ...]
    points: tuple[TrialConfig, ...]
    start_from: SourceTrial | None
    type_from: SourceTrial | None
    notes: tuple[str, ...]


def survey_search(request: SearchRequest, connect: Connect, say: Say) -> Survey:
    """Load, split, look for weights, measure costs, check the space. Writes to the store of data only.

    Args:
        request: What the user asked for, checked by `check_request`.
        connect: Starts, finds or only counts what will run the trials; called once the data are known to be
            good.
        say: Called with sentences for the user.

    Raises:
        OrchestrateError: Whatever makes the search impossible, before any trial starts.
    """
    pins = dict(request.pins or {})
    task, space = task_named(request.task), space_named(request.space or request.task)
    first = choose_first_points(request.recipes, task.name, space)
    store = (request.store or request.runs / ".store").resolve()
    patch_set, notes = load_patch_set(
        request.data, task=task, label_codes=request.label_codes, store=store, source=request.source
    )
    for note in notes:
        say(note)
    if request.shared_store and not request.shared_store.is_dir():
        say(f"--shared-store {request.shared_store} is not there: each node computes its own features")
    rows = select_rows(patch_set, task)
    sources = find_sources(request, patch_set.fingerprint)
    split = make_split(
        rows,
        fingerprint=patch_set.fingerprint,
        task=task.name,
        folds=request.fold_count,
        test_share=request.test_share,
        seed=request.seed,
        holdout=request.holdout,
        is_naive=request.naive_split,
        like=sources.split,
    )
    for sentence in sources.sentences:
        say(sentence)
    say(_describe_split(rows, split, task))
    gpus, slots = _machine(request, connect())
    trial_minutes = request.trial_minutes or (max(0.5, request.minutes / 6) if request.minutes else 10.0)
    inventory = take_inventory(
        _asked_backbones(pins, first, is_table=patch_set.is_table),
        weights_dir=request.weights_dir,
        may_download=request.may_download,
        is_random=pins.get("model.weights") == "random",
    )
    trained, predicted = trained_and_predicted(split.folds_of(rows))
    budget = Budget(
        images=len(rows.rows),
        training_images=int((split.folds_of(rows) != TEST).sum()),
        trained_an_epoch=trained,
        predicted_an_epoch=predicted,
        epochs=request.epochs,
        seconds=60.0 * trial_minutes,
        slots=slots,
        is_forced="model.backbone" in pins or first.is_by_name,
        exports=store / "onnx",
    )
    limit_threads(request.cpus_per_trial)  # costs are measured as trials will run
    afforded = afford(inventory, patch_set, choose_device(gpus), budget)
    for sentence in _left_out_sentences(afforded.left_out):
        say(sentence)
    context = afforded.context
    if not context.backbones:
        raise ConfigError(
            "no backbone is left to search; see the reasons above, and try --trial-minutes or --weights-dir"
        )
    say(f"backbones: {', '.join(context.backbones)}")
    material = sources.tell(prepare(patch_set, task, split))
    context = with_labels(context, material)
    check = functools.partial(check_config, material=material, context=context, start=sources.start)
    fitting, unfit = first.fitting(check, pins, epochs=request.epochs, trials=request.trials)
    if first.is_all:
        for name, reason in unfit.items():
            say(f"recipe {name} is left out: {reason}")
    points = [point.configure(pins, epochs=request.epochs) for point in fitting]
    if not first.is_by_name or request.trials > len(fitting):
        points += check_space(space, context, pins)
    for config in points:
        check(config)
    return Survey(
        task=task,
        space=space,
        pins=pins,
        store=store,
        patch_set=patch_set,
        rows=rows,
        split=split,
        gpus_per_trial=gpus,
        slots=slots,
        trial_minutes=trial_minutes,
        inventory=inventory,
        afforded=dataclasses.replace(afforded, context=context),
        first=tuple(fitting),
        methods=first.methods,
        points=tuple(points),
        start_from=sources.start_from,
        type_from=sources.type_from,
        notes=tuple(notes),
    )


def prepare_search(request: SearchRequest, connect: Connect, say: Say) -> Prepared:
    """Survey, then write the run folder.

    Args:
        request: What the user asked for.
        connect: Starts or finds the Ray that will run the trials; called once the data are known to be good.
        say: Called with sentences for the user.

    Raises:
        OrchestrateError: Whatever makes the search impossible, before any trial starts.
    """
    run = check_request(request)
    survey = survey_search(request, connect, say)
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
    return Prepared(run, record, policy, survey.slots, record.recipes, survey.methods)


def _search_record(request: SearchRequest, name: str, survey: Survey) -> SearchRecord:
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
        recipes=tuple(dict.fromkeys(point.recipe for point in survey.first)),
        process_per_fold=request.process_per_fold,
    )


def reopen_search(run: RunFolder, connect: Connect, say: Say) -> Prepared:
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


def open_policy(run: RunFolder, record: SearchRecord, space: Space, *, is_new: bool) -> StudyPolicy:
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
    return StudyPolicy(study, space, context, record.pins, trials=record.trials)


def check_config(
    config: TrialConfig, material: Material, context: SpaceContext, start: TrialConfig | None = None
) -> None:
    """Check that a configuration can be built for these images.

    Args:
        config: The trial.
        material: The training part.
        context: Of the search.
        start: Configuration of the trial that others start from.

    Raises:
        ConfigError: If not.
        UnknownNameError: If the cut does not exist.
    """
    patch_set = material.patch_set
    is_free_form = context.has_free_form and config.model.backbone.startswith(f"{FREE_FORM}:")
    if config.model.backbone not in context.backbones and not is_free_form:
        raise UnknownNameError("backbone of this search", config.model.backbone, context.backbones)
    if patch_set.is_table:
        _need_classical(config, patch_set)
        return
    backbone = backbone_named(config.model.backbone)
    backbone.plan(config.model)
    for is_test in (False, True):
        transform_spec(config, backbone, patch_set.images.shape[1:], patch_set.max_value, is_test=is_test)
    if config.model.pair != "none":
        material.baselines()
    material.known(config.model.type_input)
    if config.training.first_phase not in ("none", "head"):
        material.labels_of(task_named(config.training.first_phase))
    if config.model.weights == "start":
        _need_start(config, start)


def with_labels(context: SpaceContext, material: Material) -> SpaceContext:
    """Say what labels and pairs of these data let a space ask for."""
    return dataclasses.replace(
        context,
        has_pairs=_is_possible(material.baselines),
        types=tuple(name for name in _TYPES if _is_possible(functools.partial(material.known, name))),
        phases=tuple(
            name
            for name, task in TASKS.items()
            if len(task.classes) > material.classes
            and _is_possible(functools.partial(material.labels_of, task))
        ),
    )


def _is_possible(read: Callable[[], object]) -> bool:
    try:
        read()
    except OrchestrateError:
        return False
    return True


def _need_start(config: TrialConfig, start: TrialConfig | None) -> None:
    if start is None:
        raise ConfigError("model.weights=start needs a finished trial to start from: --start-from RUN")
    if start.model.backbone != config.model.backbone:
        raise ConfigError(
            f"the trial to start from has backbone {start.model.backbone}, this one {config.model.backbone}"
        )


def _need_classical(config: TrialConfig, patch_set: PatchSet) -> None:
    if config.classical.name == "none":
        raise ConfigError(
            f"{patch_set.source} is a table, which no net takes: leave classical.name to the space, or set "
            "it to a model such as svm"
        )


def _asked_backbones(pins: Mapping[str, Any], first: FirstPoints, *, is_table: bool) -> tuple[str, ...]:
    """Backbones that the held settings leave: nets without pretrained weights train in all their stages."""
    if is_table:
        return (TABLE.name,)
    if pins.get("model.backbone") == TABLE.name:
        raise ConfigError("model.backbone=table is for tables of measurements; these data are images")
    if "model.backbone" in pins:
        return (str(pins["model.backbone"]),)
    if first.is_by_name:
        return first.backbones
    if first.is_all:
        return tuple(dict.fromkeys((*DEFAULT_BACKBONES, *first.backbones)))
    if pins.get("model.trained_stages", "all") == "all":
        return DEFAULT_BACKBONES
    return tuple(name for name in DEFAULT_BACKBONES if backbone_named(name).has_imagenet_weights)


def _machine(request: SearchRequest, connection: Connection) -> tuple[float, int]:
    """GPUs of a trial, and trials at once."""
    gpus = request.gpus_per_trial
    if gpus is None:
        gpus = 0.25 if connection.gpus else 0.0
    slots = trial_slots(
        connection.cpus,
        connection.gpus,
        cpus_per_trial=request.cpus_per_trial,
        gpus_per_trial=gpus,
        workers=request.workers,
        machines=connection.machines,
    )
    return gpus, slots


def _left_out_sentences(left_out: Mapping[str, str]) -> list[str]:
    """One sentence a reason, with all backbones that share it."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        by_reason.setdefault(reason.replace(f" for {name}:", ":").replace(f"{name}*", "NAME*"), []).append(
            name
        )
    return [f"left out: {', '.join(names)}: {reason}" for reason, names in by_reason.items()]


def _describe_split(rows: TaskRows, split: Split, task: Task) -> str:
    folds = split.folds_of(rows)
    training, test = rows.labels[folds != TEST], rows.labels[folds == TEST]
    what = "rows" if task.takes_table else "images"
    unit = "patients" if rows.is_grouped else f"{what} (no patient ids)"
    counts = ", ".join(f"{int((training == index).sum())} {name}" for index, name in enumerate(task.classes))
    groups = len(set(rows.groups[folds != TEST].tolist()))
    sealed = f"{len(test)} {what} sealed for the test" if len(test) else "no sealed test part"
    cut = f"in {split.folds} folds"
    if split.holdout is not None:
        cut = f"of which {int((folds == 0).sum())} {what} are held out for validation"
    naive = f". {NAIVE_SENTENCE}" if split.is_naive else ""
    return f"split: {len(training)} {what} of {groups} {unit} {cut} ({counts}); {sealed}{naive}"


def deadline_of(record: SearchRecord, started: float) -> float | None:
    """Reading of `time.time()` at which the search is out of time; None without a budget."""
    return None if record.minutes is None else started + 60.0 * record.minutes


def now() -> float:
    """Seconds since the epoch."""
    return time.time()
