"""Fine-tuning: each setting against a reference, and the same in fused and sequential models."""

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import timm.optim
import torch
from split_data import split_in_three
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from results.scores.metrics import scores
from trainables.common.errors import ConfigError
from trainables.config.fine_tuning_config import FineTuningConfig
from trainables.config.trial_config import OptimizerConfig, TrialConfig, decode
from trainables.data.patches import PatchSet
from trainables.data.training_data import TrainingData
from trainables.models.drop_path import DropPath, stages_with_branches
from trainables.models.heads import Dropout, Head
from trainables.models.recomputation import recomputed
from trainables.models.registry import backbone_named
from trainables.models.stages import TrainedPart
from trainables.models.weights import take_inventory
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.assembly import assemble_part
from trainables.training.fused import can_fuse
from trainables.training.optimizers import build_optimizer, warmup_factor, weights_of
from trainables.training.stepping import Stepper, parts_of
from trainables.training.weight_average import WeightAverage, decay_at
from trainables.validation.cross_validation import CrossValidation

pytestmark = pytest.mark.slow

RESNET = "timm:test_resnet"
VIT = "timm:test_vit"
FROM_PIXELS: dict[str, Any] = {
    "model.backbone": RESNET,
    "model.weights": "random",
    "model.trained_stages": "all",
    "model.head.hidden": "8",
    "input.size_px": 32,
    "training.epochs": 2,
    "training.batch_size": 16,
    "training.average_views": False,
}
# What is new, and what stands beside it.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "average of weights": ({"fine_tuning.ema": 0.9}, {}),
    "average of weights, with folds that stop": (
        {"fine_tuning.ema": 0.9},
        {
            "training.early_stopping_scope": "fold",
            "training.patience": 1,
            "training.epochs": 4,
            "optimizer.lr": 0.3,
        },
    ),
    "warm-up": ({"fine_tuning.warmup_epochs": 2}, {"optimizer.schedule": "cosine"}),
    "decay by layer": ({"fine_tuning.layer_decay": 0.5}, {"optimizer.name": "sgd", "optimizer.lr": 0.1}),
    "dropped branches": ({"fine_tuning.drop_path": 0.5}, {}),
    "a batch in parts": ({"fine_tuning.accumulation": 3}, {"model.head.dropout": 0.3}),
    "focal loss": ({"training.focal_gamma": 2.0}, {"training.label_smoothing": 0.1}),
    "focal loss of two logits": (
        {"training.focal_gamma": 1.5},
        {"model.head.output": "softmax", "training.mixup": 0.3},
    ),
    "effective numbers": (
        {"training.class_weight": "effective", "training.effective_beta": 0.9},
        {"training.train_fraction": 0.45},  # or the classes would be of one size
    ),
}


@pytest.fixture
def training_data(bright_patches: PatchSet) -> TrainingData:
    return split_in_three(bright_patches)


@pytest.fixture
def runtime(tmp_path: Path) -> TrialRuntime:
    inventory = take_inventory((RESNET, VIT), weights_dir=None, may_download=False, is_random=True)
    return TrialRuntime(tmp_path, torch.device("cpu"), inventory.usable, dtype=torch.float64)


def finished(
    settings: dict[str, Any], training_data: TrainingData, runtime: TrialRuntime, mode: Any = "sequential"
) -> CrossValidation:
    config = decode(FROM_PIXELS | settings)
    place = dataclasses.replace(runtime, fusion=mode)
    run = CrossValidation(config, training_data, place, seed=3, score=scores)
    while not run.is_over:
        run.epoch()
    return run


def outcome(run: CrossValidation) -> np.ndarray:
    assert run.best is not None
    return run.best.probabilities


@pytest.mark.long
@pytest.mark.parametrize(("new", "beside"), CASES.values(), ids=CASES.keys())
def test_fused_and_sequential_models_agree_on_what_a_setting_changes(
    new: dict[str, Any], beside: dict[str, Any], training_data: TrainingData, runtime: TrialRuntime
) -> None:
    one, other = (finished(new | beside, training_data, runtime, mode) for mode in ("sequential", "fused"))
    assert other.folds.models.mode == "fused"
    np.testing.assert_allclose(outcome(other), outcome(one), atol=1e-5)
    assert one.best is not None
    assert other.best is not None
    for expected, found in zip(one.best.weights, other.best.weights, strict=True):
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, atol=1e-5, rtol=1e-5)
    without = finished(beside, training_data, runtime)
    assert np.abs(outcome(without) - outcome(one)).max() > 1e-6


