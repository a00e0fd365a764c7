"""Runs of recipes in this process, without Ray; shared by the benchmarks about recipes."""

import dataclasses
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from orchestrator.preflight.run_validation import epoch_scores
from results.run.records import OutOfFold
from search_spaces.enqueue import InitialPoint
from search_spaces.recipes import Recipe, recipe_named
from trainables.common.errors import WeightsError
from trainables.config.tasks import task_named
from trainables.config.trial_config import TrialConfig
from trainables.data.patches import PatchSet, select_rows
from trainables.data.split_record import Split
from trainables.data.splits import make_split
from trainables.data.training_data import TrainingData, training_data_of
from trainables.models.registry import BACKBONES, backbone_named
from trainables.models.taps import Tap, feature_shapes, frozen_parts, taps_to_share
from trainables.models.timm_generic import PublishedStage
from trainables.models.weights import WeightsFile, find_weights
from trainables.runtime.memory import PeakMemory
from trainables.runtime.trial_runtime import TrialRuntime, WarmStart
from trainables.validation.cross_validation import TrialSnapshot
from trainables.validation.factory import open_validation

CPU: Final = torch.device("cpu")
_COMMON_SIDE: Final = 150  # pixels; at this image size it is decided which maps are small enough to keep


@dataclass(frozen=True, slots=True)
class Run:
    """Result of one point of a recipe.

    Attributes:
        config: Configuration that ran.
        best: Snapshot of the best epoch.
        predictions: Out-of-fold predictions.
        epochs: Number of epochs that were trained.
        seconds: Seconds of wall time, features included.
        parameters: Number of trained parameters of one model; None for a classical model.
        peak_bytes: Peak memory of the process in bytes beyond that at its start; None if unknown.
    """

    config: TrialConfig
    best: TrialSnapshot
    predictions: OutOfFold
    epochs: int
    seconds: float
    parameters: int | None
    peak_bytes: int | None


@dataclass(frozen=True, slots=True)
class Effort:
    """Limits on the run of a recipe.

    Attributes:
        epochs: Largest number of epochs.
        seconds: Seconds after which no further epoch begins; the best epoch so far counts.
        seed: Random seed of training.
        fixed_params: Settings that replace those of the recipe.
    """

    epochs: int = 2000
    seconds: float = float("inf")
    seed: int = 0
    fixed_params: Mapping[str, Any] = field(default_factory=dict)


