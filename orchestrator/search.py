"""Composes a search from its parts, and checks everything before a trial starts."""

import importlib.metadata
import shlex
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
from orchestrator.policy import StudyPolicy, check_space, open_study
from results.errors import RunError
from results.records import SearchRecord
from results.store import RunFolder
from search_spaces.context import SpaceContext
from search_spaces.registry import Space, space_named
from trainables.config import TrialConfig
from trainables.data.patches import PatchSet, TaskRows, open_patch_set, select_rows
from trainables.data.sources import load_patch_set
from trainables.data.splits import TEST, Split, make_split, write_split
from trainables.data.transforms import transform_spec
from trainables.devices import choose_device, limit_threads
from trainables.errors import ConfigError, DataError, UnknownNameError
from trainables.models.registry import DEFAULT_BACKBONES, backbone_named
from trainables.models.weights import Inventory, take_inventory
from trainables.prefix.keys import FeatureStorage
from trainables.tasks import Task, task_named

Say = Callable[[str], None]
Connect = Callable[[], Connection]

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
class SearchRequest:
    """What the user asked for.

    Attributes:
        task: Name of the task.
        data: Path, or `phantom`.
        source: How to read the path; None to find out.
        label_codes: What label numbers mean; None to find out.
        name: Of the run; None takes the time of day.
        runs: Folder of all runs.
        store: Folder of data and stored features; None puts it below `runs`.
        features: Number type of stored features; `off` stores none.
        store_gb: Most that stored features may take on a node's disk; None for a rule.
        shared_store: Folder from which nodes copy features that others computed.
        space: Task name or `module:function`; None takes the task's.
        pins: Settings held fixed.
        trials: Number of trials.
        minutes: Time budget; None for no limit.
        trial_minutes: Longest a single trial may take; None derives it from `minutes`.
        folds: Of the cross-validation.
        test_share: Share of the patients sealed for the test.
        seed: Of split, sampler and training.
        epochs: Largest number of epochs of a trial.
        workers: Trials at once; None for as many as the machine holds.
        cpus_per_trial: CPU cores of a trial.
        gpus_per_trial: GPUs of a trial; None for a quarter where there is one.
        weights_dir: Folder of pretrained weights.
        may_download: Whether torchvision may download weights.
        keep_weights: Best trials whose weights stay.
        study_storage: Any Optuna storage URL; None for a journal in the run folder.
        command: As typed.
    """

    task: str
    data: str = "phantom"
    source: str | None = None
    label_codes: Any = None
    name: str | None = None
    runs: Path = Path("runs")
    store: Path | None = None
    features: FeatureStorage = "float16"
    store_gb: float | None = None
    shared_store: Path | None = None
    space: str | None = None
    pins: Mapping[str, Any] | None = None
    trials: int = 24
    minutes: float | None = None
    trial_minutes: float | None = None
    folds: int = 4
    test_share: float = 0.2
    seed: int = 0
    epochs: int = 30
    workers: int | None = None
    cpus_per_trial: float = 1.0
    gpus_per_trial: float | None = None
    weights_dir: Path | None = None
    may_download: bool = True
    keep_weights: int = 12
    study_storage: str | None = None
    command: str = ""


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
    policy: StudyPolicy
    slots: int
    recipes: tuple[str, ...]


def check_request(request: SearchRequest) -> RunFolder:
    """Check what can be checked without reading data, and name the run folder.

    Raises:
        OrchestrateError: On an unknown task or space, numbers out of range, or a run folder that exists.
    """
    task_named(request.task)
    space_named(request.space or request.task)
    check_numbers(
        ("--trials", request.trials, 1),
        ("--folds", request.folds, 2),
        ("--epochs", request.epochs, 1),
        ("--keep-weights", request.keep_weights, 1),
        ("--minutes", request.minutes, 0.05),
        ("--trial-minutes", request.trial_minutes, 0.05),
        ("--workers", request.workers, 1),
        ("--store-gb", request.store_gb, 0),
    )
    if not 0.0 <= request.test_share <= 0.5:
        raise ConfigError(f"--test-share must lie between 0 and 0.5, found {request.test_share}")
    if request.weights_dir is not None and not request.weights_dir.is_dir():
        raise ConfigError(f"--weights-dir {request.weights_dir} is no folder")
    pinned = (request.pins or {}).get("model.backbone")
    if pinned is not None:
        backbone_named(str(pinned))
    name = request.name or datetime.now().strftime("%Y%m%d-%H%M%S")
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name.startswith("."):
        raise ConfigError(f"--name {name!r}: letters, digits, dots, dashes and underscores only")
    run = RunFolder(request.runs / request.task / name)
    if run.path.exists():
        raise RunError(
            f"run folder {run.path} exists and is left as it is; give another --name, or go on with: "
            f"orchestrate resume {run.path}"
        )
    return run


