"""Models as a list of stages and a head.

A trial's configuration says where the list is cut, and how many of the last kept stages train. Everything
before the first trained stage is the frozen prefix: a pure function of the image, computed once and stored.
"""

from collections import OrderedDict
from collections.abc import Callable, Container
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.common.errors import ConfigError, UnknownNameError
from trainables.config.trial_config import ModelConfig
from trainables.models.heads import Head
from trainables.models.readouts import BuildReadout, readout_name
from trainables.models.recomputation import recomputed


@dataclass(frozen=True, slots=True, eq=False)
class Backbone:
    """Description of a backbone in the registry, known without building it.

    It is equal to itself alone: what is remembered of a net must not be another's of the same name.

    Attributes:
        name: Name that the user types.
        build: Builds the stages with random weights, for a number of input channels.
        stage_names: Names of the stages, in order.
        levels: Stage names of the cut levels `top`, `top+1`, ..., deepest first.
        channels: Number of input channels; None takes the image's own (nets from scratch).
        min_size_px: Smallest side of the input that it accepts, in pixels.
        size_px: Side of the input that its ImageNet weights were trained at, in pixels.
        mean: Per-channel mean that the weights expect, for pixels in [0, 1].
        std: Per-channel standard deviation that the weights expect.
        has_imagenet_weights: False for nets that exist only from scratch, and for stages without weights.
        is_fixed: True for stages that have no weights, such as statistics of the pixels; they never train.
        source: Paper, and licence of code and weights.
        default_rank: 0-based rank among the backbones of a search that names none; None for backbones that
            are used on request only.
        is_optional: True where the weights are in a package of their own that few have: the search takes the
            backbone behind the others where they are.
        torchvision_weights: Name of torchvision's weights, such as `VGG16_Weights.IMAGENET1K_V1`; empty where
            torchvision has none.
        weights_package: Installed package that holds one file of weights; empty without one.
        licence: Licence of its published weights, such as `Apache-2.0`; empty where it is not known.
        readouts: Kinds of readouts that may stand behind each stage but the first, such as `class`, the class
            token of a transformer: a cut is then a level or stage, a dot, and the kind.
        build_readout: Makes one of them from the built stages; None where there are none.
        readout_cuts: Cuts with a readout that a search tries besides the levels, on frozen stages.
        tap_lists: Lists of cuts whose features a search stands side by side, for closed-form heads.
    """

    name: str
    build: Callable[[int], "OrderedDict[str, nn.Module]"]
    stage_names: tuple[str, ...]
    levels: tuple[str, ...]
    min_size_px: int
    size_px: int
    source: str
    channels: int | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    has_imagenet_weights: bool = False
    is_fixed: bool = False
    default_rank: int | None = None
    is_optional: bool = False
    torchvision_weights: str = ""
    weights_package: str = ""
    licence: str = ""
    readouts: tuple[str, ...] = ()
    build_readout: BuildReadout | None = None
    readout_cuts: tuple[str, ...] = ()
    tap_lists: tuple[tuple[str, ...], ...] = ()

    @property
    def searched_readouts(self) -> tuple[str, ...]:
        """Names of the readouts that a search may ask for, each once."""
        cuts = (*self.readout_cuts, *(cut for cuts in self.tap_lists for cut in cuts))
        return tuple(dict.fromkeys(self.end_of(cut) for cut in cuts))

    @property
    def trains_from_scratch(self) -> bool:
        """True for nets that exist only from random weights."""
        return not self.has_imagenet_weights and not self.is_fixed

    @property
    def cut_names(self) -> tuple[str, ...]:
        """Names of the cut levels, `top` and how many levels are dropped, in the order of `levels`."""
        return tuple("top" if drop == 0 else f"top+{drop}" for drop in range(len(self.levels)))

    def cut_index(self, cut: str) -> int:
        """Return the number of stages kept by a cut.

        Args:
            cut: One of `cut_names`, or the name of the last kept stage; with a dot and the kind of its
                readout behind it, where the backbone has readouts.

        Raises:
            UnknownNameError: If the backbone has no such cut.
        """
        return self._place(cut)[0] + 1

    def end_of(self, cut: str) -> str:
        """Return the name of what gives the features at a cut: the last kept stage, or its readout.

        Raises:
            UnknownNameError: If the backbone has no such cut.
        """
        place, kind = self._place(cut)
        return readout_name(self.stage_names[place], kind) if kind else self.stage_names[place]

    def with_readouts(
        self, stages: "OrderedDict[str, nn.Module]", wanted: Container[str] | None = None
    ) -> "OrderedDict[str, nn.Module]":
        """Return stages with their readouts, each behind its stage.

        Args:
            stages: All stages of the backbone, which the readouts share weights with.
            wanted: Names of the stages and readouts that are returned; None returns all.
        """
        found: OrderedDict[str, nn.Module] = OrderedDict()
        for place, (stage, module) in enumerate(stages.items()):
            if wanted is None or stage in wanted:
                found[stage] = module
            for kind in self.readouts if place and self.build_readout else ():
                name = readout_name(stage, kind)
                if self.build_readout and (wanted is None or name in wanted):
                    found[name] = self.build_readout(stages, stage, kind)
        return found

    def _place(self, cut: str) -> tuple[int, str]:
        """0-based place of the last kept stage, and the kind of its readout; empty without one."""
        levels = dict(zip(self.cut_names, self.levels, strict=True))
        before, _, kind = cut.rpartition(".")
        name, kind = (before, kind) if kind in self.readouts else (cut, "")
        stage = levels.get(name, name)
        if stage not in self.stage_names or (kind and stage == self.stage_names[0]):
            kinds = tuple(f"{level}.{own}" for level in levels for own in self.readouts)
            raise UnknownNameError(f"cut of {self.name}", cut, (*levels, *kinds, *self.stage_names))
        return self.stage_names.index(stage), kind

    def plan(self, model: ModelConfig) -> "StagePlan":
        """Return the frozen and the trained stages of a configuration; stages after its cut are dropped.

        Raises:
            ConfigError: If more stages are to train than are kept, stages without weights are to train, or
                ImageNet weights do not exist.
        """
        if self.is_fixed and (model.trained_stages != 0 or model.weights != "imagenet"):
            raise ConfigError(
                f"{self.name} has no weights, so nothing of it trains; set model.trained_stages=0 and leave "
                "model.weights as it is"
            )
        if model.weights == "imagenet" and self.trains_from_scratch:
            raise ConfigError(
                f"{self.name} has no ImageNet weights; set model.weights=random and model.trained_stages=all"
            )
        kept = self.cut_index(model.cut)
        trained = kept if model.trained_stages == "all" else model.trained_stages
        if trained > kept:
            raise ConfigError(
                f"model.trained_stages={trained}, but cut {model.cut!r} of {self.name} keeps {kept} stages"
            )
        end = self.end_of(model.cut)
        readout = () if end in self.stage_names else (end,)  # it trains with the stage that it reads
        return StagePlan(
            frozen=(*self.stage_names[: kept - trained], *(() if trained else readout)),
            trained=(*self.stage_names[kept - trained : kept], *(readout if trained else ())),
            depth=trained,
            is_prefix_fixed=(model.channels == "replicate" and trained < kept and model.weights != "start"),
        )


