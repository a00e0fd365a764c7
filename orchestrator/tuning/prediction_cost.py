"""Cost of the predictions of a trial that has just been trained, for searches that optimise or bound it."""

from collections.abc import Mapping

import numpy as np

from results.export.graph_cost import as_metrics, graph_cost, without_type_trial
from results.run.prediction_costs import PredictionTime
from trainables.config.trial_config import TrialConfig
from trainables.inference.finished_trials import FinishedTrial, ImageFormat
from trainables.inference.prediction_cost import table_cost
from trainables.models.taps import frozen_parts
from trainables.models.weights import WeightsFile
from trainables.validation.epoch_selection import TrialSnapshot
from trainables.validation.factory import Validation


def prediction_cost(config: TrialConfig, validation: Validation, best: TrialSnapshot) -> Mapping[str, float]:
    """Measure a trial with all its fold models on one image of the search's own format.

    A net, or closed-form heads on frozen stages, are measured on the graph that an export would write, once
    for each structure on a machine. A trial that predicts the type of the finding for it is not counted.

    Args:
        config: The trial.
        validation: Its cross-validation, which has ended.
        best: The kept epoch, with the weights of all models.

    Returns:
        Name of a metric of cost -> value.
    """
    data, patch_set = validation.training_data, validation.training_data.patch_set
    if patch_set.is_table:
        ms, megabytes = table_cost(best.weights, columns=patch_set.images.shape[1], classes=data.classes)
        return as_metrics(PredictionTime(core_ms=ms, megabytes=megabytes))
    image = ImageFormat(patch_set.images.shape[1:], patch_set.max_value)
    own, *further = (_weights_of(part, validation) for part in frozen_parts(config))
    trial = FinishedTrial(config, best.weights, own, also=tuple(further))
    return as_metrics(
        graph_cost(
            [without_type_trial(trial)],
            image,
            classes=data.classes,
            store=validation.runtime.store,
            is_float=bool(np.issubdtype(patch_set.images.dtype, np.floating)),
            times_gpu=False,  # which other trials use at this moment
        )
    )


def _weights_of(part: TrialConfig, validation: Validation) -> WeightsFile | None:
    """Pretrained file of a frozen input; None for weights that the fold models bring themselves."""
    return validation.runtime.weights.get(part.model.backbone) if part.model.weights == "imagenet" else None
