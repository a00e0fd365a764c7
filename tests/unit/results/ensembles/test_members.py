"""Members of ensembles: aligned by their rows, of one split, and the best first."""

import numpy as np
import pytest
from simulated_trials import simulate

from results.ensembles.members import align, kind_of
from results.errors import EnsembleError
from results.run.records import OutOfFold


def test_trials_are_aligned_by_their_rows():
    trials = simulate(trials=2)
    mixed = np.random.default_rng(0).permutation(300)
    shuffled = OutOfFold(*(getattr(trials[1], name)[mixed] for name in OutOfFold.ARRAYS))
    found = align({0: trials[0], 1: shuffled})
    assert (found.probabilities[1] == trials[1].probabilities).all()


@pytest.mark.parametrize("field", ["rows", "labels", "folds", "groups"])
def test_trials_of_another_split_are_refused(field):
    first = simulate(trials=1)[0]
    changed = {name: getattr(first, name) for name in OutOfFold.ARRAYS}
    changed[field] = np.sort(changed[field])[::-1] if field != "rows" else changed[field] + 1
    with pytest.raises(EnsembleError, match=f"need the same {field}; those of trials 0 and 1 differ"):
        align({0: first, 1: OutOfFold(**changed)})


def test_an_ensemble_needs_a_trial():
    with pytest.raises(EnsembleError, match="at least one complete trial, found none"):
        align({})


def test_the_best_members_come_first():
    trials = simulate(trials=1, strength=0.1) | {7: simulate(trials=1, strength=3.0)[0]}
    assert align(trials).order(1) == [1]


def test_the_same_model_twice_is_one_member():
    trials = simulate(trials=3)
    order = align(trials).order(3)
    repeated = align({**trials, 10: trials[order[0]], 11: trials[order[1]]})
    assert repeated.order(3) == order
    assert sorted(repeated.order(9)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ({"classical.name": "lda"}, {"classical.name": "lda", "classical.shrinkage": 0.3}, True),
        ({"classical.name": "lda"}, {"classical.name": "logistic"}, False),
        ({"classical.name": "ridge"}, {"classical.name": "logistic"}, True),
        ({"classical.name": "linear_svm"}, {"classical.name": "ridge"}, True),
        ({"classical.name": "knn"}, {"classical.name": "logistic"}, False),
        ({"model.also": ("vgg16/top+1",)}, {"model.cut": "top+2"}, True),
        ({"model.also": ("texture/top",)}, {}, False),
        ({"classical.name": "none"}, {"model.trained_stages": 1}, False),
        ({"model.also": ["texture/top"]}, {"model.backbone": "texture", "model.also": ["vgg16/top"]}, True),
    ],
)
def test_a_kind_is_the_nets_and_the_head(first, second, is_same):
    common = {"model.backbone": "vgg16", "classical.name": "none", "model.trained_stages": 0}
    assert (kind_of({**common, **first}) == kind_of({**common, **second})) is is_same
