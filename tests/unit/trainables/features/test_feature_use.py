"""What a trial says of the features that it trained on."""

import pytest

from trainables.features.feature_use import FeatureUse, side_by_side


def test_a_head_on_several_taps_opened_and_waited_for_all_of_them() -> None:
    first = FeatureUse("stored views", "block7", 1, computed=1, read=2, seconds_per_image=0.5)
    lower = FeatureUse(
        "stored views", "block5", 1, computed=0, read=2, seconds_per_image=0.5, opening_seconds=1.0
    )
    other = FeatureUse(
        "stored views",
        "features.30",
        1,
        computed=1,
        read=2,
        computed_seconds=30.0,
        seconds_per_image=1.5,
        opening_seconds=40.0,
        waited_seconds=10.0,
        note="in memory",
    )
    found = side_by_side([("efficientnet_lite0", first), ("efficientnet_lite0", lower), ("vgg16", other)])
    assert (found.stage, found.views, found.computed, found.read) == ("block7", 1, 2, 6)
    assert (found.opening_seconds, found.waited_seconds, found.computed_seconds) == (41.0, 10.0, 30.0)
    assert found.seconds_per_image == pytest.approx(1.0)  # an image through one of the two nets
    assert found.note == "in memory"
