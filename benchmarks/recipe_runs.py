"""Runs recipes of the catalogue in this process, without Ray: what the commands about recipes share."""

import dataclasses
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from orchestrator.worker import epoch_scores, held_out_predictions
from results.records import OutOfFold
from search_spaces.points import FirstPoint
from search_spaces.recipes import RECIPES, Recipe, recipe_named
from trainables.config import TrialConfig
from trainables.data.patches import PatchSet, select_rows
from trainables.data.splits import Split, make_split
from trainables.errors import WeightsError
from trainables.evaluation import Best
from trainables.material import Material, Place, Start, prepare
from trainables.memory import PeakMemory
from trainables.models.any_timm import PublishedStage
from trainables.models.registry import backbone_named
from trainables.models.weights import WeightsFile, find_weights
from trainables.tasks import task_named
from trainables.validation import open_validation

CPU: Final = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Run:
    """What came out of one point of a recipe.

    Attributes:
        config: What ran.
        best: What was kept of each fold.
        predictions: Out of fold.
        epochs: That were trained.
        seconds: Of wall time, features included.
        parameters: That train in one model; None for a classical model.
        peak_bytes: Most memory that the process took more than at its start; None where it cannot be measured.
    """

    config: TrialConfig
    best: Best
    predictions: OutOfFold
    epochs: int
    seconds: float
    parameters: int | None
    peak_bytes: int | None


class Kitchen:
    """Patch sets, splits and features that recipes share.

    Args:
        store: Folder of stored features.
        weights_dir: Folder of pretrained weights; None for none.
        stand_in: Backbone that takes the place of one without weights; None uses random numbers, which are
            good for measuring cost only.
    """

    def __init__(self, store: Path, *, weights_dir: Path | None, stand_in: str | None) -> None:
        self.store, self.weights_dir, self.stand_in = store, weights_dir, stand_in
        self._runs: dict[tuple[str, str, str], Run] = {}

    def pins(self, recipe: Recipe) -> dict[str, Any]:
        """Settings that put another backbone in the place of one without weights."""
        settings = recipe.points[0] if recipe.points else {}
        backbone = backbone_named(str(settings.get("model.backbone", "table")))
        is_lacking = backbone.has_imagenet_weights and settings.get("model.weights", "imagenet") == "imagenet"
        if self.stand_in is None or not is_lacking or self._weights(backbone.name) is not None:
            return {}
        return {"model.backbone": self.stand_in}

    def run(
        self,
        recipe: Recipe,
        settings: Mapping[str, Any],
        patch_set: PatchSet,
        split: Split,
        *,
        seed: int = 0,
        pins: Mapping[str, Any] | None = None,
        epochs: int = 2000,
        seconds: float = float("inf"),
    ) -> Run:
        """Run one point on the training part of a split.

        Args:
            recipe: It belongs to.
            settings: The point.
            patch_set: Images.
            split: Of these images.
            seed: Of training.
            pins: Settings in the place of the recipe's.
            epochs: Most that are trained.
            seconds: After which no further epoch begins; the best so far counts.
        """
        material = prepare(patch_set, task_named(recipe.task), split)
        if recipe.type_from:
            material = self._told(material, recipe, patch_set, split, seed, epochs, seconds)
        config = FirstPoint(recipe.name, settings).configure(pins or {}, epochs=epochs)
        if epochs < config.training.first_phase_epochs:
            training = config.training.model_copy(update={"first_phase_epochs": epochs})
            config = config.model_copy(update={"training": training})
        start = self._started(recipe, patch_set, split, seed, epochs, seconds)
        return self._trained(config, material, start, seed, seconds)

    def _trained(
        self, config: TrialConfig, material: Material, start: Start | None, seed: int, seconds: float
    ) -> Run:
        peak, begun = PeakMemory(CPU), time.monotonic()
        place = dataclasses.replace(self._place(config), start=start)
        validation = open_validation(config, material, place, seed=seed, score=epoch_scores, metric="auc")
        first = time.monotonic()
        while not validation.is_over and (time.monotonic() - first < seconds or validation.best is None):
            validation.epoch()
        best = validation.best
        if best is None:
            raise RuntimeError("a run keeps something after its first epoch")
        memory = peak.use()
        return Run(
            config,
            best,
            held_out_predictions(material, best.probabilities),
            validation.epochs_done,
            time.monotonic() - begun,
            validation.trained_parameters,
            None if memory is None else memory.peak_bytes,
        )

    def _source(
        self, name: str, task: str, patch_set: PatchSet, split: Split, seed: int, epochs: int, seconds: float
    ) -> Run:
        """The recipe that another builds on, run once."""
        key = (name, task, patch_set.fingerprint)
        if key not in self._runs:
            recipe = recipe_named(name, task)
            settings = recipe.points[0]
            self._runs[key] = self.run(
                recipe,
                settings,
                patch_set,
                dataclasses.replace(split, task=task),
                seed=seed,
                pins=self.pins(recipe),
                epochs=epochs,
                seconds=seconds,
            )
        return self._runs[key]

    def _told(
        self,
        material: Material,
        recipe: Recipe,
        patch_set: PatchSet,
        split: Split,
        seed: int,
        epochs: int,
        seconds: float,
    ) -> Material:
        types = self._source(
            recipe.type_from, "mass_calcification", patch_set, split, seed, epochs, seconds
        ).predictions
        of_row = dict(zip(types.rows.tolist(), types.probabilities[:, 1].tolist(), strict=True))
        told = np.array([of_row[int(row)] for row in material.rows])
        return dataclasses.replace(material, type_probability=told)

    def _started(
        self, recipe: Recipe, patch_set: PatchSet, split: Split, seed: int, epochs: int, seconds: float
    ) -> Start | None:
        if not recipe.starts_from:
            return None
        task = next(one.task for one in RECIPES if one.name == recipe.starts_from)
        run = self._source(recipe.starts_from, task, patch_set, split, seed, epochs, seconds)
        return Start(run.config, run.best.weights[:: run.config.training.repeats])

    def _place(self, config: TrialConfig) -> Place:
        name = config.model.backbone
        weights: dict[str, WeightsFile | None] = {name: None}
        if backbone_named(name).has_imagenet_weights and config.model.weights != "random":
            weights[name] = self._weights(name) or self._random_weights(name)
        return Place(self.store, CPU, weights)

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
        recipe: Gives the protocol.
        patch_set: Images.
        seed: Of the split.
        is_small: Take a single validation part of a quarter instead, which is cheapest.
    """
    task, protocol = task_named(recipe.task), recipe.protocol
    return make_split(
        select_rows(patch_set, task),
        fingerprint=patch_set.fingerprint,
        task=task.name,
        folds=protocol.folds,
        test_share=0.0 if is_small else protocol.test_share,
        seed=seed,
        holdout=0.25 if is_small else protocol.holdout,
    )


def _published(name: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Random tensors as a published file of a backbone has them."""
    for stage, module in backbone_named(name).build(3).items():
        if isinstance(module, PublishedStage):
            yield from ((key, tensor.detach()) for key, tensor in module.published_tensors())
        else:
            yield from ((f"{stage}.{key}", tensor) for key, tensor in module.state_dict().items())
