import numpy as np
import pytest
from scipy.stats import ks_2samp

from results.scores.set_shift import FigureQuantiles, set_shift


def test_the_distance_is_that_of_scipy_but_for_what_quantiles_do_not_tell():
    random = np.random.default_rng(0)
    training, here = random.normal(size=3000), random.normal(0.4, 1.3, size=500)
    kept = {"mean": FigureQuantiles.of(training, np.arange(3000))}
    found = set_shift(kept, {"mean": here}, np.arange(500)).figures[0]
    assert found.distance == pytest.approx(ks_2samp(training, here).statistic, abs=0.006)
    assert found.distance <= ks_2samp(training, here).statistic
    assert found.is_found


def test_false_shifts_are_rare():
    random = np.random.default_rng(1)
    found = 0
    for _ in range(100):
        names = ("mean", "spread", "edges")
        kept = {name: FigureQuantiles.of(random.normal(size=400), np.arange(400)) for name in names}
        here = {name: random.normal(size=120) for name in names}
        found += any(one.is_found for one in set_shift(kept, here, np.arange(120)).figures)
    assert found <= 9


def test_many_images_of_few_patients_are_no_evidence():
    random = np.random.default_rng(2)
    kept = {"mean": FigureQuantiles.of(random.normal(size=400), np.arange(400))}
    of_patients = np.repeat(random.normal(size=6), 50)
    patients = np.repeat(np.arange(6), 50)
    assert not set_shift(kept, {"mean": of_patients}, patients).figures[0].is_found
    assert "beyond chance" in set_shift(kept, {"mean": of_patients}, patients).text


def test_a_large_shift_is_said_with_its_figure():
    kept = {"mean": FigureQuantiles.of(np.linspace(0, 1, 300), np.arange(300))}
    text = set_shift(kept, {"mean": np.linspace(2, 3, 100)}, np.arange(100)).text
    assert text.startswith("Largely shifted against the training images in mean: median mean 2.5")
