"""A model in each lower precision, from one export: what every kind of model must keep to."""

import numpy as np
import onnx
import onnxruntime

from results.export.allowed_change import PRECISIONS, AllowedChange
from results.export.precision_check import Precision, lower_precision, write_with_folds
from results.predictors.loading import open_model
from results.run.prediction_costs import PredictionTime


def converts_to_each_precision(run, folder, model, *, bright=False):
    """Convert an ensemble, or a trial given by its number, and run the files on images of another size."""
    asked = {"trial": model} if isinstance(model, int) else {"ensemble": model}
    opened = open_model(run, **asked)
    kept = run.out_of_fold(opened.chosen.trials[0])
    images, _ = opened.images_of(kept.rows[:4])
    inputs, file, cost = opened.inputs(images), folder / "model.onnx", PredictionTime(core_ms=1, megabytes=1)
    written = write_with_folds(opened, None, inputs, folder, file)
    ports = ports_of(file)
    feed = {name: tensor.numpy() for name, tensor in inputs.tensors().items()}
    feed["raw"] = np.full_like(feed["raw"], 65535) if bright else feed["raw"]
    for name in PRECISIONS:
        wanted = Precision(name, AllowedChange(auc_loss=1.0, changed_calls=1.0))
        found = lower_precision(opened, written, kept, file, wanted, cost_before=cost)
        assert found.converted > 0
        assert found.largest_difference < (0.02 if name == "fp16" else 0.7)
        onnx.checker.check_model(file)
        assert ports_of(file) == ports
        (predicted,) = onnxruntime.InferenceSession(file).run(None, feed)
        assert np.isfinite(predicted).all()


def ports_of(file):
    session = onnxruntime.InferenceSession(file)
    return [(port.name, port.type) for port in (*session.get_inputs(), *session.get_outputs())]
