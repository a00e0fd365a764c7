"""Training part of a data set, the data that a trial trains and validates on."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import ConfigError
from trainables.common.types import Float64Array, IntArray
from trainables.config.tasks import LEFT_OUT, TASKS, Task
from trainables.config.unit_config import UnitName
from trainables.data.patches import PatchSet, select_rows
from trainables.data.split_record import TEST, Split
from trainables.data.units import ScoredRows, check_whole, scored_units, units_of


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Training part of a data set; it does not contain the sealed test part.

    Attributes:
        patch_set: Images, or a table, of the whole data set.
        task_rows: Rows that have a part in the task, test rows included; features are stored for all of them.
        positions: Indices of the training part in `task_rows`, shape (images,).
        labels: Class indices of the training part, shape (images,).
        groups: Patients of the training part, shape (images,).
        folds: 0-based fold of each image of the training part, or `TRAINING`, shape (images,).
        classes: Number of classes.
        type_probability: Out-of-fold predictions of a finished trial for the training part: probability of a
            calcification rather than a mass, shape (images,); None without such a trial.
        unit: What is scored: single images, or the breasts, exams or patients that they belong to.
        units: 0-based unit of each image of the training part, shape (images,); None for single images.
        soft_targets: Share of each class that the models of each fold learn in place of the label, shape
            (folds, images, classes), with one fold where none is held out; None for labels. What they are
            scored on are the labels all the same.
    """

    patch_set: PatchSet
    task_rows: IntArray
    positions: IntArray
    labels: IntArray
    groups: NDArray[np.str_]
    folds: IntArray
    classes: int
    type_probability: Float64Array | None = None
    unit: UnitName = "image"
    units: IntArray | None = None
    soft_targets: Float64Array | None = None

    @property
    def rows(self) -> IntArray:
        """Rows of the training part in the patch set, shape (images,)."""
        return self.task_rows[self.positions]

    @property
    def scored(self) -> ScoredRows:
        """What scores are computed on: the images of the training part, or the units of its held-out ones."""
        return scored_units(self.rows, self.labels, self.folds, self.groups, self.units)

    def without_fold(self, fold: int) -> "TrainingData":
        """The training part without the images that a fold holds out; the other folds keep their order.

        Raises:
            ConfigError: If that leaves fewer than two folds.
        """
        kept = np.flatnonzero(self.folds != fold)
        folds = np.where(self.folds > fold, self.folds - 1, self.folds)[kept]
        if folds.max() < 1:
            raise ConfigError(
                "without one of its folds a split needs two or more; search with 3 folds or more"
            )
        types, units = self.type_probability, self.units
        return replace(
            self,
            positions=self.positions[kept],
            labels=self.labels[kept],
            groups=self.groups[kept],
            folds=folds,
            type_probability=None if types is None else types[kept],
            units=None if units is None else units[kept],
        )

    def baselines(self) -> IntArray:
        """Row of the healthy baseline of each of `task_rows`, same shape.

        Raises:
            ConfigError: If a row has no baseline.
        """
        partners = self.patch_set.partners
        lacking = len(self.task_rows) if partners is None else int((partners[self.task_rows] < 0).sum())
        if partners is None or lacking:
            raise ConfigError(
                f"model.pair needs a healthy baseline for every image; {lacking} of {len(self.task_rows)} "
                f"images of {self.patch_set.source} have none. Set model.pair to none, or give data in pairs"
            )
        return np.asarray(partners[self.task_rows], dtype=np.int64)

    def labels_of(self, task: Task) -> IntArray:
        """Class indices of the training part under another task, shape (images,).

        Raises:
            ConfigError: If the labels do not determine that task's class for every image.
        """
        if self.patch_set.label_codes in ("task", "own"):
            raise ConfigError(
                f"task {task.name} needs labels in finding codes; those of {self.patch_set.source} are "
                "classes of one task"
            )
        labels = task.classify(self.patch_set.labels, self.patch_set.label_codes)[self.rows]
        if (labels == LEFT_OUT).any():
            raise ConfigError(
                f"task {task.name} says nothing about {int((labels == LEFT_OUT).sum())} of {len(labels)} "
                "images"
            )
        return labels

    def side_input(self, type_input: str) -> Float64Array | None:
        """Extra input of the head for each image of the training part, shape (images, 1); None for none.

        Args:
            type_input: Type of the finding as an input, with the values of `model.type_input`.

        Raises:
            ConfigError: If the type is not known.
        """
        if type_input == "none":
            return None
        if type_input == "human":
            kinds = self.labels_of(TASKS["mass_calcification"])
            self._check_types_do_not_tell_the_class(kinds)
            types = kinds.astype(np.float64)
        elif self.type_probability is None:
            raise ConfigError(
                f"model.type_input={type_input} needs a finished trial of mass_calcification: --type-from RUN"
            )
        else:
            types = self.type_probability.astype(np.float64)
        return (types.round() if type_input == "hard" else types)[:, None]

    def _check_types_do_not_tell_the_class(self, types: IntArray) -> None:
        """Refuse types that reveal the class, since the label itself would then be an input of the head.

        Raises:
            ConfigError: If each class has a single type, and there is more than one type.
        """
        of_class = [np.unique(types[self.labels == label]) for label in np.unique(self.labels)]
        if len(np.unique(types)) > 1 and all(len(own) == 1 for own in of_class):
            raise ConfigError(
                "model.type_input=human would give the class away: in these data each class has one type of "
                "finding. Set it to none"
            )


def training_data_of(patch_set: PatchSet, task: Task, split: Split, unit: UnitName = "image") -> TrainingData:
    """Take the training part of a patch set.

    Raises:
        SplitError: If the split was made for other data.
        DataError: If the set does not tell the units of its images, or the split cuts one.
    """
    split.check_fingerprint(patch_set.fingerprint)
    rows = select_rows(patch_set, task)
    folds = split.folds_of(rows)
    units = units_of(patch_set, rows, unit, task)
    if units is not None:
        check_whole(rows, units, folds, unit)
    positions = np.flatnonzero(folds != TEST)
    return TrainingData(
        patch_set=patch_set,
        task_rows=rows.rows,
        positions=positions,
        labels=rows.labels[positions],
        groups=rows.groups[positions],
        folds=folds[positions],
        classes=len(task.classes),
        unit=unit,
        units=None if units is None else units[positions],
    )
