"""Records: what is kept of a search and of each trial. Plain, frozen, free of NaN."""

import datetime
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from results.run.split_labels import GROUPED, NAIVE, SplitName
from trainables.common.types import FloatArray, IntArray

State = Literal["complete", "pruned", "failed"]
Cause = Literal[
    "asha",  # the pruner stopped it: worse than its peers at the same epoch
    "collapse",  # a fold kept predicting one class
    "budget",  # the search ran out of time
    "nan",
    "exception",
    "out_of_memory",
    "lost_worker",
]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceTrial(_Record):
    """A finished trial of another run that a search builds on.

    Attributes:
        run: Its run folder, absolute.
        trial: Its number.
    """

    run: str
    trial: int


class SearchRecord(_Record):
    """`search.yaml`: what was asked.

    Attributes:
        data: What the user gave as `--data`; `phantom` for the embedded synthetic set.
        label_codes: How label numbers were read.
        is_synthetic: True where the images are generated.
        store: Folder of the materialised data and the stored prefixes.
        features: Number type of stored features; `off` computes them in memory for each trial.
        store_gb: Most that stored features may take on a node's disk; None for a rule.
        shared_store: Folder from which nodes copy features that others computed; None where there is none.
        metric: Name in `results.scores.metrics.METRICS` that the search maximises.
        weights: SHA-256 of each pretrained backbone's weights file; workers use no other.
        pins: Settings held fixed by `--set`.
        folds: Of the cross-validation; 1 for a hold-out.
        holdout: Share of the rows outside the test part that is the validation part; None for folds.
        naive_split: Images were split without regard to patients, so that scores are too high.
        space: Task name or `module:function` of the search space.
        space_context: What the space's conditions depend on, as plain values.
        left_out: Backbone -> why it has no part in this search.
        shares_gpus_as_measured: A trial gets the share of a GPU that trials of its kind were seen to need;
            False where the user gave `gpus_per_trial`.
        start_from: Trial whose weights `model.weights=start` means; folds and sealed test part are its too.
        type_from: Trial of mass_calcification whose prediction `model.type_input` means; the same holds.
        recipes: Recipes that were tried first.
        process_per_fold: Each fold of a trial runs in a process of its own.
    """

    task: str
    classes: tuple[str, ...]
    name: str
    data: str
    label_codes: str
    source: str
    is_synthetic: bool
    fingerprint: str
    store: str
    metric: str
    space: str
    space_context: dict[str, Any]
    pins: dict[str, Any]
    backbones: tuple[str, ...]
    left_out: dict[str, str]
    weights_dir: str | None
    weights: dict[str, str] = Field(default_factory=dict)
    trials: int
    minutes: float | None
    trial_minutes: float
    folds: int
    test_share: float
    seed: int
    workers: int | None
    cpus_per_trial: float
    gpus_per_trial: float
    shares_gpus_as_measured: bool = False
    epochs: int
    keep_weights: int
    study_storage: str | None
    command: str
    versions: dict[str, str]
    started_at: datetime.datetime
    features: Literal["float16", "float32", "off"] = "float16"
    store_gb: float | None = None
    shared_store: str | None = None
    holdout: float | None = None
    naive_split: bool = False
    start_from: SourceTrial | None = None
    type_from: SourceTrial | None = None
    recipes: tuple[str, ...] = ()
    process_per_fold: bool = False

    @property
    def split_name(self) -> SplitName:
        """What scores of this search are named after."""
        return NAIVE if self.naive_split else GROUPED


class PrefixUse(_Record):
    """How a trial fed its first trained layer.

    Attributes:
        kind: `stored views` (a frozen prefix, read from the store or kept in memory), `online pixels`, or
            `table columns`, which pass no net.
        stage: Last frozen stage, or None when there is none.
        views: Number of distinct views of each image that training could draw.
        computed: View files computed by this trial; the others were already there.
        read: View files read.
        rebuilt: View files that were damaged and were computed again; part of `computed`.
        fetched: View files copied from the shared store.
        computed_seconds: What computing took in this trial.
        seconds_per_image: What the frozen stages cost for one image in one view; known of stored features
            too, from the trial that computed them. 0 where it is not known.
        note: Why features were not stored; empty where nothing kept them from it.
    """

    kind: Literal["stored views", "online pixels", "table columns"]
    stage: str | None
    views: int
    computed: int
    read: int
    rebuilt: int = 0
    fetched: int = 0
    computed_seconds: FiniteFloat = 0.0
    seconds_per_image: FiniteFloat = 0.0
    note: str = ""


class TrialRecord(_Record):
    """`trials/<number>/record.json`: how a trial ended. Written last, so its presence means it is whole.

    Attributes:
        recipe: Recipe whose point it is; empty for what the sampler proposed.
        value: The search metric, mean over folds at `best_epoch`; None if no epoch finished.
        best_epoch: 1-based epoch that was kept, chosen from the mean curve over folds.
        fold_metrics: Metrics of each fold at `best_epoch`, in fold order.
        losses: Mean validation loss over folds of every epoch; empty for a classical model.
        collapsed_folds: 0-based folds that predicted a single class at `best_epoch`.
        error: Message and last lines of the traceback, for failed trials; also that a trial was run again.
        has_weights: True while `folds/` holds the weights.
        peak_bytes: Most memory that the trial held at once, of its GPU or, without one, of the machine; None
            where it was not measured.
    """

    number: int = Field(ge=0)
    state: State
    cause: Cause | None = None
    error: str | None = None
    config: dict[str, Any]
    params: dict[str, Any] = Field(default_factory=dict)
    recipe: str = ""
    value: FiniteFloat | None = None
    best_epoch: int | None = None
    epochs: int = 0
    fold_metrics: tuple[dict[str, FiniteFloat], ...] = ()
    losses: tuple[FiniteFloat, ...] = ()
    collapsed_folds: tuple[int, ...] = ()
    prefix: PrefixUse | None = None
    trained_parameters: int | None = None
    wall_seconds: FiniteFloat = 0.0
    device: str = "cpu"
    peak_bytes: int | None = None
    fingerprint: str
    seed: int
    has_weights: bool = False
    finished_at: datetime.datetime

    @property
    def is_classical(self) -> bool:
        """True for a classical model: it keeps no weights, since fitting it again takes no time."""
        return bool(self.config.get("classical.name", "none") != "none")

    @property
    def can_predict(self) -> bool:
        """True where the models of the folds are there, or can be had again from data, split and seed."""
        return self.state == "complete" and (self.has_weights or self.is_classical)


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Out-of-fold predictions of one trial: each row predicted by the model that did not train on it.

    Rows that no fold held out, such as those that a hold-out trains on, are not among them.

    Attributes:
        rows: Row of each image in the patch set, shape (images,).
        labels: Class indices, shape (images,).
        folds: 0-based fold that held the image out, shape (images,).
        groups: Patient (or image, without patients) of each row, shape (images,).
        probabilities: In [0, 1], shape (images, classes); rows sum to 1.
    """

    rows: IntArray
    labels: IntArray
    folds: IntArray
    groups: NDArray[np.str_]
    probabilities: FloatArray

    def held_out(self) -> "OutOfFold":
        """Keep the images that some fold held out; those that a hold-out trains on have no prediction."""
        kept = np.flatnonzero(self.folds >= 0)
        return OutOfFold(*(getattr(self, name)[kept] for name in self.__slots__))
