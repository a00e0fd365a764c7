"""Tests that every ensemble method must pass.

A method of your own is tested by a class of a few lines, which pytest collects::

    from orchestrator.testing.ensemble_method import EnsembleMethodContract
    from my_methods import EQUAL

    class TestEqual(EnsembleMethodContract):
        method = EQUAL
"""

from typing import ClassVar

import numpy as np

from results.ensembles.fitted import Method, Parameters
from results.ensembles.members import Members, align
from results.run.records import OutOfFold
from trainables.common.types import FloatArray


class EnsembleMethodContract:
    """What a method must do with out-of-fold predictions; a subclass says which method it is.

    Attributes:
        method: The method under test.
    """

    method: ClassVar[Method]

    def test_it_combines_into_probabilities(self) -> None:
        for classes in (2,) if self.method.is_binary else (2, 3):
            members = _members(classes)
            combined = self.method.fit(members, 0).combine(members.probabilities)
            assert combined.shape == members.probabilities.shape[1:]
            assert np.isfinite(combined).all()
            assert (combined >= 0).all()
            np.testing.assert_allclose(combined.sum(axis=1), 1.0, atol=1e-6)

    def test_it_is_found_again_in_its_file(self) -> None:
        members = _members(2)
        fitted = self.method.fit(members, 0)
        again = self.method.rule.model_validate_json(fitted.model_dump_json())
        assert again == fitted
        np.testing.assert_allclose(_combined(again, members), _combined(fitted, members))

    def test_the_same_seed_gives_the_same_ensemble(self) -> None:
        members = _members(2)
        np.testing.assert_allclose(
            _combined(self.method.fit(members, 7), members), _combined(self.method.fit(members, 7), members)
        )

    def test_an_image_is_combined_by_itself(self) -> None:
        members = _members(2)
        fitted = self.method.fit(members, 0)
        some = np.array([5, 3, 40])
        np.testing.assert_allclose(
            fitted.combine(members.probabilities[:, some]), _combined(fitted, members)[some], atol=1e-9
        )

    def test_one_member_alone_can_be_combined(self) -> None:
        members = _members(2).only([0])
        assert _combined(self.method.fit(members, 0), members).shape == (len(members.labels), 2)

    def test_members_that_know_something_are_not_made_useless(self) -> None:
        members = _members(2)
        positive = _combined(self.method.fit(members, 0), members)[:, 1]
        assert positive[members.labels == 1].mean() > positive[members.labels == 0].mean()


def _combined(fitted: Parameters, members: Members) -> FloatArray:
    return fitted.combine(members.probabilities)


def _members(classes: int) -> Members:
    """Three trials that share a signal and have noise of their own; 240 images of 120 patients, 4 folds."""
    random, images = np.random.default_rng(0), 240
    patients = np.arange(images) // 2
    labels = random.permutation(np.arange(images) % classes)
    trials = {}
    for number in range(3):
        scores = 1.5 * np.eye(classes)[labels] + random.normal(size=(images, classes))
        odds = np.exp(scores)
        probabilities = odds / odds.sum(axis=1, keepdims=True)
        rows = np.arange(images)
        trials[number] = OutOfFold(rows, labels, patients % 4, patients.astype(np.str_), probabilities)
    return align(trials)
