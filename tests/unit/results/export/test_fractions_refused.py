"""Arrays of fractions given to a model of whole numbers, which would see nothing but black in them."""

import numpy as np
import pytest
from finished_run import CONFIGS, make_run, pixels

from orchestrator.api.result import SearchResult
from results.errors import ExportError
from results.export.bundle import export_bundle
from results.export.exported_model import Bundle, load_bundle
from results.run.run_folder import RunFolder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("run"), {0: CONFIGS[0]})


@pytest.fixture(scope="module")
def bundle(run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("export") / "bundle"
    export_bundle(run, folder, trial=0, held_out_limit=2)
    return load_bundle(folder)


def test_pixels_that_were_scaled_to_one_are_refused_by_bundle_and_run(bundle: Bundle, run: RunFolder) -> None:
    scaled = pixels(images=2)[1] / 65535
    said = r"fractions, with values up to .*whole numbers from 0 to 65535: it was scaled to \[0, 1\]"
    with pytest.raises(ExportError, match=f"image 0 holds {said}"):
        bundle.predict([scaled])
    with pytest.raises(ExportError, match=f"holds {said}"):
        SearchResult(run).predict([scaled], trial=0)


def test_other_fractions_are_refused_without_a_guess_at_their_cause(bundle: Bundle) -> None:
    with pytest.raises(ExportError, match=r"image 1 holds fractions, with values up to 200.5; .* 65535$"):
        bundle.predict([np.zeros((64, 64)), np.full((64, 64), 200.5)])


def test_floats_that_are_whole_numbers_are_pixels(bundle: Bundle) -> None:
    image = pixels(images=2)[1]
    np.testing.assert_array_equal(bundle.predict([image.astype(np.float64)]), bundle.predict([image]))
