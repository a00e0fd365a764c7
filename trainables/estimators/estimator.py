"""An estimator of the registry, and the rows that it is fitted on."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainables.common.types import Float32Array, Float64Array, IntArray
from trainables.config.trial_config import TrialConfig
from trainables.estimators.fitted import FittedEstimator


@dataclass(frozen=True, slots=True)
class Whole:
    """The rows of all folds, of which those of one fold were drawn; work on them serves each fold.

    Attributes:
        inputs: Features, float32, shape (all rows, D).
        key: Name of exactly these inputs.
        places: Place of each row of the fold among all, shape (rows,).
    """

    inputs: Float32Array
    key: str
    places: IntArray


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that an estimator is fitted on; a row that was drawn twice is there twice.

    Attributes:
        inputs: Features, float32, shape (rows, D).
        labels: Class indices, shape (rows,).
        groups: Patient of each row, shape (rows,).
        classes: Number of classes; some may have no row.
        class_weights: Weight of each class in the loss, shape (classes,).
        key: Name of exactly these inputs, under which work on them is remembered for later fits in this
            process; empty remembers nothing.
        units: Unit of each row, such as its breast, any whole numbers, shape (rows,); None for single images.
        shares: Share of a whole row that each row is, in (0, 1], shape (rows,); None for whole ones. A row
            that is learned as two classes is there once for each.
        whole: What the rows were drawn from; None if that is not known.
    """

    inputs: Float32Array
    labels: IntArray
    groups: NDArray[np.str_]
    classes: int
    class_weights: Float64Array
    key: str = ""
    units: IntArray | None = None
    shares: Float64Array | None = None
    whole: Whole | None = None

    @property
    def weights(self) -> Float64Array:
        """Weight of each row, shape (rows,)."""
        weights: Float64Array = self.class_weights[self.labels]
        return weights if self.shares is None else weights * self.shares

    @property
    def present(self) -> IntArray:
        """Classes that have rows, ascending."""
        return np.unique(self.labels)


Fit = Callable[[TrialConfig, Rows, int], FittedEstimator]


@dataclass(frozen=True, slots=True)
class Estimator:
    """An estimator of the registry.

    Attributes:
        name: Name that the user types, `classical.name`.
        about: Description in a few words.
        fit: Fits it on rows with the settings of a trial and a seed.
        settings: Settings in `classical` that it uses, besides `standardize` and `pca`.
        weighs_classes: True if it follows `training.class_weight`.
        is_random: True if it guesses at random, so that its predictions are no function of the image.
        weighs_units: True if it weighs the images of a unit; it is for units and two classes alone.
        weighs_rows: True if it follows the weight of each row, so that it can learn shares of classes.
        learns_one_class: True if rows of a single class say what it predicts, as shares of classes do.
    """

    name: str
    about: str
    fit: Fit
    settings: tuple[str, ...] = ()
    weighs_classes: bool = True
    is_random: bool = False
    weighs_units: bool = False
    weighs_rows: bool = False
    learns_one_class: bool = False
