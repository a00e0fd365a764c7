"""Passes that fill the store end when the time is up, unless the search has no score without them."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from split_data import three_folds

from trainables.common.errors import OutOfTimeError
from trainables.config.tasks import task_named
from trainables.config.trial_config import decode
from trainables.data.patches import PatchSet
from trainables.data.training_data import training_data_of
from trainables.features.loading import open_features
from trainables.features.locks import held
from trainables.models.taps import Tap
from trainables.models.weights import take_inventory
from trainables.runtime.fill_limit import Batch, FillLimit
from trainables.runtime.trial_runtime import TrialRuntime

TAP = Tap("stem", is_pooled=True)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def four_batches(clock: Clock, seconds: float) -> Iterator[Batch]:
    """Ten images each, which take so many seconds."""
    for start in range(0, 40, 10):
        clock.now += seconds
        yield start, {TAP: torch.zeros(10, 2)}


def passed(limit: FillLimit, clock: Clock, seconds: float) -> int:
    return len(list(limit.batches(four_batches(clock, seconds), images=40, what="a view")))


def test_a_pass_that_ends_in_time_is_whole() -> None:
    clock = Clock()
    assert passed(FillLimit(40.0, clock=clock), clock, 10.0) == 4


def test_a_pass_ends_with_the_batch_at_which_the_time_is_up() -> None:
    clock = Clock()
    with pytest.raises(OutOfTimeError, match=r"for 20 of 40 images; the others .* about 20 s") as found:
        passed(FillLimit(15.0, clock=clock), clock, 10.0)
    assert (clock.now, found.value.view_seconds) == (20.0, 40.0)


@pytest.mark.parametrize(
    ("grace", "is_needed", "is_whole"), [(30, True, True), (30, False, False), (20, True, False)]
)
def test_a_view_becomes_whole_later_only_if_it_is_needed_and_fast_enough(
    grace: float, is_needed: bool, is_whole: bool
) -> None:
    clock = Clock()
    limit = FillLimit(15.0, grace, lambda: is_needed, clock)
    if is_whole:
        assert passed(limit, clock, 10.0) == 4
    else:
        with pytest.raises(OutOfTimeError):
            passed(limit, clock, 10.0)
        assert clock.now == 20.0
    clock.now = 0.0
    with pytest.raises(OutOfTimeError):
        passed(limit.strict(), clock, 10.0)


def test_no_view_is_begun_after_the_limit() -> None:
    FillLimit(1.0, clock=lambda: 0.0).check_start("a view")
    with pytest.raises(OutOfTimeError, match="the time was up before a view was computed") as found:
        FillLimit(1.0, clock=lambda: 1.0).check_start("a view")
    assert found.value.view_seconds is None


def ticking() -> Callable[[], float]:
    """A clock that is a second later at each look."""
    seconds = itertools.count()
    return lambda: float(next(seconds))


def test_views_that_were_whole_in_time_are_kept_and_the_next_one_leaves_nothing(
    bright_patches: PatchSet, tmp_path: Path
) -> None:
    config = decode(
        {"model.backbone": "efficientnet_lite0", "input.size_px": 32, "training.augmentation": "flips"}
    )
    data = training_data_of(bright_patches, task_named("benign_malignant"), three_folds(bright_patches))
    usable = take_inventory(("efficientnet_lite0",), weights_dir=None, may_download=False).usable
    store, device = tmp_path / "store", torch.device("cpu")
    # Two batches a view: the limit is looked at before a view, at its first batch and between the two.
    limited = TrialRuntime(store, device, usable, fill_limit=FillLimit(5.0, clock=ticking()))
    with pytest.raises(
        OutOfTimeError, match="when view d4-2 of efficientnet_lite0 was computed for 32 of 48"
    ):
        open_features(config, data, limited)
    files = {path.name for path in (store / "prefix").rglob("*") if path.is_file() and path.suffix == ".npy"}
    folders = {path.parent.name for path in (store / "prefix").rglob("*.npy*")}
    assert (files, folders) == ({"conv_head.gap.npy"}, {"d4-0"})
    (lock,) = (store / "prefix").rglob("d4-2.lock")
    with held(lock, may_wait=False) as is_free:
        assert is_free
    _, use = open_features(config, data, TrialRuntime(store, device, usable))
    assert use.computed == 3
