"""Neighbours of mistakes in the features that the search has stored; none are computed for a report."""

import re
from pathlib import Path

import pytest
import torch
from reported_run import make_reported_run

from orchestrator.report.facts import RunFacts
from orchestrator.report.report import make_report
from results.run.run_folder import RunFolder
from trainables.config.trial_config import decode
from trainables.data.split_record import read_split
from trainables.data.training_data import training_data_of
from trainables.features.loading import open_plain_features
from trainables.models.weights import find_weights
from trainables.runtime.trial_runtime import TrialRuntime


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run whose store holds the features of its trials."""
    run = make_reported_run(tmp_path_factory.mktemp("near"), trials=3, with_ensembles=False)
    search, config = run.search(), decode(run.records()[0].config)
    data = training_data_of(run.patch_set(), search.task_definition, read_split(run.split_file), "image")
    weights = find_weights(config.model.backbone, weights_dir=None, may_download=False)
    runtime = TrialRuntime(
        Path(search.store),
        torch.device("cpu"),
        {config.model.backbone: weights},
        features=search.request.features,
    )
    open_plain_features(config, data, runtime)
    return run


def test_each_mistake_has_three_neighbours_of_other_patients(run: RunFolder) -> None:
    facts = RunFacts(run)
    assert facts.space is not None
    groups = dict(zip(facts.space.rows.tolist(), facts.space.groups.tolist(), strict=True))
    html = make_report(run).html
    sheets = re.findall(r'alt="row (\d+), \w+, predicted.*?<div class="near">(.*?)</div>', html)
    assert len(sheets) >= 4
    for row, near in sheets:
        found = [int(one) for one in re.findall(r"neighbour: row (\d+), (?:benign|malignant)", near)]
        assert len(set(found)) == 3
        assert groups[int(row)] not in {groups[one] for one in found}
    assert "efficientnet_lite0" in html
    assert re.search(r"near (\d \w+, )?\d \w+<", html)


def test_no_row_of_the_sealed_part_is_a_neighbour(run: RunFolder) -> None:
    space = RunFacts(run).space
    assert space is not None
    own = run.out_of_fold(0)
    assert set(space.rows.tolist()) == set(own.rows.tolist())


def test_without_pictures_neighbours_are_told_in_words(run: RunFolder) -> None:
    html = make_report(run, with_pictures=False).html
    assert "<img" not in html
    assert re.search(r"predicted 0\.\d\d; near \d", html)


def test_features_that_are_not_stored_are_not_computed(tmp_path: Path) -> None:
    run = make_reported_run(tmp_path, trials=3, with_ensembles=False)
    assert RunFacts(run).space is None
    assert 'class="near"' not in make_report(run).html
    assert not list((tmp_path / "store" / "prefix").rglob("*.npy"))
