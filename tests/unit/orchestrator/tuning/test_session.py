"""No core idles: few trials share all cores of a machine among them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import torch
from finished_run import make_run
from records import search_record

from cluster.background import BackgroundConnection
from cluster.connect import Connection
from cluster.resources import Machine
from orchestrator.callbacks import SearchView
from orchestrator.request import parse_request
from orchestrator.tuning.session import run_search
from orchestrator.tuning.setup import Prepared
from orchestrator.tuning.surroundings import Surroundings
from orchestrator.tuning.trial_manager import TrialManager
from orchestrator.tuning.trial_resources import trial_resources
from orchestrator.tuning.trial_runner import TrialRunner
from results.run.records import Termination
from results.run.run_folder import RunFolder
from trainables.config.trial_config import decode
from trainables.runtime.devices import kept_threads


def cores_of_a_trial(*machines: Machine, slots: int, left: int, **options: Any) -> float:
    record = search_record(**options)
    cpus, gpus = sum(one.cpus for one in machines), sum(one.gpus for one in machines)
    connection = Connection("", True, cpus, gpus, len(machines), "", machines)
    return trial_resources(record, slots, connection, left=left).cpus


@pytest.mark.parametrize(
    ("cores", "slots", "left", "of_a_trial"),
    [(2, 2, 1, 2), (2, 2, 24, 1), (8, 8, 1, 8), (8, 8, 3, 2), (16, 4, 24, 4)],
)
def test_trials_have_all_cores_among_them(cores: int, slots: int, left: int, of_a_trial: int) -> None:
    assert cores_of_a_trial(Machine(cores, 0, 0), slots=slots, left=left) == of_a_trial


def test_trials_on_gpus_leave_cores_for_all_gpus_of_the_machines_that_have_some() -> None:
    head, node = Machine(64, 0, 0), Machine(64, 8, 0)
    whole = cores_of_a_trial(head, node, slots=8, left=24, gpus_per_trial=1.0)
    assert whole == 8
    shared = cores_of_a_trial(
        Machine(8, 0, 0),
        Machine(8, 1, 0),
        slots=2,
        left=24,
        gpus_per_trial=0.5,
        shares_gpus_as_measured=True,
    )
    assert shared == 1


def test_what_the_user_says_wins() -> None:
    assert cores_of_a_trial(Machine(8, 0, 0), slots=8, left=1, cpus_per_trial=1) == 1


def test_an_interrupt_before_there_is_a_run_says_that_nothing_can_be_resumed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*_: Any, **__: Any) -> Prepared:
        raise KeyboardInterrupt

    def no_view(prepared: Prepared) -> NoReturn:
        raise AssertionError("a view is opened")

    monkeypatch.setattr("orchestrator.tuning.session.prepare_search", interrupted)
    said = list[str]()
    request = parse_request({"task": "benign_malignant", "runs": tmp_path})
    with pytest.raises(KeyboardInterrupt):
        run_search(request, Surroundings(notify=said.append, open_view=no_view))
    assert said == [
        "interrupted before there was a run, so that there is nothing to resume: start the search again"
    ]


def test_an_interrupt_while_the_reference_is_scored_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    def no_view(prepared: Prepared) -> NoReturn:
        raise AssertionError("a view is opened")

    made = make_run(
        tmp_path,
        {0: {"model.backbone": "texture", "classical.name": "logistic"}},
        backbones=("texture",),
        folds=3,
    )
    no_study: Any = None  # no trial is asked for
    prepared = Prepared(made, made.search(), no_study, 1)
    monkeypatch.setattr("orchestrator.tuning.session.prepare_search", lambda *_, **__: prepared)
    monkeypatch.setattr("orchestrator.tuning.session.keep_reference", interrupted)
    monkeypatch.setattr(Prepared, "has_more", True)
    said = list[str]()
    request = parse_request({"task": "benign_malignant", "runs": tmp_path})
    outcome = run_search(request, Surroundings(notify=said.append, open_view=no_view))
    assert outcome.is_interrupted
    assert said == [f"interrupted before the first trial; go on with: {made.resume_command}"]


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_that_a_search_has_little_left_to_gain_is_kept_unless_the_user_ends_it_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_interrupted: bool
) -> None:
    verdict = Termination(trials=20, gain=0.001, noise=0.02)

    def run_trials(manager: TrialManager, *_: Any, **__: Any) -> None:
        manager._early_end.termination, manager.is_stopping = verdict, is_interrupted

    made = RunFolder(tmp_path / "first")
    made.write_search(search_record())
    study = SimpleNamespace(left=3, is_exhausted=False, allowance=None)
    prepared = Prepared(made, made.search(), study, 1)  # type: ignore[arg-type]  # no trial is asked for
    monkeypatch.setattr("orchestrator.tuning.session.prepare_search", lambda *_, **__: prepared)
    monkeypatch.setattr("orchestrator.tuning.session.keep_reference", lambda *_, **__: None)
    monkeypatch.setattr("orchestrator.tuning.ray_backend.run_trials", run_trials)
    monkeypatch.setattr(Prepared, "has_more", True)
    monkeypatch.setattr(BackgroundConnection, "__call__", lambda own: Connection("", True, 1.0, 0.0, 1, ""))
    surroundings = Surroundings(notify=lambda message: None, open_view=lambda prepared: SearchView())
    outcome = run_search(parse_request({"task": "benign_malignant", "runs": tmp_path}), surroundings)
    assert outcome.is_interrupted is is_interrupted
    assert made.search().terminated == (None if is_interrupted else verdict)


def test_a_worker_computes_on_all_cores_that_its_trial_has(tmp_path: Path) -> None:
    config = decode({"model.backbone": "efficientnet_lite0"})
    with kept_threads():
        TrialRunner(RunFolder(tmp_path), 0, config, {}, gpus=0.0, cpus=2.0)
        assert torch.get_num_threads() == 2
