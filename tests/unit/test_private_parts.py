"""The private parts of Ray and Optuna that we use are there, and lie in one file of ours each."""

import inspect
import json
import os
import re
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial
from ray.tune.progress_reporter import TrialProgressCallback

ROOT = Path(__file__).parents[2]
PACKAGES = ("orchestrator", "search_spaces", "results", "cluster", "trainables")


def lines_with(pattern: str) -> set[str]:
    """Files of ours in which a pattern occurs."""
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return {str(path.relative_to(ROOT)) for path in paths if re.search(pattern, path.read_text())}


def test_optuna_has_the_private_parts_that_we_use() -> None:
    assert "trial_id" in inspect.signature(optuna.Trial.__init__).parameters
    assert "trial_id" in inspect.signature(FrozenTrial.__init__).parameters
    assert list(inspect.signature(optuna.Study._get_trials).parameters) == [
        "self",
        "deepcopy",
        "states",
        "use_cache",
    ]
    study = optuna.create_study()
    study.ask()
    assert isinstance(study.get_trials()[0]._trial_id, int)
    assert "_get_trials" in inspect.getsource(optuna.samplers.TPESampler)


def test_the_storage_of_optuna_keeps_its_trials_where_we_look_for_them() -> None:
    from optuna.storages.journal._storage import JournalStorage, JournalStorageReplayResult

    assert {"_trials", "_study_id_to_trial_ids"} <= vars(JournalStorageReplayResult("worker")).keys()
    source = inspect.getsource(JournalStorage)
    assert all(f"self.{name}" in source for name in ("_thread_lock", "_sync_with_backend", "_replay_result"))


def test_the_journal_file_of_optuna_keeps_the_places_of_lines_where_we_drop_them(tmp_path: Path) -> None:
    from optuna.storages.journal import JournalFileBackend

    file = JournalFileBackend(str(tmp_path / "journal.log"))
    file.append_logs([{"first": 1}, {"second": 2}])
    assert [*file.read_logs(1)] == [{"second": 2}]
    assert len(file._log_number_offset) == 3


def test_the_journal_of_optuna_has_the_lines_that_we_read(tmp_path: Path) -> None:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    from orchestrator.study.optuna_private import ENDS_TRIAL, OPERATION

    journal = tmp_path / "journal.log"
    study = optuna.create_study(storage=JournalStorage(JournalFileBackend(str(journal))))
    before = len(journal.read_text().splitlines())
    trial = study.ask()
    study.tell(trial, 0.5)
    written = [json.loads(line)[OPERATION] for line in journal.read_text().splitlines()[before:]]
    assert written[-1] == ENDS_TRIAL


def test_optunas_estimator_calls_the_parts_that_we_make_quick() -> None:
    from optuna.samplers import TPESampler
    from optuna.samplers._tpe import sampler
    from optuna.search_space.group_decomposed import _GroupDecomposedSearchSpace

    from orchestrator.study.optuna_private import _split_each_time

    assert [*inspect.signature(_split_each_time).parameters] == ["study", "trials", "n_below"]
    source = inspect.getsource(sampler.TPESampler)
    assert "_split_trials(" in source
    assert "self._group_decomposed_search_space.calculate(study, use_trial_cache)" in re.sub(
        r"\(\s+", "(", re.sub(r"\s+\)", ")", source)
    )
    assert [*inspect.signature(TPESampler._get_internal_repr).parameters] == [
        "self",
        "trials",
        "search_space",
        "study",
    ]
    assert "self._get_internal_repr(trials, search_space, study)" in source
    assert "self._search_space.add_distributions(" in inspect.getsource(_GroupDecomposedSearchSpace.calculate)


