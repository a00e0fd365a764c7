"""The novelty score in a bundle: a second output of its graph, and what the manifest says about it."""

from torch import nn

from results.export.manifest_parts import Novelty
from results.predictors.ensemble_module import EnsembleModule, WithFolds
from results.predictors.novelty_features import ModelNovelty
from results.predictors.novelty_module import NOVELTY_OUTPUT, WithNovelty
from results.predictors.unit_module import ImagePredictions


def with_novelty(
    module: EnsembleModule | ImagePredictions | WithFolds,
    novelty: ModelNovelty | None,
    outputs: tuple[str, ...],
) -> tuple[nn.Module, tuple[str, ...]]:
    """Return a module that puts the novelty of each image out, too, and the names of what it puts out.

    Args:
        module: Module of single images.
        novelty: Its novelty score; None leaves the module as it is.
        outputs: Names of its predictions.
    """
    if novelty is None:
        return module, outputs
    return WithNovelty(module, novelty.reference, novelty.place), (*outputs, NOVELTY_OUTPUT)


def novelty_facts(novelty: ModelNovelty | None) -> Novelty | None:
    """Return what the manifest says about a novelty score."""
    if novelty is None:
        return None
    reference = novelty.reference
    return Novelty(
        output=NOVELTY_OUTPUT,
        trial=novelty.trial,
        backbone=novelty.backbone,
        tap=str(novelty.tap),
        features=len(reference.cloud.mean),
        images=reference.images,
        patients=reference.patients,
        level=reference.level,
    )