def test_an_average_of_weights_is_that_of_torch() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    resting = nn.Linear(2, 2)

    def average(kept: Tensor, now: Tensor, steps: Tensor | int) -> Tensor:
        decay = decay_at(0.8, int(steps))
        return decay * kept + (1.0 - decay) * now

    reference = AveragedModel(net, avg_fn=average, use_buffers=True)
    own = WeightAverage(0.8, [net.state_dict(), resting.state_dict()])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    for _ in range(30):
        optimizer.zero_grad()
        net(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
        reference.update_parameters(net)
        own.update([True, False])
    live = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with own.in_place():
        for name, expected in reference.module.state_dict().items():
            if expected.is_floating_point():
                torch.testing.assert_close(net.state_dict()[name], expected)
                assert not torch.equal(expected, live[name])
        assert resting.weight.abs().sum() > 0
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, live[name]), name


def test_a_trial_goes_on_from_a_checkpoint_with_its_average(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    settings = {"fine_tuning.ema": 0.9, "fine_tuning.warmup_epochs": 2, "training.epochs": 3}
    for mode in ("sequential", "fused"):
        whole = finished(settings, training_data, runtime, mode)
        place = dataclasses.replace(runtime, fusion=mode)
        config = decode(FROM_PIXELS | settings)
        first, second = (
            CrossValidation(config, training_data, place, seed=3, score=scores) for _ in range(2)
        )
        first.epoch()
        second.load_state(first.state())
        while not second.is_over:
            second.epoch()
        np.testing.assert_allclose(outcome(second), outcome(whole), atol=1e-9)


def test_a_warm_up_is_that_of_torch() -> None:
    epochs, steps = 3, 4
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.LinearLR(
        optimizer, start_factor=1.0 / (epochs * steps), total_iters=epochs * steps - 1
    )
    for epoch in range(5):
        for step in range(steps):
            found = warmup_factor(epochs, epoch, step, steps)
            assert found == pytest.approx(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
    assert warmup_factor(0, 0, 0, steps) == 1.0


def vit_part(settings: dict[str, Any]) -> TrainedPart:
    config = decode(
        {"model.backbone": VIT, "model.weights": "random", "model.trained_stages": "all", **settings}
    )
    torch.manual_seed(0)
    return assemble_part(config, (3, 64, 64), weights=None, image_channels=3, classes=2)


def test_rates_fall_from_stage_to_stage_as_in_timm() -> None:
    part = vit_part({"model.head.hidden": "none"})
    config = OptimizerConfig(lr=0.1, stage_lr_factor=0.5)
    optimizer = build_optimizer(config, weights_of(part).values(), layer_decay=0.7)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    own = {name.removeprefix("trained."): rates[id(parameter)] for name, parameter in part.named_parameters()}
    net = timm.create_model("test_vit", num_classes=2)
    groups = timm.optim.param_groups_layer_decay(net, layer_decay=0.7)
    scales = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    theirs = {name: scales[id(parameter)] for name, parameter in net.named_parameters()}
    blocks = len(net.blocks)
    for block in range(blocks):
        # timm counts the head as one more layer; here the last stage has the rate that is asked for.
        expected = (
            0.1
            * 0.5
            * theirs[f"blocks.{block}.attn.qkv.weight"]
            / theirs[f"blocks.{blocks - 1}.attn.qkv.weight"]
        )
        assert own[f"blocks_{block}.block.attn.qkv.weight"] == pytest.approx(expected)
    assert own["stem.net.patch_embed.proj.weight"] == pytest.approx(0.05 * 0.7**blocks)
    assert {rate for name, rate in own.items() if name.startswith("head.")} == {0.1}


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_weights_decay_and_no_tokens_positions_or_tables_of_biases_as_in_timm(name: str) -> None:
    with torch.device("meta"):
        net, stages = timm.create_model(name, num_classes=2), backbone_named(f"timm:{name}").build(3)
        part = TrainedPart(None, nn.Sequential(), nn.Sequential(stages), Head(nn.Linear(8, 2)))
    groups = timm.optim.param_groups_weight_decay(net, 0.1, no_weight_decay_list=net.no_weight_decay())
    resting = {id(p) for group in groups if group["weight_decay"] == 0.0 for p in group["params"]}
    by_shape = {tuple(p.shape) for p in net.parameters() if id(p) in resting and p.dim() > 1}
    assert by_shape
    for own_name, own in weights_of(part).items():
        is_spared = own.tensor.dim() < 2 or tuple(own.tensor.shape) in by_shape
        assert own.decays != is_spared, own_name


def test_a_readout_is_no_stage_of_its_own_for_the_rates() -> None:
    settings = {"model.head.hidden": "none", "model.cut": "blocks_3.class"}
    behind = {name: own.stages_behind for name, own in weights_of(vit_part(settings)).items()}
    blocks = {name.split(".")[1]: count for name, count in behind.items() if name.startswith("trained.")}
    assert (blocks["blocks_2"], blocks["blocks_3"]) == (1, 0)
    settings = {"model.backbone": VIT, "model.trained_stages": 1, "model.cut": "blocks_3.class"}
    plan = backbone_named(VIT).plan(decode(settings).model)
    assert (plan.depth, plan.trained) == (1, ("blocks_3", "blocks_3_class"))


def test_one_rate_for_all_stages_makes_the_groups_of_earlier_versions() -> None:
    weights = list(weights_of(vit_part({})).values())
    optimizer = build_optimizer(OptimizerConfig(stage_lr_factor=0.1), weights)
    assert len(optimizer.param_groups) == 4
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(weights)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
def test_branches_are_dropped_where_and_as_often_as_in_timm(name: str) -> None:
    settings = {"model.backbone": f"timm:{name}", "model.weights": "random", "model.trained_stages": "all"}
    part = assemble_part(
        decode({**settings, "fine_tuning.drop_path": 0.3}),
        (3, 64, 64),
        weights=None,
        image_channels=3,
        classes=2,
    )
    own = [layer.p for layer in part.modules() if isinstance(layer, DropPath)]
    net = timm.create_model(name, drop_path_rate=0.3)
    theirs = [layer.drop_prob for layer in net.modules() if isinstance(layer, timm.layers.DropPath)]
    assert len(own) > 1
    assert own == pytest.approx(theirs)


def test_a_dropped_branch_is_zero_for_an_image_and_keeps_its_mean() -> None:
    layer = DropPath(0.25).train()
    layer.generator = torch.Generator().manual_seed(0)
    found = layer(torch.ones(4000, 2, 3, 3))
    assert set(found.flatten(1).std(dim=1).tolist()) == {0.0}
    assert found.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert found.mean().item() == pytest.approx(1.0, abs=0.05)
    assert torch.equal(layer.eval()(found), found)


def test_branches_of_frozen_stages_stay() -> None:
    config = decode({"model.backbone": VIT, "model.trained_stages": 1, "fine_tuning.drop_path": 0.2})
    part = assemble_part(config, (2 * 64, 4, 4), weights=None, image_channels=3, classes=2)
    rates = [layer.p for layer in part.modules() if isinstance(layer, DropPath)]
    assert rates == pytest.approx([0.2, 0.2])


def test_a_net_without_branches_cannot_drop_them() -> None:
    assert stages_with_branches("vgg16") == frozenset()
    assert "conv_head" not in stages_with_branches("efficientnet_lite0")
    assert len(stages_with_branches("efficientnet_lite0")) == 7
    config = decode({"model.backbone": "vgg16", "model.trained_stages": 2, "fine_tuning.drop_path": 0.2})
    message = r"drop_path=0.2, but the trained stages of vgg16 \(block5_conv3, block5_pool\) have no residual"
    with pytest.raises(ConfigError, match=message):
        assemble_part(config, (512, 4, 4), weights=None, image_channels=3, classes=2)


class Stage(nn.Module):
    """Convolution, batch normalisation and dropout, counting how often it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), Dropout(0.5))
        self.runs = 0

    def forward(self, features: Tensor) -> Tensor:
        self.runs += 1
        found: Tensor = self.body(features)
        return found


def test_a_stage_that_is_computed_again_has_the_same_gradients_and_statistics() -> None:
    torch.manual_seed(0)
    once, twice = (stage := Stage()), copy.deepcopy(stage)
    images = torch.randn(4, 2, 5, 5)
    for stage, run in (
        (once, once),
        (twice, lambda images: recomputed(twice, images)),
    ):
        stage.body[3].generator = torch.Generator().manual_seed(7)
        for _ in range(2):
            run(images).square().sum().backward()
    assert (once.runs, twice.runs) == (2, 4)
    assert torch.equal(once.body[3].generator.get_state(), twice.body[3].generator.get_state())
    for name, tensor in once.state_dict().items():
        assert torch.equal(twice.state_dict()[name], tensor), name
    for (name, one), (_, other) in zip(once.named_parameters(), twice.named_parameters(), strict=True):
        assert torch.equal(one.grad, other.grad), name


def test_computing_stages_again_changes_nothing_that_is_learned(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    settings = {"fine_tuning.drop_path": 0.5, "model.head.dropout": 0.3}
    plain = finished(settings, training_data, runtime)
    again = finished({**settings, "fine_tuning.checkpointing": True}, training_data, runtime, "fused")
    assert again.folds.models.mode == "sequential"  # folds are not fused, whatever is asked for
    assert not can_fuse(again.folds.models.parts[0])
    assert np.array_equal(outcome(again), outcome(plain))


def test_activations_of_stages_are_not_kept_for_the_backward_pass() -> None:
    def kept(**settings: Any) -> int:
        part = vit_part({f"fine_tuning.{name}": value for name, value in settings.items()}).train()
        sizes: list[int] = []

        def pack(tensor: Tensor) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            part(torch.rand(2, 3, 64, 64))
        return sum(sizes)

    assert kept(checkpointing=True) < 0.5 * kept()


def test_a_batch_in_parts_has_the_gradients_of_the_whole(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    settings = {
        "model.backbone": VIT,  # without batch normalisation, whose statistics are of a part
        "input.size_px": 32,
        "model.head.dropout": 0.0,
        "training.augmentation": "none",
        "training.class_weight": "balanced",
        "optimizer.name": "sgd",
        "optimizer.lr": 0.1,
        "training.epochs": 1,
    }
    whole = finished(settings, training_data, runtime)
    in_parts = finished({**settings, "fine_tuning.accumulation": 5}, training_data, runtime)
    np.testing.assert_allclose(outcome(in_parts), outcome(whole), atol=1e-9)
    assert whole.best is not None
    assert in_parts.best is not None
    assert np.isclose(whole.best.loss, in_parts.best.loss, atol=1e-9)


def test_no_part_of_a_batch_has_a_single_image() -> None:
    def sizes(images: int, count: int) -> list[int]:
        return [part.shape[1] for part, _ in parts_of(np.zeros((2, images), dtype=np.int64), count)]

    assert sizes(16, 256) == [2] * 8
    assert sizes(7, 3) == [3, 2, 2]
    assert sizes(3, 2) == [3]
    assert sizes(1, 4) == [1]
    assert sum(share for _, share in parts_of(np.zeros((1, 11), dtype=np.int64), 4)) == pytest.approx(1.0)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("mode", ["sequential", "fused"])
def test_mixed_precision_learns_nearly_the_same_with_weights_in_single_precision(
    precision: str, mode: str, training_data: TrainingData, runtime: TrialRuntime
) -> None:
    single = dataclasses.replace(runtime, dtype=torch.float32)
    settings = {"model.head.dropout": 0.0, "optimizer.lr": 1e-4, "training.augmentation": "none"}
    plain = finished(settings, training_data, single, mode)
    mixed = finished({**settings, "fine_tuning.precision": precision}, training_data, single, mode)
    difference = np.abs(outcome(mixed) - outcome(plain)).max()
    assert 0.0 < difference < 0.05
    assert mixed.best is not None
    kept = [tensor for state in mixed.best.weights for tensor in state.values() if tensor.is_floating_point()]
    assert {tensor.dtype for tensor in kept} == {torch.float32}


def test_a_step_that_overflows_is_left_out_and_the_factor_is_halved() -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = build_optimizer(OptimizerConfig(name="sgd", lr=0.5, l1=0.25), weights_of_tensor(weight))
    stepper = Stepper(optimizer, FineTuningConfig(precision="float16"), torch.device("cpu"))
    stepper.backward((weight * float("inf")).sum())
    stepper.step()
    assert weight.detach().tolist() == [1.0, 1.0, 1.0]
    optimizer.zero_grad()
    before = stepper.state()["scale"]
    stepper.backward((weight * 2.0).sum())
    stepper.step()
    assert before == 0.5 * 65536.0
    assert weight.detach().tolist() == pytest.approx([1.0 - 0.5 * (2.0 + 0.25)] * 3)


def weights_of_tensor(weight: nn.Parameter) -> Iterator[Any]:
    from trainables.training.optimizers import Weight

    yield Weight(weight, is_stage=False, decays=True)


def test_the_defaults_change_nothing_and_earlier_configurations_have_them() -> None:
    config: TrialConfig = decode({"model.backbone": "vgg16"})
    assert config.fine_tuning == FineTuningConfig()
    assert config.fine_tuning.model_dump() == {
        "ema": 0.0,
        "warmup_epochs": 0,
        "layer_decay": 1.0,
        "drop_path": 0.0,
        "precision": "float32",
        "checkpointing": False,
        "accumulation": 1,
    }
