import numpy as np
import pytest
from scipy.stats import ks_2samp, kstest

from results.novelty.reference import fit_reference
from results.scores.set_shift import FEATURES, FeatureNovelty, FigureQuantiles, set_shift


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


def test_a_patient_with_many_copies_of_an_image_counts_once():
    random = np.random.default_rng(8)
    training, here = random.normal(size=200), random.normal(size=40)
    copies, of_training = (
        np.repeat(np.arange(40), [60] + 39 * [1]),
        np.repeat(np.arange(200), [300] + 199 * [1]),
    )
    once = FigureQuantiles.of(training, np.arange(200))
    kept = FigureQuantiles.of(training[of_training], of_training)
    assert kept.patients == 200
    assert kept.values == pytest.approx(once.values, abs=0.1)
    assert once.values == pytest.approx(np.quantile(training, np.linspace(0, 1, 201)).tolist())
    first = set_shift({"mean": once}, {"mean": here}, np.arange(40)).figures[0]
    again = set_shift({"mean": once}, {"mean": here[copies]}, copies).figures[0]
    assert again.distance == pytest.approx(first.distance)
    assert again.adjusted == pytest.approx(first.adjusted)
    assert again.here == pytest.approx(first.here, abs=0.1)


def test_a_patient_with_many_images_is_rarely_called_a_shift():
    random = np.random.default_rng(9)
    counts = [40] + 39 * [1]
    for of_training, of_here in ((200 * [1], counts), ([200] + 199 * [1], 40 * [1])):
        found = 0
        for _ in range(50):
            training, groups = _images_of(random, of_training)
            here, own = _images_of(random, of_here)
            kept = {"mean": FigureQuantiles.of(training, groups)}
            found += set_shift(kept, {"mean": here}, own).figures[0].is_found
        assert found <= 5


def _images_of(random, counts):
    """A figure of images of patients with these numbers of them, half of it shared, and their patients."""
    groups = np.repeat(np.arange(len(counts)), counts)
    own = random.normal(size=len(counts))[groups]
    return (own + random.normal(size=len(groups))) / 2**0.5, groups


def test_one_patient_has_quantiles_too():
    assert set(FigureQuantiles.of(np.array([3.0]), np.array(["a"])).values) == {3.0}


def test_a_large_shift_is_said_with_its_figure():
    kept = {"mean": FigureQuantiles.of(np.linspace(0, 1, 300), np.arange(300))}
    text = set_shift(kept, {"mean": np.linspace(2, 3, 100)}, np.arange(100)).text
    assert text.startswith("Largely shifted against the training images in mean: median mean 2.5")


def _features(random, patients, images, *, move=0.0):
    """Features of a network, 24 of them, of which a patient's images share most, and their patients."""
    groups = np.repeat(np.arange(patients), images)
    own = random.normal(size=(patients, 24))[groups]
    return move + own + 0.3 * random.normal(size=(len(groups), 24)), groups


def _shift_of_features(random, *, move=0.0, patients=60, images=2):
    training, groups = _features(random, 80, 3)
    reference = fit_reference(training, groups % 4, groups)
    here, own = _features(random, patients, images, move=move)
    novelty = FeatureNovelty(reference.p_values(here), reference.patients)
    return set_shift({}, {}, own, novelty=novelty)


def test_features_of_other_patients_like_those_of_training_are_rarely_called_shifted():
    random = np.random.default_rng(3)
    found = sum(_shift_of_features(random).figures[0].is_found for _ in range(100))
    assert found <= 9


def test_moved_features_are_found_where_the_pixels_say_nothing():
    random = np.random.default_rng(4)
    found = [_shift_of_features(random, move=0.8) for _ in range(20)]
    assert sum(one.figures[0].is_found for one in found) >= 18
    assert "in network features: half of these images lie further out than" in found[0].text
    assert "no feature differs" in _shift_of_features(random).text


def test_many_images_of_a_few_patients_move_no_features():
    random = np.random.default_rng(5)
    found = sum(_shift_of_features(random, patients=4, images=60).figures[0].is_found for _ in range(40))
    assert found <= 4


def test_the_test_of_features_is_the_one_sided_test_of_kolmogorov_and_smirnov():
    random = np.random.default_rng(6)
    here, patients = random.beta(0.85, 1.0, size=150), 10**9  # so many that their shares are known
    found = set_shift({}, {}, np.arange(150), novelty=FeatureNovelty(here, patients)).figures[0]
    reference = kstest(here, "uniform", alternative="greater", method="asymp")
    assert found.figure == FEATURES
    assert found.distance == pytest.approx(reference.statistic)
    assert found.adjusted == pytest.approx(reference.pvalue, rel=0.15)


def test_the_features_are_corrected_together_with_the_figures_of_the_pixels():
    random = np.random.default_rng(7)
    here, groups = random.normal(size=60), np.arange(60)
    kept = {"mean": FigureQuantiles.of(random.normal(size=400), np.arange(400))}
    novelty = FeatureNovelty(random.beta(0.6, 1.0, size=60), 80)
    alone = set_shift({}, {}, groups, novelty=novelty).figures[0]
    both = {one.figure: one for one in set_shift(kept, {"mean": here}, groups, novelty=novelty).figures}
    assert both[FEATURES].distance == alone.distance
    assert both[FEATURES].adjusted == pytest.approx(2 * alone.adjusted)
