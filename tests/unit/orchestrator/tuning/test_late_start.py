"""A search whose features are not there in time still ends with a score, of what is there."""

import time
from pathlib import Path
from typing import Any

import pytest
from list_study import complete
from worker_run import worker_run

from orchestrator.preflight.feasibility import about_short_limit
from orchestrator.study.price import Pass, PointPrice
from orchestrator.tuning.late_start import LAST_SECONDS
from orchestrator.tuning.trial_manager import GRACE_SECONDS
from orchestrator.tuning.trial_runner import FEWEST_EPOCHS, TrialRunner
from results.run.records import TrialRecord
from results.run.run_folder import RunFolder
from trainables.config.smaller_forms import smaller_forms
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.patches import PatchSet

PLAIN = {
    "model.backbone": "efficientnet_lite0",
    "input.size_px": 32,
    "model.head.hidden": [8],
    "training.epochs": 6,
    "training.augmentation": "none",
    "training.average_views": False,
}
FLIPPED = PLAIN | {"training.augmentation": "flips", "training.average_views": True}
CLOSED = {"input.size_px": 32, "classical.name": "lda", "training.epochs": 1, "training.augmentation": "none"}


@pytest.fixture
def run(bright_patches: PatchSet, tmp_path: Path) -> RunFolder:
    return worker_run(bright_patches, tmp_path)


def ended(run: RunFolder, number: int, config: TrialConfig, deadline: float | None) -> TrialRecord:
    trial = TrialRunner(run, number, config, {}, gpus=0.0, cpus=1.0, recipe="ours", deadline=deadline)
    while not trial.step().is_end:
        pass
    record = run.record(number)
    assert record is not None
    return record


def forget(run: RunFolder, number: int) -> None:
    run.record_file(number).unlink()


def just_now() -> float:
    return time.monotonic() - 1.0


def test_a_trial_is_scored_on_the_views_that_are_there(run: RunFolder) -> None:
    plain = ended(run, 0, decode(PLAIN), None)
    forget(run, 0)
    late = ended(run, 1, decode(FLIPPED), just_now())
    assert (late.state, late.cause, late.epochs) == ("complete", "time_budget", FEWEST_EPOCHS)
    assert late.config == plain.config
    assert (plain.recipe, late.recipe) == ("ours", "")  # with less it is not of the recipe
    assert late.prefix is not None
    assert late.prefix.computed == 0
    assert (
        late.error
        == "the time was up before all views were there: trained on plain images, without augmentation"
    )


def test_where_nothing_is_there_the_plain_images_are_computed(run: RunFolder) -> None:
    late = ended(run, 0, decode(FLIPPED), just_now())
    assert (late.state, late.config["training.augmentation"]) == ("complete", "none")
    assert late.prefix is not None
    assert late.prefix.computed == 1


def test_a_trial_on_plain_images_runs_as_it_is(run: RunFolder) -> None:
    late = ended(run, 0, decode(PLAIN), just_now())
    assert (late.state, late.recipe) == ("complete", "ours")
    assert late.error == "the time was up before it began; no trial has a score, so it ran all the same"


def test_a_search_that_has_a_score_computes_nothing_more(run: RunFolder) -> None:
    run.write_record(complete(7, 0.8))
    late = ended(run, 0, decode(FLIPPED), just_now())
    assert (late.state, late.cause, late.epochs, late.value) == ("pruned", "time_budget", 0, None)
    assert late.recipe == "ours"
    assert late.error is not None
    assert late.error.startswith("the time was up before view d4-0 of efficientnet_lite0 was computed")
    assert not list((Path(run.search().store) / "prefix").rglob("*.npy*"))


def test_a_trial_that_comes_far_too_late_is_scored_after_its_first_epoch(run: RunFolder) -> None:
    late = ended(run, 0, decode(FLIPPED), time.monotonic() - LAST_SECONDS)
    assert (late.state, late.cause, late.epochs) == ("complete", "time_budget", 1)


def test_a_closed_form_head_is_fitted_on_the_net_that_is_there(
    bright_patches: PatchSet, tmp_path: Path
) -> None:
    nets = ["efficientnet_lite0", "intensity"]
    context = worker_run(bright_patches, tmp_path).search().space_context
    sizes = {"efficientnet_lite0": 32, "intensity": 32}
    both: dict[str, Any] = {"fine_tunes": dict.fromkeys(nets, ()), "sizes_px": sizes, "backbones": nets}
    run = worker_run(bright_patches, tmp_path, space_context=context | both, backbones=tuple(nets))
    alone = decode(CLOSED | {"model.backbone": "intensity"})
    ended(run, 0, alone, None)
    forget(run, 0)
    config = decode(CLOSED | {"model.backbone": "efficientnet_lite0", "model.also": "intensity/top"})
    late = ended(run, 1, config, just_now())
    assert (late.state, late.config["model.backbone"], late.config["model.also"]) == (
        "complete",
        "intensity",
        [],
    )
    assert late.error == "the time was up before all features were there: fitted on those of intensity alone"


def test_the_worker_ends_its_trial_before_the_manager_does() -> None:
    assert LAST_SECONDS < GRACE_SECONDS


def test_a_form_with_another_first_net_has_pooled_features() -> None:
    config = decode(
        CLOSED
        | {
            "model.backbone": "vgg16",
            "model.head.pooling": "flatten",
            "model.also": "resnet50/top,vgg16/top+1",
        }
    )
    first, second = smaller_forms(config)
    assert (first.model.also, first.model.head.pooling) == (("vgg16/top+1",), "flatten")
    assert (second.model.backbone, second.model.also, second.model.head.pooling) == ("resnet50", (), "gap")


@pytest.mark.parametrize(("minutes", "is_said"), [(None, False), (0.6, False), (0.5, True)])
def test_a_limit_below_the_cheapest_features_is_said_before_the_search(
    minutes: float | None, is_said: bool
) -> None:
    def price(config: TrialConfig) -> PointPrice:
        seconds = 36.0 if config.training.augmentation == "none" else 144.0
        return PointPrice({Pass("net", 224, 1.0, "d4-0"): seconds}, 0.0)

    found = about_short_limit([decode(FLIPPED)], price, minutes)
    assert len(found) == is_said
    if is_said:
        assert found[0].startswith(
            "--minutes 0.5 is short: the cheapest features of all images take about 0:36"
        )
