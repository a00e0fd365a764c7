"""What models of a run cost to use, measured on the graphs that an export would write.

An export takes seconds, so a structure is measured once on a machine: the figure lies in the store, under a
hash of all that decides the work of a prediction. Learning rates do not, backbones, heads and views do.
"""

import contextlib
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeGuard

import torch
from pydantic import ValidationError
from torch import Tensor

from results.ensembles.weighted_mean import WeightedMean
from results.export.model_file import replace_notes
from results.export.prediction_time import gpu_here, gpu_name, measure_prediction_time
from results.predictors.ensemble_module import EnsembleModule, combination_graph, write_onnx
from results.predictors.loading import finished_members
from results.run.prediction_costs import PredictionTime, add_costs, read_costs
from results.run.run_folder import RunFolder
from trainables.common.errors import OrchestrateError
from trainables.common.files import write_atomically
from trainables.common.onnx_runtime import onnxruntime
from trainables.common.processor import processor_name
from trainables.common.text import trials_text
from trainables.features.locks import held
from trainables.inference.finished_trials import FinishedTrial, ImageFormat, SharedBackbones

FOLDER: Final = "prediction_costs"  # in the store
_EXPECTED_SECONDS: Final = 10.0  # of a measurement, before the first one


def graph_cost(
    trials: Sequence[FinishedTrial],
    image: ImageFormat,
    *,
    classes: int,
    store: Path,
    is_float: bool = False,
    times_gpu: bool = True,
) -> PredictionTime:
    """Measure the exported graph of finished trials that predict together.

    Args:
        trials: Finished trials with the weights of their fold models, at least one.
        image: Format of the raw images.
        classes: Number of classes.
        store: Folder of stored data and features, in which the figure is kept.
        is_float: The images are floats in [0, 1], and not whole numbers.
        times_gpu: Time the GPU of this process, too, where there is one that nothing else is using.

    Raises:
        ExportError: If the weights do not fit into one file.
    """
    file = store / FOLDER / f"{_key(trials, image, classes)}.json"
    if _is_whole(known := _read(file), times_gpu=times_gpu):
        return known
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # a store without locks costs the measurement twice at most
            stack.enter_context(held(file.with_suffix(".lock"), may_wait=True))
        if _is_whole(known := _read(file), times_gpu=times_gpu):
            return known
        dtype = torch.float32 if is_float else torch.int32
        found = _measured(trials, image, classes, dtype, times_gpu=times_gpu)
        with contextlib.suppress(OSError):  # a read-only store only costs the measurement again
            write_atomically(file, found.model_dump_json() + "\n")
    return found


def _is_whole(known: PredictionTime | None, *, times_gpu: bool) -> TypeGuard[PredictionTime]:
    """Tell whether a figure of the store needs no further measurement: a GPU may have been full then."""
    return known is not None and (known.gpu_ms is not None or not times_gpu or gpu_here() is None)