@dataclass(frozen=True, slots=True)
class StagePlan:
    """Frozen and trained stages of a configuration.

    Attributes:
        frozen: Names of the stages that never change.
        trained: Names of the stages that train with the head, and of a readout that trains with them.
        depth: Number of stages that train.
        is_prefix_fixed: True where nothing below the frozen stages trains and their weights are the same in
            all folds, so that their output is a pure function of the image and may be stored.
    """

    frozen: tuple[str, ...]
    trained: tuple[str, ...]
    depth: int
    is_prefix_fixed: bool


class ChannelAdapter(nn.Conv2d):
    """Trainable 1x1 convolution from one grey channel to the backbone's three (6 parameters).

    It starts as replication followed by the backbone's normalisation, so that the first epoch has the inputs
    that the weights expect.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__(1, len(mean), kernel_size=1)
        with torch.no_grad():
            self.weight.copy_((1.0 / torch.tensor(std)).view(-1, 1, 1, 1))
            nn.init.zeros_(self.bias)  # type: ignore[arg-type]
            self.bias.sub_(torch.tensor(mean) / torch.tensor(std))  # type: ignore[union-attr]


class TrainedPart(nn.Module):
    """The trained part of a model: an optional channel adapter, stages, and the head.

    Frozen stages are part of it too where something trains below them, or where they differ from fold to
    fold: gradients pass through them, but their weights and batch statistics stay.

    Attributes:
        is_pair: True if features come as pairs, (B, 2, ...), baseline first; both pass the same stages.
        keeps_batch_statistics: True if batch normalisation of trained stages keeps its pretrained statistics.
        is_checkpointed: True if the stages are computed again for the backward pass, to need less memory.
        keeps_frozen: True if the kept state includes the frozen stages, since no pretrained file holds them.
    """

    def __init__(
        self, adapter: nn.Module | None, frozen: nn.Sequential, trained: nn.Sequential, head: Head
    ) -> None:
        super().__init__()
        self.adapter = adapter if adapter is not None else nn.Identity()
        self.frozen = frozen.requires_grad_(False)
        self.trained = trained
        self.head = head
        self.is_pair = self.keeps_batch_statistics = self.keeps_frozen = self.is_checkpointed = False
        self._stages_rest = False

    def forward(self, features: Tensor, side_input: Tensor | None = None) -> Tensor:
        """Map prefix features to logits.

        Args:
            features: Features, shape (B, ...), or (B, 2, ...) for pairs.
            side_input: Extra inputs of the head, shape (B, K); None for none.

        Returns:
            Logits, shape (B, 1) for two classes with one logit, else (B, classes).
        """
        images = features.flatten(0, 1) if self.is_pair else features
        logits: Tensor = self.head(self._stages(self.adapter(images)), side_input)
        return logits

    def _stages(self, features: Tensor) -> Tensor:
        if not (self.is_checkpointed and self.training and torch.is_grad_enabled()):
            found: Tensor = self.trained(self.frozen(features))
            return found
        for stage in (*self.frozen, *self.trained):
            features = recomputed(stage, features)
        return features

    def rest_stages(self) -> None:
        """Freeze the trained stages, so that only the head trains from now on."""
        self.trained.requires_grad_(False)
        self._stages_rest = True

    def train(self, mode: bool = True) -> "TrainedPart":
        """Set the training mode; frozen stages, and pretrained batch statistics, stay in eval mode."""
        super().train(mode)
        self.frozen.eval()
        if self._stages_rest:
            self.trained.eval()
        if self.keeps_batch_statistics:
            for module in self.trained.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def is_kept(self, name: str) -> bool:
        """True if a tensor of the state is kept with a finished trial."""
        return self.keeps_frozen or not name.startswith("frozen.")

    def kept_state(self) -> dict[str, Tensor]:
        """Tensors that no pretrained file holds, detached and on the CPU."""
        return {
            name: tensor.detach().cpu().clone()
            for name, tensor in self.state_dict().items()
            if self.is_kept(name)
        }

    def load_kept_state(self, state: dict[str, Tensor]) -> None:
        """Load the tensors that `kept_state` returned.

        Raises:
            ConfigError: If they do not fit the configuration.
        """
        missing, unexpected = self.load_state_dict(state, strict=False)
        lost = [name for name in missing if self.is_kept(name)]
        if lost or unexpected:
            raise ConfigError(
                f"weights do not fit the configuration: missing {lost}, unexpected {unexpected}"
            )
