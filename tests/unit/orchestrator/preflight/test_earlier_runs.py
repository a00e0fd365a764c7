"""Runs that a search builds on are known to be those of its start, and missed where they are needed."""

import datetime
import shutil
from pathlib import Path

import numpy as np
import pytest
import space_context
import torch
from finished_run import CONFIGS, NOW, make_run
from simulated_run import trial_record
from test_run_data import cut_anew

from orchestrator.preflight.run_data import check_run_data, open_run_data
from orchestrator.preflight.warm_start import find_source_trial
from results.errors import RunError
from results.run.run_folder import RunFolder
from results.run.source_trial import SourceTrial
from results.run.source_trials import checked_source, source_record
from trainables.common.errors import ConfigError
from trainables.config.trial_config import decode

STARTED = CONFIGS[0] | {"model.weights": "start"}
TYPED = CONFIGS[0] | {"model.type_input": "probability"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of one trial in two folds."""
    run = make_run(tmp_path_factory.mktemp("first"), {0: CONFIGS[0]}, backbones=("scratch4",))
    context = space_context.context(backbones=("scratch4",)).model_dump(mode="json")
    run.write_search(run.search().model_copy(update={"space_context": context}))
    record = run.record(0)
    assert record is not None
    run.write_record(record.model_copy(update={"predictions_digest": run.out_of_fold(0).digest}))
    return run


@pytest.fixture
def first(finished: RunFolder, tmp_path: Path) -> RunFolder:
    """The run that others build on, to be moved or replaced."""
    shutil.copytree(finished.path, tmp_path / "first")
    return RunFolder(tmp_path / "first")


@pytest.fixture
def second(finished: RunFolder, first: RunFolder, tmp_path: Path) -> RunFolder:
    """A run without a trial that was started from it."""
    run = RunFolder(tmp_path / "second")
    run.path.mkdir()
    shutil.copy(first.split_file, run.split_file)
    source = find_source_trial(f"{first.path}:0", tmp_path, option="--start-from")
    run.write_search(first.search().model_copy(update={"start_from": source}))
    return run


def building(run: RunFolder, **changes: object) -> RunFolder:
    run.write_search(run.search().model_copy(update=changes))
    return run


def fixed(run: RunFolder, settings: dict[str, object]) -> RunFolder:
    run.write_search(run.search().with_options(fixed_params=settings))
    return run


def with_record(run: RunFolder, config: dict[str, object]) -> RunFolder:
    record = trial_record(0, fingerprint=run.search().fingerprint)
    run.write_record(record.model_copy(update={"config": config}))
    return run


def replaced(run: RunFolder) -> None:
    """Let a run that was started later, with another seed, take the place of a run."""
    cut_anew(run, seed=3)
    later = NOW + datetime.timedelta(days=1)
    run.write_search(run.search().model_copy(update={"started_at": later}))


def of_earlier_version(run: RunFolder) -> SourceTrial:
    source = run.search().start_from
    assert source is not None
    return SourceTrial(run=source.run, trial=source.trial)


def test_another_run_at_the_path_of_the_earlier_one_is_no_start(first: RunFolder, second: RunFolder) -> None:
    check_run_data(fixed(second, {"model.weights": "start"}), second.search())
    replaced(first)
    with pytest.raises(RunError, match="is not the run that this search was started from"):
        check_run_data(second, second.search())
    with pytest.raises(RunError, match="put the earlier run back in its place"):
        open_run_data(second, second.search(), torch.device("cpu"), decode(STARTED))


def test_in_runs_of_earlier_versions_the_folds_are_compared(first: RunFolder, second: RunFolder) -> None:
    source = of_earlier_version(second)
    building(second, start_from=source)
    assert checked_source(second, source) == first.record(0)
    replaced(first)
    with pytest.raises(RunError, match="lies in another part there"):
        checked_source(second, source)


def test_a_trial_that_was_trained_again_is_another_one(first: RunFolder, second: RunFolder) -> None:
    record, source = first.record(0), second.search().start_from
    assert record is not None
    assert source is not None
    assert source_record(source) == record
    first.write_record(record.model_copy(update={"predictions_digest": "0" * 64}))
    with pytest.raises(RunError, match="was trained again since this search was started"):
        source_record(source)


def test_types_come_from_the_run_that_was_named(first: RunFolder, second: RunFolder) -> None:
    building(second, start_from=None, type_from=second.search().start_from)
    check_run_data(second, second.search())
    data, _ = open_run_data(second, second.search(), torch.device("cpu"), decode(TYPED))
    assert data.type_probability is not None
    plain, _ = open_run_data(second, second.search(), torch.device("cpu"), decode(CONFIGS[0]))
    assert plain.type_probability is None
    replaced(first)
    with pytest.raises(RunError, match="is not the run that this search was started from"):
        check_run_data(second, second.search())
    with pytest.raises(RunError, match="is not the run that this search was started from"):
        open_run_data(second, second.search(), torch.device("cpu"), decode(TYPED))


def test_settings_that_were_tried_first_need_no_earlier_run(first: RunFolder, second: RunFolder) -> None:
    shutil.rmtree(first.path)
    with_record(second, CONFIGS[0])
    check_run_data(second, second.search())
    for config in (None, decode(CONFIGS[0])):
        assert open_run_data(second, second.search(), torch.device("cpu"), config)[1].start is None
    fixed(second, {"model.type_input": "none"})
    building(second, start_from=None, type_from=second.search().start_from)
    check_run_data(second, second.search())
    assert open_run_data(second, second.search(), torch.device("cpu"))[0].type_probability is None


@pytest.mark.parametrize("is_fixed", [True, False])
def test_weights_that_trials_start_from_are_missed_before_a_trial(
    first: RunFolder, second: RunFolder, is_fixed: bool
) -> None:
    if is_fixed:
        fixed(second, {"model.weights": "start"})
    else:
        with_record(second, STARTED)
    check_run_data(second, second.search())
    start = open_run_data(second, second.search(), torch.device("cpu"), decode(STARTED))[1].start
    assert start is not None
    assert len(start.folds) == len(np.unique(first.out_of_fold(0).folds))
    shutil.rmtree(first.weights_folder(0))
    with pytest.raises(ConfigError):
        check_run_data(second, second.search())
    shutil.rmtree(first.path)
    with pytest.raises(RunError, match="is gone; restore its folder"):
        check_run_data(second, second.search())
