"""Every point of every space is a trial: points are drawn, built and trained for a step; some exported.

`make points` draws thousands; by itself this file draws some hundreds, since building nets takes its time.
"""

import copy
import os
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from torch import Tensor, nn
from trial_module import TrialModule

from search_spaces.closed_form import HEADS, RARER_HEADS, SCALINGS
from search_spaces.context import SpaceContext
from search_spaces.registry import TASK_SPACES, space_named
from trainables.config.tasks import TASKS
from trainables.config.trial_config import TrialConfig
from trainables.estimators.estimator import Rows
from trainables.estimators.modules import as_state
from trainables.inference.finished_trials import FinishedTrial, ImageFormat
from trainables.models.registry import DEFAULT_BACKBONES, backbone_named
from trainables.models.stages import Backbone, TrainedPart
from trainables.models.taps import feature_shapes, frozen_parts, tap_of
from trainables.models.weights import WeightsFile, build_stages
from trainables.preprocessing.transforms import default_side, transform_spec
from trainables.training import assembly
from trainables.training.assembly import assemble_part
from trainables.training.losses import weighted_loss
from trainables.training.optimizers import build_optimizer, weights_of
from trainables.validation.classical import fit_estimator, predicted

pytestmark = pytest.mark.slow

IMAGE_TASKS = tuple(task for task in TASK_SPACES if task != "wisconsin")
# They share one space, and differ in their classes: two, five, and three among the long ones.
SHORT_TASKS = ("benign_malignant", "five_class")
SAMPLED_TASKS = [
    pytest.param(task, marks=[] if task in SHORT_TASKS else [pytest.mark.long]) for task in IMAGE_TASKS
]
POINTS_A_TASK = int(os.environ.get("SPACE_POINTS", "30"))
SIDE = 32  # pixels; backbones that need more enlarge it
BATCH = 3


def context() -> SpaceContext:
    """Everything is affordable, and the data have pairs, types and finding codes."""

    def levels(name: str) -> tuple[str, ...]:
        return tuple(
            "top" if drop == 0 else f"top+{drop}" for drop in range(len(backbone_named(name).levels))
        )

    scratch = frozenset(name for name in DEFAULT_BACKBONES if backbone_named(name).trains_from_scratch)
    return SpaceContext(
        backbones=DEFAULT_BACKBONES,
        from_scratch=scratch,
        fine_tunes={
            name: () if name in scratch or backbone_named(name).is_fixed else levels(name)
            for name in DEFAULT_BACKBONES
        },
        flattens={name: levels(name) for name in DEFAULT_BACKBONES},
        levels={name: levels(name) for name in DEFAULT_BACKBONES},
        adapts_channels=frozenset({"efficientnet_lite0"}),
        augmentations=("none", "flips", "d4", "rotate"),
        sizes_px=dict.fromkeys(DEFAULT_BACKBONES, SIDE),
        epochs=30,
        images=100,
        depths=(0, 1, 2),
        has_free_form=True,
        image_px=SIDE,
        has_pairs=True,
        types=("none", "human", "probability", "hard"),
        phases=("five_class",),
    )


def points(task: str, count: int, *, heads: tuple[str, ...] = ()) -> Iterator[TrialConfig]:
    """Points of nets; with `heads` of single images, so that many have a closed-form head."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=11))
    alone: dict[str, Any] = {"heads": heads, "has_pairs": False, "types": ("none",)} if heads else {}
    alone |= {"rarer_heads": RARER_HEADS, "scalings": SCALINGS} if heads else {}
    space, facts = space_named(task), context().model_copy(update=alone)
    for _ in range(count):
        yield space.configure(study.ask(), facts, {})


@pytest.fixture(autouse=True)
def _backbones_are_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing first weights is most of the time; each point gets a copy of the same ones."""
    kept: dict[tuple[str, int], OrderedDict[str, nn.Module]] = {}

    def build(
        backbone: Backbone, *, channels: int, weights: WeightsFile | None
    ) -> OrderedDict[str, nn.Module]:
        key = (backbone.name, channels)
        if backbone.name.startswith("scratch:"):
            return build_stages(backbone, channels=channels, weights=weights)
        if key not in kept:
            kept[key] = build_stages(backbone, channels=channels, weights=weights)
        return copy.deepcopy(kept[key])

    monkeypatch.setattr(assembly, "build_stages", build)


@cache
def features_of(backbone: str, stage: str) -> tuple[int, ...]:
    net = backbone_named(backbone)
    return feature_shapes(backbone, net.channels or 1, default_side(net, (SIDE, SIDE)))[stage]


