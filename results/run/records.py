"""Records of a search and of its trials: plain, frozen, free of NaN."""

import datetime
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat, field_validator, model_validator

from results.errors import RunError
from results.run.audit_record import AuditRecord
from results.run.earlier_versions import (
    lifted,
    renamed_cause,
    renamed_settings,
    with_metrics,
    with_pairs_as_searched,
)
from results.run.request_options import parse_request
from results.run.search_request import SearchRequest
from results.run.source_trial import SourceTrial
from results.run.split_labels import GROUPED, NAIVE, SplitName
from trainables.common.frozen import FrozenModel
from trainables.common.types import FloatArray, IntArray
from trainables.config.tasks import Task
from trainables.features.feature_use import FeatureUse
from trainables.training.cost import Cost

State = Literal["complete", "pruned", "failed"]
Cause = Literal[
    "pruner",  # it was worse than its peers at the same epoch
    "collapse",  # a fold gave every image the same score for too many epochs in a row
    "time_budget",  # the search ran out of time
    "nan",
    "exception",
    "out_of_memory",
    "lost_worker",  # its process died, or hung, several times
    "environment",  # a file, disk or folder that every trial needs was not as it should be
]
Ending = Literal[
    "exhausted",  # its space or sampler holds nothing else to try
    "study",  # all trials of the study that it shares with other searches have been handed out
    "time",  # the time of its last session was up
]

# What a trial's machine and hour decide: repeated with the same seed and one worker, all else is the same.
CIRCUMSTANCES: Final = frozenset({"wall_seconds", "epoch_seconds", "finished_at", "peak_bytes", "prefix"})


class OuterPlace(FrozenModel):
    """Place of a search in a nested one: it runs without an outer fold of another search.

    Attributes:
        run: Absolute path of the run folder of the outer search.
        fold: Outer fold that it does not see, 1-based.
        folds: Number of outer folds.
    """

    run: str
    fold: int = Field(ge=1)
    folds: int = Field(ge=2)


class RepeatPlace(FrozenModel):
    """Place of a search that trains the finalists of another search again.

    Attributes:
        run: Absolute path of the run folder of that search.
        repeat: Number of the repeat, 1-based.
        trials: Their trial numbers in that search, in the order of the trials here.
        digests: SHA-256 of their out-of-fold predictions in that search, in the same order; empty in runs of
            earlier versions, and where one could not be read.
        repeats: Number of repeats that were asked for when this one began; None in runs of earlier versions.
        finalists: Number of finalists that were asked for, of which there may be fewer; None likewise.
    """

    run: str
    repeat: int = Field(ge=1)
    trials: tuple[int, ...]
    digests: tuple[str, ...] = ()
    repeats: int | None = Field(default=None, ge=1)
    finalists: int | None = Field(default=None, ge=1)


class Termination(FrozenModel):
    """Why a search ended before its budget: it had less to gain than its folds can tell.

    Attributes:
        trials: Number of complete trials that the decision was made on.
        gain: Rise of the best value that half as many trials again are expected to bring, at most.
        noise: Standard error of the best trial's mean over folds.
    """

    trials: int
    gain: FiniteFloat
    noise: FiniteFloat

    @property
    def message(self) -> str:
        """The reason in a sentence."""
        return (
            f"half as many trials again are expected to gain {self.gain:.3f}, less than the noise of the "
            f"folds, {self.noise:.3f}"
        )


