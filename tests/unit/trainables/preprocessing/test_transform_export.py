"""The pixel transform is part of an exported model, so ONNX Runtime must compute what torch does."""

import warnings
from typing import get_args

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from trainables.config.trial_config import InputConfig, decode
from trainables.models.registry import backbone_named
from trainables.preprocessing.transforms import PixelTransform, transform_spec

pytestmark = pytest.mark.slow

SCALINGS = get_args(InputConfig.model_fields["scaling"].annotation)
MAX_VALUE = 65535.0


def transform(**settings: object) -> PixelTransform:
    config = decode({"model.backbone": "vgg16", **settings})
    spec = transform_spec(config, backbone_named("vgg16"), (64, 64), MAX_VALUE, is_test=True)
    return PixelTransform(spec).eval()


class AllTransforms(nn.Module):
    """One graph for all, since an export takes seconds."""

    def __init__(self) -> None:
        super().__init__()
        equalised = {"input.clahe": 2.0, "input.contrast": 1.5, "input.clip": True}
        self.parts = nn.ModuleList([transform(**{"input.scaling": scaling}) for scaling in SCALINGS])
        self.parts.append(transform(**equalised))
        self.parts.append(transform(**equalised, **{"input.clahe_grid": 5, "input.scaling": "standardise"}))

    def forward(self, raw: Tensor) -> list[Tensor]:
        return [part(raw) for part in self.parts]


def smooth(count: int, height: int, width: int) -> Tensor:
    """Images (count, height, width) of 16 bits, int32, as smooth as mammograms are, with some noise."""
    down, across = np.mgrid[:height, :width]
    random = np.random.default_rng(height)
    waves = [np.sin(across / 9 + phase) * np.cos(down / 13) for phase in random.uniform(0, 6, count)]
    values = 30_000 + 15_000 * np.stack(waves) + random.normal(0, 500, (count, height, width))
    return torch.from_numpy(values.clip(0, 65535).astype(np.int32))


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    free = {axis: torch.export.Dim(name) for axis, name in enumerate(("batch", "height", "width"))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            AllTransforms(),
            (smooth(2, 64, 64),),
            dynamo=True,
            dynamic_shapes=(free,),
            input_names=["raw"],
            verbose=False,
        )
    return onnxruntime.InferenceSession(program.model_proto.SerializeToString())


@pytest.mark.parametrize("shape", [(2, 64, 64), (1, 50, 71), (3, 150, 150), (1, 20, 130)])
def test_every_scaling_and_clahe_agree_with_onnx_runtime(
    session: onnxruntime.InferenceSession, shape: tuple[int, int, int]
) -> None:
    raw = smooth(*shape)
    found = session.run(None, {"raw": raw.numpy()})
    assert len(found) == len(SCALINGS) + 2 == 9
    for expected, out in zip(AllTransforms()(raw), found, strict=True):
        extent = float(expected.max() - expected.min())
        np.testing.assert_allclose(out, expected.numpy(), rtol=0, atol=1e-5 * extent)
