"""Neighbours are of other patients, and point the same way in the features."""

import numpy as np

from results.novelty.neighbours import feature_space


def test_neighbours_are_the_images_of_other_patients_with_the_same_direction() -> None:
    random = np.random.default_rng(0)
    centres = 2 * random.normal(size=(3, 16))
    kinds = np.arange(60) % 3
    features = centres[kinds] + 0.3 * random.normal(size=(60, 16))
    groups = np.array([f"p{row // 2}" for row in range(60)])
    space = feature_space("simulated", np.arange(100, 160), kinds, groups, features)
    for row in (100, 117, 159):
        places = space.nearest(row, 5)
        assert len(places) == 5
        assert set(space.labels[places].tolist()) == {(row - 100) % 3}
        assert groups[row - 100] not in groups[places]


def test_a_feature_of_another_scale_does_not_decide_alone() -> None:
    features = np.array([[0.0, 0.0], [1e6, 0.0], [0.0, 1.0], [1e6, 1.0], [1e6, 0.9]])
    space = feature_space("two scales", np.arange(5), np.zeros(5, int), np.array(list("abcde")), features)
    assert space.nearest(3, 1).tolist() == [4]


def test_an_image_that_is_not_in_the_space_has_no_neighbours() -> None:
    space = feature_space("one", np.arange(3), np.zeros(3, int), np.array(list("abc")), np.eye(3))
    assert space.nearest(7, 3).tolist() == []
    assert len(space.nearest(0, 9)) == 2


def test_features_without_spread_are_no_reason_to_fail() -> None:
    space = feature_space("flat", np.arange(3), np.zeros(3, int), np.array(list("abc")), np.ones((3, 4)))
    assert np.isfinite(space.points).all()
    assert len(space.nearest(0, 2)) == 2
