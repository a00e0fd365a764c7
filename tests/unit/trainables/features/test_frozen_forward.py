import errno
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainables.common.errors import PrefixError
from trainables.data.patches import PatchSet
from trainables.features import executor, frozen_forward, onnx_stages
from trainables.features.executor import StageExecutor
from trainables.features.frozen_forward import FrozenForward, one_behind, to_tensor
from trainables.models.taps import Tap
from trainables.preprocessing.transforms import PixelTransform, TransformSpec
from trainables.preprocessing.views import View, apply_symmetry

pytestmark = pytest.mark.slow

LOW, TOP, MAP = Tap("low", is_pooled=False), Tap("top", is_pooled=True), Tap("top", is_pooled=False)
SPEC = TransformSpec(65535.0, 1.5, False, 16, 3, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
CPU = torch.device("cpu")
IDENTITY, TURNED, DRAWN = View("d4", 0), View("d4", 5), View("rotate", 1)


def make_stages() -> "OrderedDict[str, nn.Module]":
    torch.manual_seed(0)
    stages = OrderedDict(
        low=nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()),
        middle=nn.Sequential(nn.Conv2d(4, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU6()),
        top=nn.Sequential(nn.Conv2d(6, 5, 1)),
    )
    for layer in nn.ModuleList(stages.values()).modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.5, 0.5)
            layer.running_var.uniform_(0.5, 2.0)
    return stages


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the graph of the stages above."""
    cache = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executor, "BREAK_EVEN", 0)
        runs = StageExecutor(make_stages(), torch.rand(4, 3, 16, 16), cache=cache)
        runs.expect(1)
    assert runs.name == "ONNX Runtime", runs.reason
    return cache


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **settings: object) -> None:
        raise AssertionError("exported again")

    monkeypatch.setattr(torch.onnx, "export", refuse)


def expected(patches: PatchSet, rows: "np.ndarray", view: View) -> dict[str, Tensor]:
    images = apply_symmetry(PixelTransform(SPEC)(to_tensor(patches.images[rows])), view.index)
    out = {}
    with torch.no_grad():
        for name, stage in make_stages().items():
            out[name] = images = stage.eval()(images)
    return out


def joined(forward: FrozenForward, view: View, taps: list[Tap]) -> dict[Tap, Tensor]:
    batches = list(forward(view, taps))
    sizes = [len(features[taps[0]]) for _, features in batches]
    assert [start for start, _ in batches] == np.cumsum([0, *sizes[:-1]]).tolist()
    return {tap: torch.cat([features[tap] for _, features in batches]) for tap in taps}


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("view", [IDENTITY, TURNED])
def test_features_are_those_of_the_plain_stages(
    bright_patches: PatchSet, exported: Path, no_export: None, cached: bool, view: View
) -> None:
    rows = np.arange(3, 40, 2)
    cache = exported if cached else None
    forward = FrozenForward(bright_patches, rows, make_stages(), SPEC, device=CPU, cache=cache)
    found = joined(forward, view, [LOW, TOP, MAP])
    truth = expected(bright_patches, rows, view)
    assert forward.executor.name == ("ONNX Runtime" if cached else "torch")
    for tap, values in found.items():
        wanted = truth[tap.stage].mean(dim=(2, 3)) if tap.is_pooled else truth[tap.stage]
        torch.testing.assert_close(values, wanted, rtol=1e-4, atol=1e-4)
        assert values.dtype == torch.float32


def test_large_images_go_in_smaller_batches(
    bright_patches: PatchSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_bytes = 4 * int(np.prod(bright_patches.images.shape[1:]))
    monkeypatch.setattr(frozen_forward, "_BATCH_BYTES", 5 * image_bytes + 1)
    forward = FrozenForward(bright_patches, np.arange(12), make_stages(), SPEC, device=CPU)
    assert [start for start, _ in forward(IDENTITY, [TOP])] == [0, 5, 10]
    monkeypatch.setattr(frozen_forward, "_BATCH_BYTES", 1)
    forward = FrozenForward(bright_patches, np.arange(3), make_stages(), SPEC, device=CPU)
    assert [start for start, _ in forward(IDENTITY, [TOP])] == [0, 1, 2]


@pytest.mark.parametrize("cached", [False, True])
def test_features_do_not_depend_on_the_batch_that_an_image_is_in(
    bright_patches: PatchSet, exported: Path, cached: bool
) -> None:
    cache = exported if cached else None
    one, many = (
        joined(
            FrozenForward(
                bright_patches,
                np.arange(9),
                make_stages(),
                SPEC,
                device=CPU,
                batch_size=size,
                cache=cache,
            ),
            TURNED,
            [TOP],
        )
        for size in (1, 7)
    )
    torch.testing.assert_close(one[TOP], many[TOP], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cached", [False, True])
def test_a_frozen_prefix_never_updates_batch_norm_statistics(
    bright_patches: PatchSet, exported: Path, cached: bool
) -> None:
    stages = make_stages()
    for stage in stages.values():
        stage.train()
    before = {name: value.clone() for name, value in nn.ModuleDict(stages).state_dict().items()}
    cache = exported if cached else None
    forward = FrozenForward(bright_patches, np.arange(8), stages, SPEC, device=CPU, cache=cache)
    joined(forward, IDENTITY, [TOP])
    after = nn.ModuleDict(stages).state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not any(p.requires_grad or m.training for m in stages.values() for p in m.parameters())


def test_symmetries_share_one_transform_of_each_image(
    bright_patches: PatchSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = FrozenForward(bright_patches, np.arange(40), make_stages(), SPEC, device=CPU)
    calls: list[int] = []
    plain = forward.transform.forward
    monkeypatch.setattr(forward.transform, "forward", lambda raw: calls.append(len(raw)) or plain(raw))
    first = joined(forward, IDENTITY, [MAP])
    joined(forward, TURNED, [MAP])
    again = joined(forward, IDENTITY, [MAP])
    assert sum(calls) == 40
    assert torch.equal(first[MAP], again[MAP])
    joined(forward, DRAWN, [MAP])
    assert sum(calls) == 80


def test_large_sets_are_transformed_anew_for_each_view(
    bright_patches: PatchSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen_forward, "_KEPT_BYTES", 1000)
    forward = FrozenForward(bright_patches, np.arange(5), make_stages(), SPEC, device=CPU)
    joined(forward, IDENTITY, [TOP])
    assert not forward._kept


def test_few_images_run_in_torch_and_say_so(
    bright_patches: PatchSet, tmp_path: Path, no_export: None
) -> None:
    forward = FrozenForward(
        bright_patches, np.arange(5), make_stages(), SPEC, device=CPU, cache=tmp_path / "cache"
    )
    joined(forward, IDENTITY, [TOP])
    assert forward.executor.reason == "torch: 0.0 of the 400 G multiply-adds that pay"
    assert not (tmp_path / "cache").exists()


def test_work_adds_up_over_views_until_an_export_pays(
    bright_patches: PatchSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages, rows = make_stages(), np.arange(40)
    one_view = 40 * executor.multiply_adds(stages, torch.rand(1, 3, 16, 16))
    monkeypatch.setattr(executor, "BREAK_EVEN", 1.5 * one_view)
    forward = FrozenForward(bright_patches, rows, stages, SPEC, device=CPU, cache=tmp_path)
    names = []
    for view in (IDENTITY, TURNED):
        joined(forward, view, [TOP])
        names.append(forward.executor.name)
    assert names == ["torch", "ONNX Runtime"]
    assert len(list(tmp_path.glob("*.onnx"))) == 1
    assert max(stop - start for start, stop in forward._kept) == forward.executor.batch_size


def test_a_stored_graph_is_only_loaded_and_serves_other_taps(
    bright_patches: PatchSet, exported: Path, no_export: None
) -> None:
    forward = FrozenForward(bright_patches, np.arange(6), make_stages(), SPEC, device=CPU, cache=exported)
    low = joined(forward, IDENTITY, [LOW])
    assert forward.executor.name == "ONNX Runtime"
    torch.testing.assert_close(
        low[LOW], expected(bright_patches, np.arange(6), IDENTITY)["low"], rtol=1e-4, atol=1e-4
    )


def change_a_weight(stages: "OrderedDict[str, nn.Module]") -> None:
    stages["top"][0].bias.data[0] += 1


def change_a_stage(stages: "OrderedDict[str, nn.Module]") -> None:
    stages["middle"][2] = nn.ReLU()


@pytest.mark.parametrize("change", [change_a_weight, change_a_stage])
def test_other_stages_have_another_graph(exported: Path, change: Callable[..., None]) -> None:
    stages = make_stages()
    change(stages)
    runs = StageExecutor(stages, torch.rand(4, 3, 16, 16), cache=exported)
    runs.expect(1)
    assert runs.name == "torch"


@pytest.mark.parametrize("damage", [b"", b"no graph at all"])
def test_a_damaged_graph_is_written_again(
    exported: Path, tmp_path: Path, damage: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / next(exported.glob("*.onnx")).name
    path.write_bytes(damage)
    runs = StageExecutor(make_stages(), torch.rand(4, 3, 16, 16), cache=tmp_path)
    runs.expect(1)
    assert runs.name == "ONNX Runtime", runs.reason
    assert path.stat().st_size > 1000


def test_an_export_that_fails_leaves_torch_and_the_reason(
    bright_patches: PatchSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **settings: object) -> None:
        raise RuntimeError("no such operator\nand much more")

    monkeypatch.setattr(executor, "BREAK_EVEN", 0)
    monkeypatch.setattr(torch.onnx, "export", fail)
    forward = FrozenForward(bright_patches, np.arange(6), make_stages(), SPEC, device=CPU, cache=tmp_path)
    found = joined(forward, IDENTITY, [TOP])
    reason = "the stages cannot be exported to ONNX: RuntimeError: no such operator"
    assert forward.executor.reason == f"torch: {reason}"
    assert [path.read_text().split("\n")[1] for path in tmp_path.glob("*.refused")] == [reason]
    truth = expected(bright_patches, np.arange(6), IDENTITY)["top"].mean(dim=(2, 3))
    torch.testing.assert_close(found[TOP], truth, rtol=1e-4, atol=1e-4)


def test_a_refused_export_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(executor, "BREAK_EVEN", 0)
    monkeypatch.setattr(torch.onnx, "export", lambda *arguments, **settings: calls.append(arguments))
    for _ in range(2):
        runs = StageExecutor(make_stages(), torch.rand(4, 3, 16, 16), cache=tmp_path)
        runs.expect(1)
        assert "the exporter returned nothing" in runs.reason
    assert len(calls) == 1


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DefaultCPUAllocator: can't allocate memory: Error code 12 (Cannot allocate memory)"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_machine_without_room_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, is_wrapped: bool
) -> None:
    def fail(*arguments: object, **settings: object) -> None:
        if is_wrapped:
            raise RuntimeError("the exporter failed") from error
        raise error

    monkeypatch.setattr(executor, "BREAK_EVEN", 0)
    with monkeypatch.context() as failing:
        failing.setattr(torch.onnx, "export", fail)
        runs = StageExecutor(make_stages(), torch.rand(4, 3, 16, 16), cache=tmp_path)
        runs.expect(1)
        assert runs.reason.startswith("torch: the stages cannot be exported to ONNX: ")
    assert not list(tmp_path.glob("*.refused"))
    runs = StageExecutor(make_stages(), torch.rand(4, 3, 16, 16), cache=tmp_path)
    runs.expect(1)
    assert runs.name == "ONNX Runtime", runs.reason


def test_a_graph_that_does_not_fit_into_memory_now_stays(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("Failed to allocate memory for requested buffer of size 4398046511104")

    stored = next(exported.glob("*.onnx"))
    path = tmp_path / stored.name
    path.write_bytes(stored.read_bytes())
    monkeypatch.setattr(onnx_stages.OnnxStages, "__call__", fail)
    runs = StageExecutor(make_stages(), torch.rand(4, 3, 16, 16), cache=tmp_path)
    runs.expect(1)
    assert runs.name == "torch"
    assert path.read_bytes() == stored.read_bytes()
    assert not list(tmp_path.glob("*.refused"))


@pytest.mark.parametrize("refused", ["onnxscript 0.0.1, onnxruntime 0.0.1\nno operator", "no operator"])
def test_an_export_that_other_versions_refused_is_tried_again(
    exported: Path, tmp_path: Path, refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / next(exported.glob("*.onnx")).name).with_suffix(".refused").write_text(refused)
    monkeypatch.setattr(executor, "BREAK_EVEN", 0)
    runs = StageExecutor(make_stages(), torch.rand(4, 3, 16, 16), cache=tmp_path)
    runs.expect(1)
    assert runs.name == "ONNX Runtime", runs.reason


def test_a_graph_that_computes_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "BREAK_EVEN", 0)
    run = onnx_stages.OnnxStages.__call__

    def off(self: object, images: Tensor, wanted: list[str]) -> dict[str, Tensor]:
        return {name: values * 1.01 for name, values in run(self, images, wanted).items()}

    monkeypatch.setattr(onnx_stages.OnnxStages, "__call__", off)
    runs = StageExecutor(make_stages(), torch.rand(4, 3, 16, 16), cache=tmp_path)
    runs.expect(1)
    assert runs.name == "torch"
    assert "ONNX Runtime differs by" in runs.reason
    assert "after stage low" in runs.reason
    assert not list(tmp_path.glob("*.onnx"))


def test_a_cache_that_cannot_be_written_leaves_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "BREAK_EVEN", 0)
    (tmp_path / "file").write_text("in the way")
    runs = StageExecutor(make_stages(), torch.rand(4, 3, 16, 16), cache=tmp_path / "file" / "cache")
    runs.expect(1)
    assert runs.name == "torch"
    assert "Not a directory" in runs.reason


def test_tf32_is_off_while_stages_run_and_as_before_afterwards() -> None:
    class Looks(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cudnn.enabled))
            return features

    seen: list[tuple[bool, bool]] = []
    before = torch.backends.cudnn.allow_tf32
    images = torch.rand(1, 3, 4, 4)
    executor.TorchStages(OrderedDict(only=Looks()), images)(images, ["only"])
    assert set(seen) == {(False, True)}
    assert torch.backends.cudnn.allow_tf32 is before


def test_no_row_is_an_error(bright_patches: PatchSet) -> None:
    with pytest.raises(PrefixError, match="there is no image to compute features of"):
        FrozenForward(bright_patches, np.arange(0), make_stages(), SPEC, device=CPU)


def test_a_batch_is_handed_on_after_the_next_one_was_sent() -> None:
    events: list[str] = []

    def batches() -> "object":
        for number in range(3):
            events.append(f"send {number}")
            yield number, {}

    def mark() -> Callable[[], None]:
        sent = events[-1].removeprefix("send ")
        return lambda: events.append(f"wait {sent}")

    for number, _ in one_behind(batches(), mark):
        events.append(f"use {number}")
    assert events == [
        *("send 0", "send 1", "wait 0", "use 0", "send 2", "wait 1", "use 1", "wait 2", "use 2"),
    ]
    assert list(one_behind(iter([]), mark)) == []
