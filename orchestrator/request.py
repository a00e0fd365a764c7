"""What the user asked for, and what can be checked of it before any data are read."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from trainables.config.feature_storage import FeatureStorage

from results.errors import RunError
from results.run.run_folder import RunFolder
from search_spaces.registry import space_named
from trainables.common.errors import ConfigError
from trainables.config.tasks import task_named
from trainables.models.registry import backbone_named

DEFAULT_FOLDS: Final = 4


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
        folds: Of the cross-validation; None for 4, unless `holdout` is given.
        holdout: Share of the patients outside the test part that is the one validation part; None cuts folds.
        naive_split: Split single images without regard to patients.
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
        recipes: Ids of recipes to try, and nothing else unless there are more trials; `all` tries all of the
            task's first; empty leaves it to the search.
        start_from: `RUN` or `RUN:TRIAL`: the finished trial that `model.weights=start` means.
        type_from: The same for a trial of mass_calcification that `model.type_input` means.
        process_per_fold: Run each fold of a trial in a process of its own.
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
    folds: int | None = None
    holdout: float | None = None
    naive_split: bool = False
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
    recipes: tuple[str, ...] = ()
    start_from: str | None = None
    type_from: str | None = None
    process_per_fold: bool = False
    command: str = ""

    @property
    def fold_count(self) -> int:
        """Number of folds; 1 for a hold-out."""
        if self.holdout is not None:
            return 1
        return DEFAULT_FOLDS if self.folds is None else self.folds


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
    if request.holdout is not None and request.folds is not None:
        raise ConfigError(
            f"--holdout {request.holdout:g} has one validation part and --folds {request.folds} has "
            f"{request.folds}: give one of the two"
        )
    if request.holdout is not None and not 0.0 < request.holdout <= 0.5:
        raise ConfigError(
            f"--holdout must lie above 0 and at most at 0.5, found {request.holdout:g}; 0.3 is 70/30"
        )
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


def typed_command(arguments: list[str]) -> str:
    """The command line, as it could be typed again."""
    return shlex.join(["orchestrate", *arguments])