class SearchRecord(FrozenModel):
    """`search.yaml`: the request, and the facts that were found before the first trial.

    Attributes:
        request: Options as they were given, with absolute paths.
        command: Command line that started the search; empty for one that was started from Python.
        name: Name of the run.
        classes: Class names; the index is the label.
        label_codes: Name of the label codes, such as `pisa`, as given or as found in the data.
        source: Name of the data set.
        is_synthetic: True where the images are generated.
        fingerprint: Hash of images and labels.
        max_value: Pixel value that becomes 1.0, by the user, the files or the bits in use; None in the record
            of an earlier version, which took the largest of the number type.
        store: Folder of the stored data and features.
        metrics: Names of the metrics that the search optimises, the main one first.
        sampler: Name of the sampler that proposes configurations.
        pruner: Name of the pruner that stops trials; searches of earlier versions had no other.
        ranges: Smallest and largest possible value of each metric that the search optimises or requires
            something of; None for no bound. They are kept here so that records are checked without the code
            of a user's own metric.
        space_context: Facts that the conditions of the space depend on, as plain values.
        backbones: Backbones that took part.
        left_out: Backbone -> reason why it takes no part in this search.
        costs: Backbone -> what its passes and training steps cost when the search was started.
        weights: SHA-256 of each pretrained backbone's weights file; workers use no other.
        trial_minutes: Longest time of a single trial, in minutes.
        folds: Number of folds; 1 for a hold-out.
        holdout: Share of the rows outside the test part that is the validation part; None for folds.
        test_share: Share of the patients that is sealed for the test.
        naive_split: Images were split without regard to patients, so that scores are too high.
        split_digest: SHA-256 of the split, by which one that is made again is known to be the same; None in
            runs of earlier versions.
        gpus_per_trial: Number of GPUs that a trial starts with.
        shares_gpus_as_measured: A trial gets the share of a GPU that earlier trials of its kind needed;
            False if the user gave `gpus_per_trial`.
        start_from: Trial whose weights `model.weights=start` takes; the search has its folds and test part.
        type_from: Trial of mass_calcification whose predictions `model.type_input` takes; likewise.
        recipes: Names of the recipes that were tried first.
        registered: Kind -> names of the backbones, metrics or spaces of this search that the program which
            started it had registered in Python; another process must register them to use them.
        versions: Package -> version.
        started_at: Time of the start, with time zone.
        terminated: Why the terminator ended the search; None if it did not.
        ended: Why the search ended by itself with fewer trials than were asked for: `exhausted`, `study` or
            `time`; None while it runs, where the user or the terminator ended it, and in runs of earlier
            versions.
        audit: What the audit of the data found, without names of images and patients; None in runs of
            earlier versions, and where it was left out.
        outer: Place of the search in a nested one; None for a search of its own.
        repeat: Place among the repeats of another search's finalists; None for a search of its own.
        driver: Identity of this search among those that work on one study; empty for a study of its own.
        tried_elsewhere: Digest of what is known of configurations on other sets, of which the search tries
            what looks promising; empty for none, as in runs of earlier versions.
    """

    request: SearchRequest
    command: str = ""
    name: str
    classes: tuple[str, ...]
    label_codes: str
    source: str
    is_synthetic: bool
    fingerprint: str
    max_value: FiniteFloat | None = None
    store: str
    metrics: tuple[str, ...] = Field(min_length=1)
    sampler: str = "tpe"
    pruner: str = "halving"
    ranges: dict[str, tuple[FiniteFloat | None, FiniteFloat | None]] = Field(default={"auc": (0.0, 1.0)})
    space_context: dict[str, Any]
    backbones: tuple[str, ...]
    left_out: dict[str, str]
    costs: dict[str, Cost] = Field(default_factory=dict)
    weights: dict[str, str] = Field(default_factory=dict)
    trial_minutes: float
    folds: int
    holdout: float | None = None
    test_share: float
    naive_split: bool = False
    split_digest: str | None = None
    gpus_per_trial: float
    shares_gpus_as_measured: bool = False
    start_from: SourceTrial | None = None
    type_from: SourceTrial | None = None
    recipes: tuple[str, ...] = ()
    registered: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    versions: dict[str, str]
    started_at: datetime.datetime
    terminated: Termination | None = None
    ended: Ending | None = None
    audit: AuditRecord | None = None
    outer: OuterPlace | None = None
    repeat: RepeatPlace | None = None
    driver: str = ""
    tried_elsewhere: str = ""

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        found = with_pairs_as_searched(values if "request" in values else lifted(values))
        return with_metrics(found)

    @property
    def metric(self) -> str:
        """Metric that ranks the trials; the first of several."""
        return self.metrics[0]

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.request.task

    @property
    def study_name(self) -> str:
        """Name of the Optuna study in its storage: that of the search, or of the study of several."""
        return f"{self.task}/{self.request.study or self.name}"

    @property
    def task_definition(self) -> Task:
        """The task, as the search was started with it.

        Raises:
            UnknownNameError: If there is no built-in task of that name any more.
        """
        return self.request.task_definition

    def with_options(self, **changes: Any) -> "SearchRecord":
        """Return the record of the same search with other options.

        Raises:
            ConfigError: If a value is not allowed.
        """
        request = parse_request(self.request.model_dump() | changes)
        return self.model_copy(update={"request": request})

    @property
    def has_no_more(self) -> bool:
        """True if it ended since no trial was left to run, although it has fewer than were asked for."""
        return self.ended in ("exhausted", "study")

    @property
    def has_filled_its_time(self) -> bool:
        """True if it ended as it was to end: with its time, which it was given no number of trials for."""
        return self.ended == "time" and self.request.fills_its_time

    @property
    def data_location(self) -> tuple[Path, str]:
        """Folder of the stored data, and the fingerprint of the set in it."""
        return Path(self.store) / "data", self.fingerprint

    @property
    def split_name(self) -> SplitName:
        """Name of the kind of split, which scores of this search carry."""
        return NAIVE if self.naive_split else GROUPED