def test_ray_has_the_key_value_store_that_carries_heartbeats() -> None:
    from ray import _raylet
    from ray.experimental import internal_kv

    assert list(inspect.signature(internal_kv._internal_kv_put).parameters)[:2] == ["key", "value"]
    assert "del_by_prefix" in inspect.signature(internal_kv._internal_kv_del).parameters
    assert callable(internal_kv.internal_kv_get_gcs_client)
    assert hasattr(_raylet.InnerGcsClient, "internal_kv_multi_get")
    assert lines_with(r"\binternal_kv\b") == {"orchestrator/tuning/ray_private.py"}


def test_ray_knows_where_an_actor_was_that_has_died() -> None:
    from ray._private.state import GlobalState
    from ray.exceptions import ActorDiedError

    assert list(inspect.signature(GlobalState.actor_table).parameters)[:2] == ["self", "actor_id"]
    assert '"NodeID": binary_to_hex(actor_table_data.address.' in inspect.getsource(GlobalState)
    assert r"\tactor_id: {" in inspect.getsource(ActorDiedError)


def test_tune_keeps_the_handle_of_a_worker_where_we_look_for_it() -> None:
    from ray.tune.experiment import trial

    assert "temporary_state" in inspect.getsource(trial.Trial)
    assert "ray_actor" in inspect.getsource(trial)


def test_tune_keeps_trials_that_have_ended_where_we_drop_them() -> None:
    from ray.tune.execution.tune_controller import TrialRunnerWrapper, TuneController
    from ray.tune.utils.callback import _create_default_callbacks

    from orchestrator.tuning.ray_private import _IN_USE, _OF_ENDED, NoTrialProgress

    source = inspect.getsource(TuneController.__init__)
    assert all(re.search(rf"self\.{name}\b[^=]*= ", source) for name in (*_OF_ENDED, *_IN_USE))
    assert "self._tune_controller = " in inspect.getsource(TrialRunnerWrapper.__init__)
    ours = NoTrialProgress()
    added = _create_default_callbacks([ours], air_verbosity=None)
    assert [one for one in added if isinstance(one, TrialProgressCallback)] == [ours]


def test_ray_starts_its_first_machine_with_the_parts_that_we_leave_out() -> None:
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    from cluster.ray_private import LEAN

    assert LEAN.keys() <= inspect.signature(RayParams.__init__).parameters.keys()
    assert "self.start_api_server(" in inspect.getsource(Node.start_head_processes)
    assert "start_api_server" in vars(Node)


def test_tune_asks_for_workers_with_an_environment_that_we_empty() -> None:
    from ray.tune.execution import class_cache

    source = inspect.getsource(class_cache._ActorClassCache.get)
    assert "DEFAULT_ENV_VARS.copy()" in source
    assert not class_cache.ENV_VARS_TO_PROPAGATE & {name for name in os.environ if name.startswith("TUNE_")}


def test_ray_looks_up_the_error_that_we_widen() -> None:
    from ray.air.execution._internal import actor_manager
    from ray.tune.execution import tune_controller

    for module in (actor_manager, tune_controller):
        assert "RayActorError" in vars(module)
        assert "isinstance" in inspect.getsource(module)


@pytest.mark.parametrize(
    ("pattern", "file"),
    [
        (r"\._trial_id\b|\b_get_trials\b|journal\._", "orchestrator/study/optuna_private.py"),
        (
            r"\bray\.[\w.]*\._internal|\bimport tune_controller\b|temporary_state",
            "orchestrator/tuning/ray_private.py",
        ),
        (r"from ray\._private\.(node|parameter)", "cluster/ray_private.py"),
    ],
)
def test_private_parts_lie_in_one_file(pattern: str, file: str) -> None:
    assert lines_with(pattern) == {file}


@pytest.mark.parametrize(("package", "cap"), [("ray[tune]", "<2.61"), ("optuna", "<6")])
def test_what_has_private_parts_in_use_has_an_upper_bound(package: str, cap: str) -> None:
    text = (ROOT / "pyproject.toml").read_text()
    (line,) = re.findall(rf'"{re.escape(package)}>[^"]*"', text)
    assert cap in line