def example(config: TrialConfig, images: int) -> Tensor:
    """Features, or pixels, as the trained part takes them in."""
    backbone = backbone_named(config.model.backbone)
    spec = transform_spec(config, backbone, (SIDE, SIDE), 65535.0, is_test=False)
    tap = tap_of(config, backbone)
    shape: tuple[int, ...] = (spec.channels, spec.size_px, spec.size_px)
    if tap is not None:
        shape = features_of(backbone.name, tap.stage)[: 1 if tap.is_pooled else 3]
    lead = (images,) if config.model.pair == "none" else (images, 2)
    return torch.randn(*lead, *shape)


def build(config: TrialConfig, task: str) -> TrainedPart:
    return assemble_part(
        config,
        tuple(example(config, 1).shape[1:]),
        weights=None,
        image_channels=1,
        classes=len(TASKS[task].classes),
    )


@pytest.mark.parametrize("task", SAMPLED_TASKS)
def test_every_point_builds_and_trains_with_a_finite_gradient_everywhere(task: str) -> None:
    torch.manual_seed(0)
    classes, seen = len(TASKS[task].classes), 0
    for config in points(task, POINTS_A_TASK):
        part = build(config, task).train()
        known = None if config.model.type_input == "none" else torch.rand(BATCH, 1)
        labels = torch.arange(BATCH) % classes
        optimizer = build_optimizer(config.optimizer, weights_of(part).values())
        loss = weighted_loss(part(example(config, BATCH), known), labels, torch.ones(classes))
        loss.backward()
        for name, parameter in part.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, (name, config)
                assert torch.isfinite(parameter.grad).all(), (name, config)
        optimizer.step()
        seen += 1
    assert seen == POINTS_A_TASK


def test_points_cover_what_the_space_can_ask_for() -> None:
    drawn = list(points("benign_malignant", 400))
    assert {config.model.pair for config in drawn} == {"none", "absdiff", "diff", "concat"}
    assert {config.model.type_input for config in drawn} == {"none", "human", "probability", "hard"}
    assert {config.training.first_phase for config in drawn} == {"none", "head", "five_class"}
    assert {config.training.sampling for config in drawn} == {"none", "over", "under"}
    assert {config.model.head.output for config in drawn} == {"sigmoid", "softmax"}
    assert {config.input.clahe for config in drawn} == {None, 2.0, 4.0}
    families = {config.model.backbone.partition(":")[0] for config in drawn}
    assert families == {*DEFAULT_BACKBONES, "scratch"}


@pytest.mark.parametrize("task", SAMPLED_TASKS)
def test_every_point_of_a_closed_form_head_is_fitted_and_predicts(task: str) -> None:
    classes, random = len(TASKS[task].classes), np.random.default_rng(0)
    drawn = [config for config in points(task, 120, heads=HEADS) if config.classical.name != "none"]
    assert {config.classical.name for config in drawn} == {*HEADS, *RARER_HEADS}
    assert any(config.model.also for config in drawn)
    for config in drawn:
        for part in frozen_parts(config):
            assert backbone_named(part.model.backbone).plan(part.model).trained == ()
        labels = np.arange(15 * classes) % classes  # more than the most neighbours
        rows = Rows(
            random.normal(size=(len(labels), 40)).astype(np.float32),
            labels,
            np.arange(len(labels)).astype(np.str_),
            classes,
            np.ones(classes),
        )
        state = as_state(fit_estimator(config, rows, seed=0))
        found = predicted(state, rows.inputs, classes=classes)
        np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize("number", [0, *(pytest.param(one, marks=pytest.mark.long) for one in range(1, 6))])
def test_a_point_survives_export(number: int) -> None:
    """Full ONNX files of finished trials are compared in the tests of export; here any point is traced."""
    # A predicted type takes a second trial, which `tests/unit/results/export/test_input_checks.py` has.
    told = [
        config
        for config in points("benign_malignant", 60)
        if config.model.type_input not in ("probability", "hard")
    ]
    config = told[number * 4]
    torch.manual_seed(0)
    part = build(config, "benign_malignant").eval()
    trial = FinishedTrial(config, [part.kept_state()], None)
    module = TrialModule(trial, ImageFormat((SIDE, SIDE), 65535.0), classes=2)
    raw = torch.randint(0, 65535, (2, SIDE, SIDE), dtype=torch.int32)
    baseline = None if config.model.pair == "none" else raw.flip(0)
    inputs = (raw, baseline, torch.ones(2) if config.model.type_input == "human" else None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(module, inputs)
    torch.testing.assert_close(exported.module()(*inputs), module(*inputs))
