"""The phantom: seeded pairs, tissue with a power-law spectrum, lesions told apart by shape alone."""

import time

import numpy as np
import pytest
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from trainables.common.errors import DataError
from trainables.data.patches import RawPatches
from trainables.data.phantom import make_phantom

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def phantom() -> RawPatches:
    return make_phantom()


def test_the_default_set_has_240_pairs_of_16_bit_patches_of_all_findings(phantom: RawPatches) -> None:
    assert phantom.images.shape == (480, 150, 150)
    assert phantom.images.dtype == np.uint16
    assert not phantom.labels[::2].any()
    assert (np.bincount(phantom.labels[1::2], minlength=5)[1:] >= 40).all()
    assert phantom.is_synthetic


def test_pairs_belong_to_one_patient_and_point_to_their_baseline(phantom: RawPatches) -> None:
    assert phantom.patients is not None
    assert phantom.partners is not None
    assert (phantom.partners[::2] == -1).all()
    assert (phantom.partners[1::2] == np.arange(0, 480, 2)).all()
    assert (phantom.patients[::2] == phantom.patients[1::2]).all()
    assert np.unique(phantom.patients, return_counts=True)[1].tolist() == [8] * 60


def test_the_same_seed_gives_the_same_pixels_and_another_seed_others() -> None:
    one, same, other = (make_phantom(patients=2, size_px=48, seed=seed).images for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, same)
    assert (one != other).mean() > 0.9


def test_more_patients_do_not_change_the_first_ones() -> None:
    few, many = (make_phantom(patients=count, size_px=40).images for count in (1, 3))
    np.testing.assert_array_equal(few, many[: len(few)])


def test_the_default_set_is_made_in_ten_seconds() -> None:
    start = time.process_time()
    make_phantom()
    assert time.process_time() - start < 10.0


def test_tissue_has_a_power_spectrum_with_an_exponent_near_three(phantom: RawPatches) -> None:
    """Burgess (2001): radially averaged power falls as 1/f^beta, beta about 3."""
    patches = phantom.images[::2].astype(float) / 65535.0
    window = np.hanning(150)[:, None] * np.hanning(150)[None, :]
    power = np.mean(
        np.abs(np.fft.fft2((patches - patches.mean((1, 2), keepdims=True)) * window)) ** 2, axis=0
    )
    radius = np.hypot(np.fft.fftfreq(150)[:, None], np.fft.fftfreq(150)[None, :]) * 150
    rings = np.arange(3, 16)
    mean_power = [power[np.round(radius) == ring].mean() for ring in rings]
    slope = np.polyfit(np.log(rings), np.log(mean_power), 1)[0]
    assert 2.3 < -slope < 3.5


def test_few_pixels_are_clipped(phantom: RawPatches) -> None:
    assert np.mean((phantom.images == 0) | (phantom.images == 65535)) < 1e-4


def test_tissue_differs_more_between_patients_than_within(phantom: RawPatches) -> None:
    levels = phantom.images[::2].mean((1, 2)).reshape(60, 4)
    assert levels.mean(1).std() > 2 * levels.std(1).mean()


@pytest.mark.parametrize("finding", [1, 2, 3, 4])
def test_lesions_stand_out_less_the_subtler_they_are(finding: int) -> None:
    contrasts = []
    for subtlety in (0.0, 0.5, 1.0):
        raw = make_phantom(patients=15, size_px=100, subtlety=subtlety, seed=1)
        smooth = np.stack([ndimage.gaussian_filter(image.astype(float), 1.5) for image in raw.images])
        lesions = smooth[raw.labels == finding] - np.median(
            smooth[raw.labels == finding], (1, 2), keepdims=True
        )
        contrasts.append(np.mean(lesions.max((1, 2))))
    assert contrasts[0] > contrasts[1] > contrasts[2]


def out_of_fold_auc(features: np.ndarray, labels: np.ndarray, patients: np.ndarray) -> float:
    forest = RandomForestClassifier(200, min_samples_leaf=3, random_state=0)
    cv = StratifiedGroupKFold(4, shuffle=True, random_state=0)
    scores = cross_val_predict(forest, features, labels, groups=patients, cv=cv, method="predict_proba")
    return float(roc_auc_score(labels, scores[:, 1]))


def shapes_of(image: np.ndarray) -> list[float]:
    """Hand-made shape features: edges, and number, size and spread of bright blobs."""
    smooth = ndimage.gaussian_filter(image, 1.0) - ndimage.gaussian_filter(image, 6.0)
    features = [np.abs(smooth).mean() / smooth.std(), float(np.mean((smooth / smooth.std()) ** 3))]
    for threshold in (2.0, 3.0):
        blobs, count = ndimage.label(smooth > threshold * smooth.std())
        sizes = np.sort(np.bincount(blobs.ravel())[1:])[::-1]
        features += [count, *np.resize(np.append(sizes[:4], [0.0] * 4), 4), blobs.astype(bool).mean()]
    return features


def test_brightness_and_histogram_do_not_tell_benign_from_malignant(phantom: RawPatches) -> None:
    assert phantom.patients is not None
    lesions = phantom.images[1::2] / 65535.0
    malignant = np.isin(phantom.labels[1::2], (2, 4)).astype(int)
    histogram = [
        [image.mean(), image.std(), image.max(), *np.histogram(image, 16, (0, 1))[0]] for image in lesions
    ]
    assert out_of_fold_auc(np.array(histogram), malignant, phantom.patients[1::2]) < 0.65


def test_shape_tells_masses_from_calcifications_but_not_perfectly(phantom: RawPatches) -> None:
    assert phantom.patients is not None
    features = np.array([shapes_of(image / 65535.0) for image in phantom.images[1::2]])
    calcified = (phantom.labels[1::2] >= 3).astype(int)
    assert 0.7 < out_of_fold_auc(features, calcified, phantom.patients[1::2]) < 0.999


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("patients", 0, "phantom: patients must be from 1 to 100000, found 0"),
        ("lesions_per_patient", 0, "lesions_per_patient must be from 1"),
        ("size_px", 31, "size_px must be from 32 to 1024, found 31"),
        ("subtlety", 1.1, r"subtlety must be from 0.0 to 1.0, found 1.1"),
        ("subtlety", float("nan"), "subtlety must be from 0.0 to 1.0, found nan"),
        ("seed", -1, "seed must be from 0"),
    ],
)
def test_arguments_out_of_range_are_refused(argument: str, value: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_phantom(**{argument: value})