def check_numbers(*checks: tuple[str, float | None, float]) -> None:
    """Check options that have a lowest value: (name, value or None, lowest).

    Raises:
        ConfigError: If a value is lower, or no number.
    """
    for name, value, lowest in checks:
        if value is not None and not value >= lowest:
            raise ConfigError(f"{name} must be at least {lowest}, found {value}")


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
        points: Configurations drawn from the space, its fitting recipes first; all of them can run.
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
    points: tuple[TrialConfig, ...]
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
    store = (request.store or request.runs / ".store").resolve()
    patch_set, notes = load_patch_set(
        request.data, task=task, label_codes=request.label_codes, store=store, source=request.source
    )
    for note in notes:
        say(note)
    if request.shared_store and not request.shared_store.is_dir():
        say(f"--shared-store {request.shared_store} is not there: each node computes its own features")
    rows = select_rows(patch_set, task)
    split = make_split(
        rows,
        fingerprint=patch_set.fingerprint,
        task=task.name,
        folds=request.folds,
        test_share=request.test_share,
        seed=request.seed,
    )
    say(_describe_split(rows, split, task.classes))
    gpus, slots = _machine(request, connect())
    trial_minutes = request.trial_minutes or (max(0.5, request.minutes / 6) if request.minutes else 10.0)
    inventory = take_inventory(
        _asked_backbones(pins),
        weights_dir=request.weights_dir,
        may_download=request.may_download,
        is_random=pins.get("model.weights") == "random",
    )
    budget = Budget(
        images=len(rows.rows),
        training_images=int((split.fold_of(rows.groups) != TEST).sum()),
        folds=request.folds,
        epochs=request.epochs,
        seconds=60.0 * trial_minutes,
        slots=slots,
        is_forced="model.backbone" in pins,
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
    points = check_space(space, context, pins)
    for config in points:
        check_config(config, patch_set, context)
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
        afforded=afforded,
        points=tuple(points),
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
        recipes = policy.enqueue_recipes()
        run.write_search(record)
    except BaseException:
        shutil.rmtree(run.path)  # half a run folder can be neither used nor resumed
        raise
    return Prepared(run, record, policy, survey.slots, tuple(recipes))


def _search_record(request: SearchRequest, name: str, survey: Survey) -> SearchRecord:
    """What is written down of a request and its survey."""
    context, patch_set = survey.afforded.context, survey.patch_set
    return SearchRecord(
        task=survey.task.name,
        classes=survey.task.classes,
        name=name,
        data=request.data if request.data.startswith("phantom") else str(Path(request.data).resolve()),
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
        folds=request.folds,
        test_share=request.test_share,
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
    return Prepared(run, record, policy, slots, ())


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


def check_config(config: TrialConfig, patch_set: PatchSet, context: SpaceContext) -> None:
    """Check that a configuration can be built for these images.

    Raises:
        ConfigError: If not.
        UnknownNameError: If the cut does not exist.
    """
    if config.model.backbone not in context.backbones:
        raise UnknownNameError("backbone of this search", config.model.backbone, context.backbones)
    backbone = backbone_named(config.model.backbone)
    backbone.plan(config.model)
    for is_test in (False, True):
        transform_spec(config, backbone, patch_set.images.shape[1:], patch_set.max_value, is_test=is_test)


def _asked_backbones(pins: Mapping[str, Any]) -> tuple[str, ...]:
    """Backbones that the held settings leave: nets without pretrained weights train in all their stages."""
    if "model.backbone" in pins:
        return (str(pins["model.backbone"]),)
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


def _describe_split(rows: TaskRows, split: Split, classes: tuple[str, ...]) -> str:
    folds = split.fold_of(rows.groups)
    training, test = rows.labels[folds != TEST], rows.labels[folds == TEST]
    unit = "patients" if rows.is_grouped else "images (no patient ids)"
    counts = ", ".join(f"{int((training == index).sum())} {name}" for index, name in enumerate(classes))
    groups = len(set(rows.groups[folds != TEST].tolist()))
    sealed = f"{len(test)} images sealed for the test" if len(test) else "no sealed test part"
    return f"split: {len(training)} images of {groups} {unit} in {split.folds} folds ({counts}); {sealed}"


def typed_command(arguments: list[str]) -> str:
    """The command line, as it could be typed again."""
    return shlex.join(["orchestrate", *arguments])


def deadline_of(record: SearchRecord, started: float) -> float | None:
    """Reading of `time.time()` at which the search is out of time; None without a budget."""
    return None if record.minutes is None else started + 60.0 * record.minutes


def now() -> float:
    """Seconds since the epoch."""
    return time.time()
