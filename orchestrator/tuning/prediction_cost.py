"""Cost of the predictions of a trial that has just been trained, for searches that optimise or bound it."""

from trainables.config.trial_config import TrialConfig
from trainables.inference.finished_trials import FinishedTrial, ImageFormat
from trainables.inference.prediction_cost import PredictionCost, classical_cost, net_cost
from trainables.validation.classical import ClassicalValidation
from trainables.validation.epoch_selection import TrialSnapshot
from trainables.validation.factory import Validation


def prediction_cost(config: TrialConfig, validation: Validation, best: TrialSnapshot) -> PredictionCost:
    """Measure a trial with all its fold models on one image of the search's own format.

    Args:
        config: The trial.
        validation: Its cross-validation, which has ended.
        best: The kept epoch, with the weights of all models.
    """
    data, patch_set = validation.training_data, validation.training_data.patch_set
    weights = validation.runtime.weights.get(config.model.backbone)
    if config.model.weights != "imagenet":
        weights = None  # the fold models bring their own
    if isinstance(validation, ClassicalValidation):
        models, inputs = validation.fitted()
        image = None if patch_set.is_table else ImageFormat(patch_set.images.shape[1:], patch_set.max_value)
        return classical_cost(config, weights, image, models, inputs)
    image = ImageFormat(patch_set.images.shape[1:], patch_set.max_value)
    return net_cost(FinishedTrial(config, best.weights, weights), image, classes=data.classes)
