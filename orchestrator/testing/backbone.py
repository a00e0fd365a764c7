"""Tests that every backbone must pass.

A backbone of your own is tested by a class of a few lines, which pytest collects::

    from orchestrator.testing.backbone import BackboneContract
    from my_nets import TWO_BLOCKS

    class TestTwoBlocks(BackboneContract):
        backbone = TWO_BLOCKS
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from trainables.models.stages import Backbone


class BackboneContract:
    """What a list of stages must do to be cut, frozen, stored and trained.

    Attributes:
        backbone: The backbone under test.
    """

    backbone: ClassVar[Backbone]

    def test_it_has_the_stages_that_it_names(self) -> None:
        assert tuple(self._stages()) == self.backbone.stage_names
        assert len(set(self.backbone.stage_names)) == len(self.backbone.stage_names)

    def test_its_levels_are_stages_deepest_first(self) -> None:
        places = [self.backbone.stage_names.index(level) for level in self.backbone.levels]
        assert places == sorted(places, reverse=True)
        assert 1 <= len(places) == len(set(places))

    def test_every_cut_gives_finite_features_of_an_image_of_the_smallest_size(self) -> None:
        images = self._images()
        for cut in self.backbone.cut_names:
            features = self._features(images, keep=self.backbone.cut_index(cut))
            assert features.ndim in (2, 4)
            assert features.shape[0] == len(images)
            assert bool(torch.isfinite(features).all())

    def test_frozen_features_of_an_image_do_not_depend_on_the_others(self) -> None:
        images = self._images()
        together = self._features(images)
        alone = torch.cat([self._features(image[None]) for image in images])
        torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)

    def test_its_weights_are_those_that_were_kept(self) -> None:
        torch.manual_seed(1)
        one, other = self._stages(), self.backbone.build(self._channels)
        nn.ModuleDict(other).load_state_dict(nn.ModuleDict(one).state_dict())
        images = self._images()
        torch.testing.assert_close(self._features(images, stages=other), self._features(images, stages=one))

    def test_every_parameter_learns(self) -> None:
        stages = nn.ModuleDict(self._stages())
        if self.backbone.is_fixed:
            assert not list(stages.parameters()), "a fixed computation has parameters"
            return
        stages.eval()
        features = self._images()
        for name in self.backbone.stage_names[: self.backbone.cut_index("top")]:
            features = stages[name](features)
        features.square().mean().backward()
        for name in self.backbone.stage_names[: self.backbone.cut_index("top")]:
            missing = [key for key, value in stages[name].named_parameters() if value.grad is None]
            assert not missing, f"{name} has parameters without a gradient: {missing}"

    @property
    def _channels(self) -> int:
        return self.backbone.channels or 1

    def _stages(self) -> dict[str, nn.Module]:
        torch.manual_seed(0)
        return dict(self.backbone.build(self._channels))

    def _images(self) -> Tensor:
        side, generator = self.backbone.min_size_px, torch.Generator().manual_seed(0)
        return torch.rand((3, self._channels, side, side), generator=generator)

    @torch.inference_mode()
    def _features(
        self, images: Tensor, *, keep: int | None = None, stages: dict[str, nn.Module] | None = None
    ) -> Tensor:
        own = self._stages() if stages is None else stages
        for name in self.backbone.stage_names[: keep or self.backbone.cut_index("top")]:
            images = own[name].eval()(images)
        return images
