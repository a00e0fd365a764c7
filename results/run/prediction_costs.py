"""What predictions of a run's models cost, as measured on their exported graphs: `prediction_costs.json`."""

import json
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field, FiniteFloat, ValidationError

from results.run.run_folder import RunFolder
from trainables.common.frozen import FrozenModel
from trainables.common.processor import processor_name

GpuRuntime = Literal["onnxruntime", "torch"]


class PredictionTime(FrozenModel):
    """What an answer of an exported graph costs.

    Attributes:
        core_ms: Milliseconds of one image on one CPU core, in ONNX Runtime.
        gpu_ms: Milliseconds of one image on the GPU; None where there was none.
        gpu_runtime: What computed there: `onnxruntime` the file, or `torch` what was exported, where ONNX
            Runtime could not use the GPU. None where there was none.
        gpu_name: The GPU; None where there was none.
        megabytes: Size of the file in 10^6 bytes.
    """

    core_ms: FiniteFloat = Field(gt=0)
    gpu_ms: FiniteFloat | None = None
    gpu_runtime: GpuRuntime | None = None
    gpu_name: str | None = None
    megabytes: FiniteFloat = Field(gt=0)

    def __str__(self) -> str:
        by = " in PyTorch" if self.gpu_runtime == "torch" else ""
        gpu = "" if self.gpu_ms is None else f", {self.gpu_ms:.1f} ms on the GPU{by}"
        digits = 0 if self.core_ms >= 10 else 1
        return f"{self.core_ms:.{digits}f} ms an image on one core{gpu}, {self.megabytes:.1f} MB"


class ModelCost(PredictionTime):
    """Cost of one model of a run.

    Attributes:
        trials: Numbers of the members, ascending; members that share a backbone share its pass. The rule that
            combines them takes microseconds, so that all methods with these members share the figure.
    """

    trials: tuple[int, ...] = Field(min_length=1)


class PredictionCosts(FrozenModel):
    """All that was measured for a run on one machine, so that the figures can be compared.

    Attributes:
        processor: Processor that they were measured on.
        models: Costs of models, each once.
    """

    processor: str
    models: tuple[ModelCost, ...] = ()

    def of(self, trials: Sequence[int]) -> PredictionTime | None:
        """Return the cost of a model of these members; None if it was not measured."""
        wanted = tuple(sorted(trials))
        return next((model for model in self.models if model.trials == wanted), None)


def read_costs(run: RunFolder) -> PredictionCosts:
    """Return what was measured for a run; empty where nothing was, or the file is no such record."""
    try:
        return PredictionCosts.model_validate_json((run.costs_file).read_bytes())
    except (FileNotFoundError, ValidationError):  # figures that can be measured again are worth no error
        return PredictionCosts(processor=processor_name())


def add_costs(run: RunFolder, found: Mapping[tuple[int, ...], PredictionTime]) -> None:
    """Add costs that were measured on this machine; those of another machine make room for them.

    Args:
        run: The run folder.
        found: Numbers of the members of a model -> what it costs.
    """
    known, here = read_costs(run), processor_name()
    models = {model.trials: model for model in known.models} if known.processor == here else {}
    for trials, cost in found.items():
        key = tuple(sorted(trials))
        facts = {name: getattr(cost, name) for name in PredictionTime.model_fields}
        models[key] = ModelCost(trials=key, **facts)
    kept = PredictionCosts(processor=here, models=tuple(models[key] for key in sorted(models)))
    run.write_json(run.costs_file, json.loads(kept.model_dump_json()))
