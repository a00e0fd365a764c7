"""Settings of fine-tuning: how the weights of a net are moved, averaged and computed in training."""

from typing import Literal

from pydantic import Field

from trainables.common.frozen import FrozenModel


class FineTuningConfig(FrozenModel):
    """Settings that matter most where stages of a pretrained backbone train. The defaults change nothing.

    Attributes:
        ema: Decay of an exponential moving average of the weights over the steps, in [0, 1); 0 is off. Epochs
            are judged, and models kept, with the averaged weights. In the first steps the decay is lower,
            (1 + steps) / (10 + steps), so that the average does not hold on to the first weights.
        warmup_epochs: Number of epochs in which the learning rate rises with every step, in a straight line,
            up to that of the schedule.
        layer_decay: Factor on the learning rate from each trained stage to the one before it, in (0, 1]. The
            last trained stage has `optimizer.lr` times `optimizer.stage_lr_factor`.
        drop_path: Probability, in [0, 0.9], at which the last residual branch of the backbone is left out for
            an image in training (stochastic depth); it falls in a straight line to 0 at the first branch of
            the kept stages. Only trained stages drop branches, and only those of timm have any.
        precision: Number type of forward and backward passes in training; `bfloat16` and `float16` are mixed
            precision, with weights, losses and predictions in single precision. With `float16`, losses are
            scaled, and a step whose gradients overflow is left out, in all folds that train together.
        checkpointing: Keep only the inputs of stages for the backward pass, and compute the rest again there:
            less memory for about a third more time. Folds are then not fused.
        accumulation: Number of parts that the batch of a step is computed in, one after the other, with
            gradients added up: less memory, the same step. Batch normalisation takes the statistics of each
            part by itself, and parts of a single image are avoided.
    """

    ema: float = Field(default=0.0, ge=0.0, lt=1.0)
    warmup_epochs: int = Field(default=0, ge=0, le=100)
    layer_decay: float = Field(default=1.0, gt=0.0, le=1.0)
    drop_path: float = Field(default=0.0, ge=0.0, le=0.9)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    checkpointing: bool = False
    accumulation: int = Field(default=1, ge=1, le=256)
