"""What a closed-form head takes, timed before a search."""

import numpy as np
import pytest

from search_spaces.closed_form import HEADS, RARER_HEADS
from trainables.config.trial_config import decode
from trainables.data.split_record import TEST
from trainables.training.folds import NanLossError
from trainables.validation import fit_cost
from trainables.validation.fit_cost import measure_fits

FOLDS = np.arange(60) % 3


@pytest.mark.parametrize("name", [*HEADS, *RARER_HEADS])
def test_every_head_of_a_search_can_be_timed_on_few_images(name: str) -> None:
    config = decode({"model.backbone": "vgg16", "classical.name": name, "classical.pca": 8})
    assert 0 < measure_fits(config, 40, folds=FOLDS) < 60


def test_the_heads_of_all_folds_are_in_proportion_to_their_images(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter(range(100))
    monkeypatch.setattr(fit_cost, "clock_on", lambda _: lambda: next(readings))
    config = decode({"model.backbone": "vgg16", "classical.name": "lda"})
    # A fit and a prediction of 128 images take a second each: 3 folds train on 40 images and predict 20.
    assert measure_fits(config, 8, folds=FOLDS) == pytest.approx((3 * 40 + 60) / 128)
    assert measure_fits(config, 8, folds=np.append(FOLDS, [TEST])) == pytest.approx((3 * 40 + 60) / 128)


def test_a_head_that_diverges_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(*_: object, **__: object) -> None:
        raise NanLossError("the weights became NaN")

    monkeypatch.setattr(fit_cost, "fit_estimator", diverge)
    assert measure_fits(decode({"model.backbone": "vgg16", "classical.name": "lda"}), 8, folds=FOLDS) == 0.0
