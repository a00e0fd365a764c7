"""An option that would change nothing of what was asked is refused, with the word that it goes with."""

from pathlib import Path

import pytest
from simulated_run import make_run
from simulated_trials import simulate

from orchestrator.cli.explain import _settings
from orchestrator.cli.main import build_parser, main
from orchestrator.postprocessing.relevance_methods import any_method
from results.relevance.method import RelevanceSettings
from results.relevance.methods import RELEVANCE_METHODS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_run(tmp_path_factory.mktemp("runs"), simulate()).path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("export {run} --out b --max-auc-loss 0.1", "--max-auc-loss bounds what a lower precision or a"),
        ("export {run} --out b --max-changed-calls 0.1", "--max-changed-calls bounds what a lower"),
        ("export {run} --out b --distil-weight 0.3", "--distil-weight says what a student learns: give"),
        ("export {run} --out b --precision fp16 --distil-weight 0.3", "--distil-weight says what"),
        ("ensemble {run} --no-costs --max-ms 3", "--max-ms goes by what ensembles cost to use: leave"),
        ("predict b i.png --map-method rise", "--map-method says how maps are made; give their folder"),
        ("predict b i.png --map-seconds 3", "--map-seconds says how maps are made; give their folder"),
        ("explain {run} --method layer_cam --masks 8", "--masks changes nothing of --method layer_cam"),
        ("explain {run} --method lrp --seconds 8", "--seconds changes nothing of --method lrp"),
        ("explain {run} --method windows --fill mean", "--fill changes nothing of --method windows"),
        ("explain {run} --window 64", "--window changes nothing of --method occlusion"),
        ("explain {run} --seed 1", "--seed changes nothing of --method occlusion"),
        ("explain {run} --method rise --masks 4 --seconds 3", "--masks takes the place of a time: give one"),
        ("explain {run} --images a.png --slide --method rise", "by no method: leave --method out"),
        ("explain {run} --images a.png --slide --checks", "by no method: leave --checks out"),
        ("explain {run} --images a.png --slide --masks 3", "--masks changes nothing of --slide"),
    ],
)
def test_an_option_that_changes_nothing_is_refused(
    words: str, message: str, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.format(run=run).split()) != 0
    assert message in capsys.readouterr().err
    assert not Path("b").exists()


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ("", RelevanceSettings()),
        ("--seconds 2 --fill mean", RelevanceSettings(seconds=2, fill="mean")),
        ("--method rise --masks 3 --seed 5", RelevanceSettings(masks=3, seed=5)),
        ("--method windows --window 32", RelevanceSettings(window_px=32)),
        ("--method layer_cam --checks --fill mean --seed 2", RelevanceSettings(fill="mean", seed=2)),
        ("--method layer_cam --preferred --seed 2", RelevanceSettings(seed=2)),
        ("--images a.png --slide", RelevanceSettings()),
    ],
)
def test_an_option_that_changes_something_is_taken(words: str, settings: RelevanceSettings) -> None:
    assert _settings(build_parser().parse_args(["explain", "latest", *words.split()])) == settings


def test_settings_of_methods_are_settings() -> None:
    known = set(RelevanceSettings.__slots__)
    assert all(set(any_method(name).settings) <= known for name in RELEVANCE_METHODS)
    assert {one for name in RELEVANCE_METHODS for one in any_method(name).settings} == known
    assert any_method("layer_cam").settings == ()
