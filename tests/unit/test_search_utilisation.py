"""How busy a device is over a search: a search where one can run, else what it would try in one process."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import search_utilisation
from benchmarks.search_utilisation import main, searched_settings, watch_search, watch_trials
from benchmarks.utilisation import BACKBONES, share_text
from trainables.config.trial_config import decode
from trainables.models.taps import frozen_parts

CPU = torch.device("cpu")
QUICK = {
    "model.backbone": "intensity",
    "classical.name": "lda",
    "training.epochs": 1,
    "training.augmentation": "none",
    "training.average_views": False,
}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        search_utilisation, "searched_settings", lambda: [QUICK, {**QUICK, "classical.pca": 2}]
    )


def test_trials_are_first_points_of_a_search_and_nets_whose_layers_train() -> None:
    configs = [decode(settings) for settings in searched_settings()]
    assert {config.classical.name for config in configs} >= {"none", "logistic", "lda"}
    assert {config.model.trained_stages for config in configs} == {0, 1, "all"}
    assert {part.model.backbone for config in configs for part in frozen_parts(config)} == set(BACKBONES)


def test_trials_run_one_after_the_other_as_many_as_asked_for(quick: None) -> None:
    found = watch_trials(CPU, patients=10, trials=2, seconds=600.0)
    assert (found.trials, found.what) == (2, "trials, one after the other")
    assert found.seconds > 0
    assert found.busy is not None
    assert found.busy > 0
    assert watch_trials(CPU, patients=10, trials=1, seconds=600.0).trials == 1


def test_no_trial_begins_when_the_time_is_over(quick: None) -> None:
    assert watch_trials(CPU, patients=10, trials=2, seconds=0.0).trials == 0


def test_a_search_that_fails_is_an_error_with_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[list[str]]()

    def fail(command: list[str], **_: Any) -> SimpleNamespace:
        asked.append(command)
        return SimpleNamespace(returncode=3, stdout="begun; ", stderr="no disk")

    monkeypatch.setattr(search_utilisation.subprocess, "run", fail)
    with pytest.raises(RuntimeError, match="the search ended with status 3: begun; no disk"):
        watch_search(CPU, trials=4, seconds=30.0)
    words = asked[0][asked[0].index("search") :]
    assert words[words.index("--trials") + 1] == "4"
    assert words[words.index("--minutes") + 1] == "0.5"
    assert words[words.index("--gpus-per-trial") + 1] == "0"


def test_a_search_without_a_scored_trial_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.CompletedProcess([], 0, "nothing ran", "")
    monkeypatch.setattr(search_utilisation.subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(RuntimeError, match="nothing ran"):
        watch_search(CPU, trials=4, seconds=30.0)


def test_without_ray_trials_are_watched_and_the_page_says_what_lacks(
    quick: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(search_utilisation, "missing", lambda names: ["ray"])
    monkeypatch.setattr("sys.argv", ["it", "--patients", "10", "--json", str(tmp_path / "found.json")])
    main()
    printed = capsys.readouterr().out
    assert "| trials, one after the other | 2 |" in printed
    assert printed.endswith("No search: it lacks ray.\n")
    assert json.loads((tmp_path / "found.json").read_text())["trials"] == 2


def test_a_share_that_is_not_known_is_said_to_be_so() -> None:
    assert (share_text(0.351), share_text(None)) == ("35%", "not known")
