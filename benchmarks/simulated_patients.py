"""Simulated patients for the benchmarks of the statistics: features whose best AUC is known.

Each patient has one image or several; images of a patient share a part of their noise. Models are logistic
regressions of scikit-learn, trained for each of four folds, so that predictions carry the noise of training.
"""

import warnings
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from results.run.records import OutOfFold
from results.scores.calibration import sigmoid
from trainables.common.types import FloatArray, IntArray

INFORMATIVE = 5  # features in which the classes differ


@dataclass(frozen=True, slots=True)
class World:
    """A population of patients and a way to train on them.

    Attributes:
        auc: AUC of the best possible score; 0.5 makes labels that nothing predicts.
        features: Number of features, of which five are informative.
        prevalence: Share of positive patients.
        penalty: C of the logistic regression; small values give small logits.
        images: Number of images of each patient.
        shared: Share of the noise variance that images of a patient have in common.
    """

    auc: float
    features: int = 20
    prevalence: float = 0.5
    penalty: float = 1.0
    images: int = 1
    shared: float = 0.0

    def draw(self, patients: int, random: np.random.Generator) -> tuple[FloatArray, IntArray, IntArray]:
        """Draw features (images, features), labels (images,) and patients (images,) with both classes."""
        labels = (random.random(patients) < self.prevalence).astype(np.int64)
        labels[:8] = np.arange(8) % 2  # four patients of each class at least, one for each fold
        of_image = np.repeat(np.arange(patients), self.images)
        own = random.normal(size=(len(of_image), self.features)) * np.sqrt(1 - self.shared)
        common = random.normal(size=(patients, self.features)) * np.sqrt(self.shared)
        values = own + common[of_image]
        distance = np.sqrt(2.0) * NormalDist().inv_cdf(self.auc)
        values[:, :INFORMATIVE] += distance / np.sqrt(INFORMATIVE) * labels[of_image, None]
        return values, labels[of_image], of_image


@dataclass(frozen=True, slots=True)
class CrossValidated:
    """Four fold models and their out-of-fold predictions.

    Attributes:
        predictions: Out-of-fold predictions, shape (images, 2).
        models: Fold models, in order of the folds.
    """

    predictions: OutOfFold
    models: list[LogisticRegression]

    def logits(self, features: FloatArray) -> FloatArray:
        """Return the logit of every fold model, shape (folds, images)."""
        return np.stack([model.decision_function(features) for model in self.models])


def cross_validate(
    world: World, patients: int, random: np.random.Generator, *, folds: int = 4
) -> CrossValidated:
    """Draw patients, cut them into folds stratified by class, and train a model for each fold."""
    features, labels, groups = world.draw(patients, random)
    fold = stratified_folds(labels, groups, folds, random)
    models = [fitted(features[fold != own], labels[fold != own], world.penalty) for own in range(folds)]
    logits = np.zeros(len(labels))
    for own, model in enumerate(models):
        logits[fold == own] = model.decision_function(features[fold == own])
    rows = np.arange(len(labels))
    return CrossValidated(OutOfFold(rows, labels, fold, groups.astype(str), two_columns(logits)), models)


def stratified_folds(labels: IntArray, groups: IntArray, folds: int, random: np.random.Generator) -> IntArray:
    """Return the fold of each image: patients of each class dealt out in random order."""
    patients, first = np.unique(groups, return_index=True)
    of_patient = np.zeros(len(patients), dtype=np.int64)
    for label in np.unique(labels):
        own = random.permutation(np.flatnonzero(labels[first] == label))
        of_patient[own] = np.arange(len(own)) % folds
    return of_patient[np.searchsorted(patients, groups)]


def fitted(features: FloatArray, labels: IntArray, penalty: float) -> LogisticRegression:
    """Fit a logistic regression; one that stops early is as good a model as any for this purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=penalty, max_iter=300).fit(features, labels)


def two_columns(logits: FloatArray) -> FloatArray:
    """Turn logits (images,) into probabilities of both classes, shape (images, 2)."""
    return np.stack([sigmoid(-logits), sigmoid(logits)], axis=1)