def measure_models(
    run: RunFolder,
    models: Iterable[Sequence[int]],
    *,
    seconds: float | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[tuple[int, ...], PredictionTime]:
    """Return what models of a run cost; those that were not measured on this machine are, and are recorded.

    Args:
        run: The run folder.
        models: Numbers of the members of each model, the most important first.
        seconds: Time after which no further measurement is begun; None for no limit.
        say: Function called with a sentence before each measurement, and for what cannot be measured.

    Returns:
        Ascending numbers of the members -> cost; models that cannot be measured are left out.
    """
    wanted = list(dict.fromkeys(tuple(sorted(members)) for members in models))
    known = read_costs(run)
    is_here = known.processor == processor_name()
    found: dict[tuple[int, ...], PredictionTime] = {}
    spent, last = 0.0, _EXPECTED_SECONDS
    for members in wanted:
        cost = known.of(members) if is_here else None
        # A process without the GPU may have measured it, or this machine has one, or another, since then.
        has_gpu_time = cost is not None and cost.gpu_ms is not None and cost.gpu_name == gpu_name()
        if cost is not None and (has_gpu_time or gpu_here() is None):
            found[members] = cost
            continue
        if seconds is not None and spent + last > seconds:
            found |= {} if cost is None else {members: cost}
            break
        begun = time.monotonic()
        try:
            found[members] = _of_run(run, members, say)
        except OrchestrateError as error:
            say(f"not measured: {trials_text(members)}: {error}")
            continue
        add_costs(run, {members: found[members]})
        spent += (last := time.monotonic() - begun)
    return found


def _of_run(run: RunFolder, members: Sequence[int], say: Callable[[str], None]) -> PredictionTime:
    search, patch_set = run.search(), run.patch_set()
    trials = finished_members(run, members)
    image = ImageFormat(tuple(patch_set.images.shape[1:]), patch_set.max_value)
    say(f"measuring what a prediction of {trials_text(members)} costs")
    return graph_cost(
        trials,
        image,
        classes=len(search.classes),
        store=Path(search.store),
        is_float=patch_set.images.dtype.kind == "f",
    )


def _measured(
    trials: Sequence[FinishedTrial],
    image: ImageFormat,
    classes: int,
    dtype: torch.dtype,
    *,
    times_gpu: bool,
) -> PredictionTime:
    shared = SharedBackbones(trials, image, classes=classes)
    rule = WeightedMean(weights=(1.0 / len(trials),) * len(trials))
    module = EnsembleModule(shared, combination_graph(rule, None))
    inputs = _example(module, image, dtype)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        write_onnx(module, inputs, file)
        replace_notes(file, {})
        arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
        return measure_prediction_time(file, arrays, module, times_gpu=times_gpu)


def _example(module: EnsembleModule, image: ImageFormat, dtype: torch.dtype) -> dict[str, Tensor]:
    """Two images of noise, with what else the module needs."""
    generator = torch.Generator().manual_seed(0)
    raw = (torch.rand((2, *image.shape), generator=generator) * image.max_value).to(dtype)
    inputs = {"raw": raw}
    if module.members.needs.baseline:
        inputs["baseline"] = raw.clone()
    if module.members.needs.finding_type:
        inputs["finding_type"] = torch.zeros(2)
    return inputs


def _key(trials: Sequence[FinishedTrial], image: ImageFormat, classes: int) -> str:
    facts: dict[str, Any] = {
        "processor": processor_name(),
        "onnxruntime": [onnxruntime.__version__, onnxruntime.get_available_providers()],
        "torch": torch.__version__,
        "gpu": gpu_name(),
        "image": [image.shape, image.max_value],
        "classes": classes,
        "trials": [_structure(trial) for trial in trials],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


def _structure(trial: FinishedTrial) -> dict[str, Any]:
    """What decides the work of a prediction: stages, views, and the shapes of all that was trained."""
    config, training = trial.config, trial.config.training
    return {
        "model": config.model.model_dump(mode="json"),
        "input": config.input.model_dump(mode="json"),
        "head": config.classical.name,
        "views": [training.augmentation, training.average_views, training.repeats],
        "folds": [sorted((name, list(one.shape)) for name, one in fold.items()) for fold in trial.folds],
        "type": None if trial.type_trial is None else _structure(trial.type_trial),
    }


def _read(file: Path) -> PredictionTime | None:
    try:
        return PredictionTime.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None


def without_type_trial(trial: FinishedTrial) -> FinishedTrial:
    """Return a trial that is told the type of the finding, in place of one that asks another trial for it."""
    if trial.config.model.type_input not in ("probability", "hard"):
        return trial
    told = trial.config.model.model_copy(update={"type_input": "human"})
    return replace(trial, config=trial.config.model_copy(update={"model": told}), type_trial=None)


def as_metrics(cost: PredictionTime) -> Mapping[str, float]:
    """Return a cost by the names of the metrics that a search may optimise or bound."""
    return {"ms_per_image": cost.core_ms, "megabytes": cost.megabytes}