class TrialRecord(FrozenModel):
    """`trials/<number>/record.json`: the result of a trial. Written last, so its presence means it is whole.

    Attributes:
        number: Number of the trial in its search, from 0.
        state: `complete` after all its epochs or the best ones, `pruned` if it was ended early, or `failed`.
        cause: Reason of an end that was not its own; None if it ended by itself.
        config: The whole configuration, by dotted name.
        params: What the sampler chose, by the names of the space.
        recipe: Name of the recipe that the trial belongs to; `experience` for a configuration that was good
            on other sets (docs/adr/0044), empty for a proposal of the sampler and, in runs of earlier
            versions, also for those.
        value: Value of the (first) search metric at `best_epoch`; None if no epoch finished.
        values: Value of every metric that the search optimises or requires something of; empty in runs of
            earlier versions.
        best_epoch: 1-based epoch that was kept, chosen from the mean curve over folds.
        epochs: Number of epochs that were trained.
        fold_metrics: Metrics of each fold at `best_epoch`, in fold order.
        losses: Mean validation loss over folds of every epoch, as `training.checkpoint_metric` weighs it;
            empty for a classical model.
        collapsed_folds: 0-based folds that gave every image the same score at `best_epoch`; in runs of
            earlier versions, those that called every image the same class.
        prefix: Stored features that it read or computed; None if it had none.
        trained_parameters: Number of weights that trained, of one fold's model.
        wall_seconds: Seconds from its start to its end, features that it computed included.
        epoch_seconds: Mean seconds of an epoch of all folds, training and scoring, in the worker that ended
            it; of a closed-form head the seconds of its fit. None where no epoch ended there, and in runs of
            earlier versions.
        device: Device that it trained on, such as `cpu` or `cuda`.
        fingerprint: Fingerprint of the data that it was trained on.
        seed: Seed of initial weights, order and views; all trials of a search have the same (docs/adr/0013).
        error: Message and last lines of the traceback, for failed trials; also a remark if it was run again,
            or with less than it asked for since the time was up.
        has_weights: True while `folds/` holds the weights.
        predictions_digest: SHA-256 of its out-of-fold predictions, see `OutOfFold.digest`; None for trials
            without, and in runs of earlier versions.
        peak_bytes: Peak memory of the trial in bytes, on its GPU or, without one, on the machine; None if it
            was not measured.
        finished_at: Time of its end, with time zone.
    """

    number: int = Field(ge=0)
    state: State
    cause: Cause | None = None
    error: str | None = None
    config: dict[str, Any]
    params: dict[str, Any] = Field(default_factory=dict)
    recipe: str = ""
    value: FiniteFloat | None = None
    values: dict[str, FiniteFloat] = Field(default_factory=dict)
    best_epoch: int | None = None
    epochs: int = 0
    fold_metrics: tuple[dict[str, FiniteFloat], ...] = ()
    losses: tuple[FiniteFloat, ...] = ()
    collapsed_folds: tuple[int, ...] = ()
    prefix: FeatureUse | None = None
    trained_parameters: int | None = None
    wall_seconds: FiniteFloat = 0.0
    epoch_seconds: FiniteFloat | None = None
    device: str = "cpu"
    peak_bytes: int | None = None
    fingerprint: str
    seed: int
    has_weights: bool = False
    predictions_digest: str | None = None
    finished_at: datetime.datetime

    @field_validator("cause", mode="before")
    @classmethod
    def _cause_of_earlier_versions(cls, cause: Any) -> Any:
        return renamed_cause(cause)

    @field_validator("config", mode="before")
    @classmethod
    def _settings_of_earlier_versions(cls, config: Any) -> Any:
        return renamed_settings(config) if isinstance(config, dict) else config

    @property
    def scored_value(self) -> float:
        """`value` of a trial that has one, as every complete trial has.

        Raises:
            RunError: If it was never scored.
        """
        if self.value is None:
            raise RunError(f"trial {self.number} has no value: it is {self.state}, and no epoch was scored")
        return self.value

    @property
    def is_classical(self) -> bool:
        """True for a closed-form head: it is fitted once, and can be fitted again in a second."""
        return bool(self.config.get("classical.name", "none") != "none")

    @property
    def is_optimistic(self) -> bool:
        """True if held-out labels chose the epoch more freely than a mean loss does: its scores are too high.

        The epoch was chosen by the metric itself, or each of several folds kept its own.
        """
        if self.is_classical:
            return False
        keeps_own = self.config.get("training.early_stopping_scope") == "fold" and len(self.fold_metrics) != 1
        return keeps_own or self.config.get("training.checkpoint_metric") == "metric"

    @property
    def can_predict(self) -> bool:
        """True if the models of the folds are stored, or can be fitted again from data, split and seed."""
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
        probabilities: Class probabilities in [0, 1], shape (images, classes); rows sum to 1.
        trained_on: Number of training parts that the models learned from, where parts that were drawn take
            the place of folds; None for one of each fold.
        chosen_on: Number of drawn parts, each predicted by what was chosen and fitted on the others; None
            where nothing was.
    """

    ARRAYS: ClassVar = ("rows", "labels", "folds", "groups", "probabilities")

    rows: IntArray
    labels: IntArray
    folds: IntArray
    groups: NDArray[np.str_]
    probabilities: FloatArray
    trained_on: int | None = None
    chosen_on: int | None = None

    @property
    def training_parts(self) -> int:
        """Number of training parts that the models learned from; 1 for a hold-out, however it is cut."""
        return len(np.unique(self.folds)) if self.trained_on is None else self.trained_on

    @property
    def varying_parts(self) -> int:
        """Number of parts by which scores vary with what was learned on them; 1 where a single one was.

        Of training parts and of drawn parts the fewer, as they share less: an ensemble, or a choice among
        trials, that is made on a part of a hold-out varies with it, although its models have one training
        part.
        """
        return min((count for count in (self.training_parts, self.chosen_on or 1) if count > 1), default=1)

    @property
    def digest(self) -> str:
        """SHA-256 of all arrays with their types and shapes, however they are packed in a file."""
        found = hashlib.sha256()
        for name in self.ARRAYS:
            array = getattr(self, name)
            found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            found.update(array.tobytes())
        return found.hexdigest()

    def held_out(self) -> "OutOfFold":
        """Keep the images that some fold held out; those that a hold-out trains on have no prediction."""
        return self.where(self.folds >= 0)

    def where(self, images: NDArray[Any]) -> "OutOfFold":
        """Keep some images, given by a mask or by positions of shape (images,)."""
        return replace(self, **{name: getattr(self, name)[images] for name in self.ARRAYS})

    def in_parts(self, parts: IntArray) -> "OutOfFold":
        """Take parts as folds, of shape (images,), each predicted by what was chosen and fitted on others.

        The models' training parts stay as many as they are.
        """
        return replace(self, folds=parts, trained_on=self.training_parts, chosen_on=len(np.unique(parts)))
