"""Every backbone, ensemble method and data source of the package passes the public tests of its kind."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from orchestrator import prepare_set
from orchestrator.testing.backbone import BackboneContract
from orchestrator.testing.data_source import DataSourceContract
from orchestrator.testing.ensemble_method import EnsembleMethodContract
from results.ensembles.fitted import Method
from results.ensembles.members import Members
from results.ensembles.methods import METHODS
from results.ensembles.weighted_mean import WeightedMean
from trainables.data.sources import SOURCES
from trainables.models.registry import BACKBONES

pytestmark = pytest.mark.slow

_IMAGES = np.random.default_rng(0).integers(0, 255, (12, 32, 32), dtype=np.uint8)

_LONG = ("nasnet",)  # takes as long as ten others
globals().update(
    {
        f"Test_backbone_{name}": type(
            f"Test_backbone_{name}",
            (BackboneContract,),
            {"backbone": backbone, "pytestmark": [pytest.mark.long] if name in _LONG else []},
        )
        for name, backbone in BACKBONES.items()
    }
)
globals().update(
    {
        f"Test_method_{name}": type(f"Test_method_{name}", (EnsembleMethodContract,), {"method": method})
        for name, method in METHODS.items()
    }
)


class TestPhantom(DataSourceContract):
    source = SOURCES["phantom"]
    task = "benign_malignant"

    def data(self, folder: Path) -> str:
        return "phantom:patients=8"


class TestWisconsin(DataSourceContract):
    source = SOURCES["wisconsin"]
    task = "wisconsin"

    def data(self, folder: Path) -> str:
        return "wisconsin"


class TestNpz(DataSourceContract):
    source = SOURCES["npz"]
    task = "benign_malignant"

    def data(self, folder: Path) -> str:
        path = folder / "patches.npz"
        np.savez(path, images=_IMAGES, labels=np.arange(12) % 2, patient=np.arange(12).astype(str))
        return str(path)


class TestFolder(DataSourceContract):
    source = SOURCES["folder"]
    task = "benign_malignant"

    def data(self, folder: Path) -> str:
        for place, image in enumerate(_IMAGES):
            path = folder / "images" / ("benign", "malignant")[place % 2] / f"{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), image)
        return str(folder / "images")


class TestPisa(DataSourceContract):
    source = SOURCES["pisa"]
    task = "benign_malignant"

    def data(self, folder: Path) -> str:
        np.save(folder / "train_tensor.npy", _IMAGES)
        np.save(folder / "train_labels.npy", np.array([0, 1, 0, 2] * 3))
        return str(folder)


class TestPrepared(DataSourceContract):
    source = SOURCES["prepared"]
    task = "benign_malignant"

    def data(self, folder: Path) -> str:
        images = TestFolder().data(folder)
        prepare_set("folder", images, folder / "set", workers=1)
        return str(folder / "set")


def test_all_data_sources_are_among_them() -> None:
    tried = {own.source.name for own in globals().values() if _is_source_test(own)}
    assert tried == set(SOURCES)


def _is_source_test(value: object) -> bool:
    is_test = isinstance(value, type) and issubclass(value, DataSourceContract)
    return is_test and value is not DataSourceContract


def test_a_method_whose_probabilities_do_not_sum_to_one_fails() -> None:
    class Doubled(WeightedMean):
        def combine(self, probabilities: np.ndarray) -> np.ndarray:
            return 2 * super().combine(probabilities)

    def fit_doubled(members: Members, seed: int) -> Doubled:
        return Doubled(weights=(1.0, 0.0, 0.0))

    broken = Method("doubled", fit_doubled, Doubled, complexity=99)
    contract = type("TestDoubled", (EnsembleMethodContract,), {"method": broken})
    with pytest.raises(AssertionError):
        contract().test_it_combines_into_probabilities()
