"""Every option of a search once, with its description, unit, range and default.

The command line, its help, `search.yaml`, the estimate of `orchestrate plan` and the reference page of the
documentation are made from these fields. A new option is a new field here, and the code that uses it.
`results.run.request_options` reads them and says what is allowed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from results.run.option import option
from trainables.common.errors import ConfigError
from trainables.common.seeds import LARGEST_SEED
from trainables.config.feature_storage import FeatureStorage
from trainables.config.task_file import check_own, named_after_task
from trainables.config.tasks import TASKS, LabelCodes, Task, UpperFolders
from trainables.config.unit_config import UnitName

DEFAULT_FOLDS: Final = 4
LEAST_MEMORY_GB: Final = 3.0  # the driver, Ray, and a worker that has read a small set of images


class SearchOptions(BaseModel):
    """Options of a search; frozen, and unknown names are refused.

    Attributes: see the descriptions of the fields, which are the documentation of the options.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    task: str = Field(
        description=f"question that the search answers: {', '.join(TASKS)}",
        json_schema_extra={"group": "task", "metavar": "TASK"},
    )
    own_task: Task | None = option(
        None,
        "a YAML file that defines tasks of your own (docs/how-to-tasks.md); TASK names one of them, and may "
        "be left out where it is the only one",
        group="task",
        flag="--task",
        metavar="FILE",
        shown_default="a built-in task",
        is_file=True,
    )

    data: str | None = option(
        None,
        "an .npz file, a folder of .npy tensors in the Pisa layout, a folder CLASS/FILE of images, a "
        "prepared set, a published collection as it is downloaded (orchestrate data prepare list), or "
        "phantom: synthetic patches; the task wisconsin has a table of its own",
        group="data",
        metavar="PATH",
        shown_default="phantom",
    )
    source: str | None = option(
        None,
        "name of the source that reads PATH (docs/how-to-data.md lists them)",
        group="data",
        shown_default="by what it is",
    )
    label_codes: LabelCodes | None = option(
        None, "what label numbers mean", group="data", shown_default="found out"
    )
    max_value: float | None = option(
        None,
        "largest value that a pixel can have, such as 4095 for 12 bits in 16 bit files",
        group="data",
        metavar="VALUE",
        gt=0.0,
        le=65535.0,
        shown_default="found out",
    )
    upper_folders: UpperFolders | None = option(
        None,
        "what folders above the class folders are: patients, or other, such as views or folds",
        group="data",
        shown_default="found out",
    )
    folds: int | None = option(
        None, "folds of the cross-validation", group="data", ge=2, shown_default=f"{DEFAULT_FOLDS}"
    )
    holdout: float | None = option(
        None,
        "instead of folds one validation part: this share of the patients that the test part leaves, in "
        "tenths or a simpler fraction",
        group="data",
        metavar="SHARE",
        gt=0.0,
        le=0.5,
        shown_default="folds",
        advice="0.3 is 70/30",
    )
    naive_split: bool = option(
        False,
        "split single images, whoever their patient is, to compare with scores that were made that way: they "
        "come out too high",
        group="data",
    )
    unit: UnitName = option(
        "image",
        "what is split, scored and predicted: single images, or breasts, exams or patients, whose images are "
        "combined (docs/how-to-units.md)",
        group="data",
    )
    test_share: float = option(
        0.2,
        "share of the patients sealed for the test, unless the data bring a test set",
        group="data",
        metavar="SHARE",
        ge=0.0,
        le=0.5,
        shown_default="0.2, or the recipe's",
    )
    audit: bool = option(
        True,
        "audit the data, once per set: copies, patients in two parts, shortcuts",
        group="data",
        flag="--no-audit",
        flag_description="do not look for copies, patients in two parts and shortcuts in the data",
    )
    seed: int = option(0, "seed of split, sampler and training", group="data", ge=0, le=LARGEST_SEED)
    split_seed: int | None = option(
        None,
        "seed of the split alone, so that searches with other seeds have the same folds",
        group="data",
        ge=0,
        le=LARGEST_SEED,
        shown_default="that of --seed",
    )

    trials: int | None = option(
        None,
        "number of trials",
        group="budget",
        ge=1,
        shown_default="the points of the recipes; else as many as --minutes has time for, or 24 without it",
    )
    minutes: float | None = option(
        None, "stop after this time", group="budget", unit="minutes", ge=0.05, shown_default="no limit"
    )
    trial_minutes: float | None = option(
        None,
        "longest time of a single trial",
        group="budget",
        unit="minutes",
        ge=0.05,
        shown_default="a sixth of --minutes and at least 0.5, else 10",
    )
    stall_minutes: float | None = option(
        None,
        "end workers without progress for so long",
        group="budget",
        unit="minutes",
        ge=0.5,
        shown_default="10",
    )
    epochs: int = option(
        30, "largest number of epochs of a trial", group="budget", ge=1, shown_default="30, or the recipes'"
    )

    terminator: bool = option(
        False,
        "end the search once half as many trials again are expected to gain less than the noise of the folds "
        "(one metric, two folds or more)",
        group="budget",
    )

    metrics: tuple[str, ...] = option(
        (),
        "metric that the search optimises; given several times, it looks for the trials that no other beats "
        "in all of them",
        group="search",
        flag="--metric",
        metavar="NAME",
        shown_default="that of the task",
    )
    requirements: tuple[str, ...] = option(
        (),
        "what a trial must reach to be chosen, such as 'recall>=0.9'; may be repeated",
        group="search",
        flag="--require",
        metavar="METRIC>=VALUE",
    )
    comparisons: tuple[str, ...] = option(
        (),
        "two models whose comparison is asked for before the search, such as best:best_single; `orchestrate "
        "compare` marks it; may be repeated",
        group="search",
        flag="--compare",
        metavar="MODEL:MODEL",
    )
    max_ms: float | None = option(
        None,
        "longest time of one image on one core of the machine that searches, measured on the exported graph: "
        "--require 'ms_per_image<=MS'",
        group="search",
        metavar="MS",
        unit="milliseconds",
        gt=0.0,
        shown_default="any",
    )
    outer: int | None = option(
        None,
        "then run the whole search once more without each of this many parts of the patients, to tell what "
        "it is worth on patients that it has not seen (docs/how-to-nested.md)",
        group="search",
        metavar="K",
        ge=2,
        shown_default="no nested search",
    )
    repeats: int | None = option(
        None,
        "then train the three best trials again this many times with other seeds and folds, to tell how much "
        "of the ranking is theirs (docs/how-to-nested.md)",
        group="search",
        metavar="N",
        ge=1,
        shown_default="no repeats",
    )
    sampler: str = option(
        "tpe",
        "what proposes configurations, or a function of your own",
        group="search",
        metavar="NAME|MODULE:FUNCTION",
    )
    pruner: str | None = option(
        None,
        "what stops trials that are worse than others, or a function of your own",
        group="search",
        metavar="NAME|MODULE:FUNCTION",
        shown_default="halving; none with several metrics",
    )

    space: str | None = option(
        None,
        "a search space of your own",
        group="space",
        metavar="MODULE:FUNCTION",
        shown_default="the task's",
    )
    fixed_params: dict[str, Any] = option(
        {},
        "hold a setting fixed, such as optimizer.name=adam; may be repeated",
        group="space",
        flag="--set",
        metavar="NAME=VALUE",
        shown_default="none",
    )
    pairs: bool = option(
        False,
        "let trials compare each image with its healthy baseline, which the data must bring; such a model "
        "asks for a baseline of every image that it predicts",
        group="space",
        shown_default="no, unless a recipe of pairs is named",
    )
    weights_dir: Path | None = option(
        None, "folder of state dicts named after their backbones", group="space", metavar="PATH"
    )
    may_download: bool = option(
        True,
        "download pretrained weights that are missing",
        group="space",
        flag="--offline",
        flag_description="never download pretrained weights",
    )

    workers: int | None = option(
        None, "trials at once", group="machine", ge=1, shown_default="as many as fit"
    )
    cpus_per_trial: float | None = option(
        None,
        "CPU cores of a trial",
        group="machine",
        ge=0.0,
        shown_default="1, more where fewer trials run at once than there are cores",
    )
    gpus_per_trial: float | None = option(
        None,
        "GPUs of a trial; less than 1 shares a GPU",
        group="machine",
        ge=0.0,
        shown_default="as measured where there is a GPU",
    )
    memory_gb: float | None = option(
        None,
        "memory of this machine that the search may use: no more trials run at once than fit into it, as "
        "estimated at first and then as measured; a cluster that runs already has what `ray start --memory` "
        "says instead",
        group="machine",
        metavar="N",
        unit="10^9 bytes",
        ge=LEAST_MEMORY_GB,
        shown_default="no limit",
    )
    nice: bool = option(
        False,
        "leave the CPUs to other programs: workers of a Ray of the search's own run at niceness 15",
        group="machine",
    )
    wait_minutes: float = option(
        30.0,
        "longest wait for room on a full disk, or for a database that does not answer; then the search ends, "
        "and can be resumed",
        group="machine",
        unit="minutes",
        ge=0.0,
    )
    process_per_fold: bool = option(
        False,
        "train the folds of a trial one after the other, each in a process that takes its memory along when "
        "it ends: slower, for models that hardly fit",
        group="machine",
    )

    recipes: tuple[str, ...] = option(
        (),
        "run an experiment of the catalogue (orchestrate recipes list) and nothing else, unless --trials "
        "asks for more; may be repeated; `all` tries all of the task's first",
        group="reuse",
        flag="--recipe",
        metavar="ID",
        shown_default="the best that fit: at most eight, in at most half of the trials",
    )
    start_from: str | None = option(
        None,
        "search to go on from, also when data have grown: its best trials are tried first, this or the best "
        "one gives the weights of model.weights=start, and patients stay in the folds and the sealed part "
        "that they had",
        group="reuse",
        metavar="RUN[:TRIAL]",
    )
    type_from: str | None = option(
        None,
        "finished trial of mass_calcification whose prediction model.type_input takes in",
        group="reuse",
        metavar="RUN[:TRIAL]",
    )

    name: str | None = option(
        None, "the run folder becomes RUNS/TASK/NAME", group="output", shown_default="the time of day"
    )
    runs: Path = option(Path("runs"), "folder of all runs", group="output", metavar="PATH")
    store: Path | None = option(
        None,
        "folder of stored data and features",
        group="output",
        metavar="PATH",
        shown_default="RUNS/.store",
    )
    features: FeatureStorage = option(
        "float16",
        "how features of frozen layers are stored; off computes them in memory for each trial",
        group="output",
    )
    store_gb: float | None = option(
        None,
        "most that stored features may take on a node's disk",
        group="output",
        metavar="N",
        unit="10^9 bytes",
        ge=0.0,
        shown_default="200, or 80 % of what is free",
    )
    disk_gb: float | None = option(
        None,
        "most that the runs, the store and all checkpoints may take together on the disk; beyond it weights "
        "of losing trials and features go, and then the search waits",
        group="output",
        metavar="N",
        unit="10^9 bytes",
        gt=0.0,
        shown_default="no limit",
    )
    shared_store: Path | None = option(
        None,
        "folder that all nodes see: what one has computed, the others copy",
        group="output",
        metavar="PATH",
    )
    study_storage: str | None = option(
        None,
        "a database for the study: sqlite, postgresql, mysql or journal://... (docs/how-to-storage.md); the "
        "environment variable ORCHESTRATE_STUDY_PASSWORD holds its password",
        group="output",
        metavar="URL",
        shown_default="a journal file",
    )
    study: str | None = option(
        None,
        "a study in --study-storage that several searches work on, each with a run folder of its own: the "
        "first one makes it, the others join it, and --trials counts the trials of all",
        group="output",
        metavar="NAME",
        shown_default="one of this search alone",
    )
    results: str | None = option(
        None, "copy the run folder to a storage, such as s3://bucket/path", group="output", metavar="URI"
    )
    pictures: bool = option(
        True,
        "draw the worst mistakes of the best trials, which are images of patients, for TensorBoard",
        group="output",
        flag="--no-pictures",
        flag_description="leave images of patients out of TensorBoard",
    )
    keep_weights: int = option(16, "number of best trials whose weights stay", group="output", ge=1)
    track: tuple[str, ...] = option(
        (),
        "log the search to mlflow or wandb, too, with a run below it for each trial (docs/how-to-report.md); "
        "may be repeated",
        group="output",
        metavar="NAME",
        shown_default="none",
    )

    @model_validator(mode="before")
    @classmethod
    def _named_after_its_task(cls, values: Any) -> Any:
        """Let a task itself be given as `task`, and name the search after an own task."""
        if not isinstance(values, Mapping):
            return values
        return named_after_task(values)

    @model_validator(mode="after")
    def _is_of_its_own_task(self) -> Self:
        if self.own_task is not None and check_own(self.own_task).name != self.task:
            raise ConfigError(
                f"--task defines {self.own_task.name}, but the search is of {self.task}: name one task"
            )
        return self