class Kitchen:
    """Patch sets, splits and features that recipes share.

    Args:
        store: Folder of stored features.
        weights_dir: Folder of pretrained weights; None for none.
        stand_ins: Backbone -> backbone that replaces it if its weights are missing; others without weights
            get random ones, which are good for measuring cost only.
    """

    def __init__(
        self, store: Path, *, weights_dir: Path | None, stand_ins: Mapping[str, str] | None = None
    ) -> None:
        self.store, self.weights_dir, self.stand_ins = store, weights_dir, stand_ins or {}
        self._sources: dict[tuple[str, str, str], Run] = {}

    def fixed_params(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that replace a backbone without weights by another one."""
        backbone = backbone_named(str(settings["model.backbone"]))
        is_pretrained = settings.get("model.weights", "imagenet") != "random"  # or starts from one that is
        is_lacking = backbone.has_imagenet_weights and is_pretrained and self._weights(backbone.name) is None
        if backbone.name not in self.stand_ins or not is_lacking:
            return {}
        other = backbone_named(self.stand_ins[backbone.name])
        fixed_params: dict[str, Any] = {"model.backbone": other.name}
        trained = settings.get("model.trained_stages", 0)
        if trained not in (0, "all"):
            # The same share of the replacement trains, such as seven of nine stages.
            share = int(trained) / len(backbone.stage_names)
            fixed_params["model.trained_stages"] = max(2, round(share * len(other.stage_names)))
        cut = str(settings.get("model.cut", "top"))
        if not cut.startswith("top") and cut not in other.stage_names:
            fixed_params["model.cut"] = "top"
        return fixed_params

    def run(
        self,
        recipe: Recipe,
        settings: Mapping[str, Any],
        patch_set: PatchSet,
        split: Split,
        effort: Effort,
    ) -> Run:
        """Run one point on the training part of a split.

        Args:
            recipe: Recipe that the point belongs to.
            settings: Settings of the point.
            patch_set: Images of the recipe.
            split: Split of these images.
            effort: Limits on the run.
        """
        training_data = training_data_of(patch_set, task_named(recipe.task), split)
        if recipe.type_from:
            types = self._source(recipe.type_from, "mass_calcification", patch_set, split, effort).predictions
            told = dict(zip(types.rows.tolist(), types.probabilities[:, 1].tolist(), strict=True))
            known = np.array([told[int(row)] for row in training_data.rows])
            training_data = dataclasses.replace(training_data, type_probability=known)
        fixed_params = self.fixed_params(settings) | dict(effort.fixed_params)
        config = InitialPoint(recipe.name, settings).configure(fixed_params, epochs=effort.epochs)
        start = None
        if recipe.starts_from:
            source = self._source(recipe.starts_from, recipe.task, patch_set, split, effort)
            start = WarmStart(source.config, source.best.weights[:: source.config.training.repeats])
        return self.train(config, training_data, effort, start=start)

    def train(
        self,
        config: TrialConfig,
        training_data: TrainingData,
        effort: Effort,
        *,
        start: WarmStart | None = None,
    ) -> Run:
        """Train and evaluate the folds of one configuration.

        Args:
            config: Configuration to train.
            training_data: Images and labels of the training part.
            effort: Limits on the run, of which seconds and seed are used.
            start: Finished trial that `model.weights=start` takes its weights from; None without one.
        """
        peak, begun = PeakMemory(CPU), time.monotonic()
        runtime = dataclasses.replace(self._place(config), start=start)
        validation = open_validation(
            config, training_data, runtime, seed=effort.seed, score=epoch_scores, metric="auc"
        )
        first, best = time.monotonic(), None
        while best is None or not (validation.is_over or time.monotonic() - first > effort.seconds):
            validation.epoch()
            best = validation.best
        memory = peak.use()
        predictions = OutOfFold(
            training_data.rows,
            training_data.labels,
            training_data.folds,
            training_data.groups,
            best.probabilities,
        )
        return Run(
            config=config,
            best=best,
            predictions=predictions.held_out(),
            epochs=validation.epochs_done,
            seconds=time.monotonic() - begun,
            parameters=validation.trained_parameters,
            peak_bytes=None if memory is None else memory.peak_bytes,
        )

    def _source(self, name: str, task: str, patch_set: PatchSet, split: Split, effort: Effort) -> Run:
        """Result of a recipe that another one builds on, run once in the same folds."""
        key = (name, task, patch_set.fingerprint)
        if key not in self._sources:
            recipe = recipe_named(name, task)
            own = dataclasses.replace(split, task=task)
            self._sources[key] = self.run(recipe, recipe.points[0], patch_set, own, effort)
        return self._sources[key]

    def _place(self, config: TrialConfig) -> TrialRuntime:
        names = {config.model.backbone, *(part.model.backbone for part in frozen_parts(config))}
        weights: dict[str, WeightsFile | None] = dict.fromkeys(names)
        if config.model.weights != "random":
            for name in names:
                if backbone_named(name).has_imagenet_weights:
                    weights[name] = self._weights(name) or self._random_weights(name)
        return TrialRuntime(self.store, CPU, weights, taps=self._taps(config))

    @staticmethod
    def _taps(config: TrialConfig) -> dict[str, tuple[Tap, ...]]:
        """Taps at which a pass through the frozen stages stores features for other recipes."""
        backbone = backbone_named(config.model.backbone)
        if not backbone.has_imagenet_weights or backbone.name not in BACKBONES:
            return {}
        shapes = feature_shapes(backbone.name, backbone.channels or 3, _COMMON_SIDE)
        return {backbone.name: taps_to_share(backbone, shapes, depths=(0, 1, 2))}

    def _weights(self, name: str) -> WeightsFile | None:
        try:
            return find_weights(name, weights_dir=self.weights_dir, may_download=False)
        except WeightsError:
            return None

    def _random_weights(self, name: str) -> WeightsFile:
        folder = self.store / "random-weights"
        file = folder / f"{name.replace(':', '-')}.pt"
        if not file.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            torch.manual_seed(0)
            torch.save(dict(_published(name)), file)
        return find_weights(name, weights_dir=folder, may_download=False)


def split_for(recipe: Recipe, patch_set: PatchSet, *, seed: int = 0, is_small: bool = False) -> Split:
    """Split as the recipe's source did, by patients.

    Args:
        recipe: Recipe with the protocol of its source.
        patch_set: Images to split.
        seed: Random seed of the split.
        is_small: Take a single validation part of a quarter instead, which is cheapest.
    """
    task, protocol = task_named(recipe.task), recipe.protocol
    if is_small:
        holdout = None if recipe.type_from else 0.25  # every image needs a predicted type
        protocol = dataclasses.replace(protocol, folds=2, holdout=holdout, test_share=0.0)
    return make_split(
        select_rows(patch_set, task),
        fingerprint=patch_set.fingerprint,
        task=task.name,
        folds=protocol.folds,
        test_share=protocol.test_share,
        seed=seed,
        holdout=protocol.holdout,
    )


def _published(name: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Random tensors under the names in a published weights file of a backbone."""
    for stage, module in backbone_named(name).build(3).items():
        if isinstance(module, PublishedStage):
            yield from ((key, tensor.detach()) for key, tensor in module.published_tensors())
        else:
            yield from ((f"{stage}.{key}", tensor) for key, tensor in module.state_dict().items())
