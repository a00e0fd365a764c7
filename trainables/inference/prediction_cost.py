"""What a finished trial costs to use: time of one image on one CPU core, and size of its weights.

The whole way of an image is timed, from raw pixels to the probabilities of all fold models: transform, views,
frozen stages once, and the part that the search trained. The clock counts the seconds of one thread, so that
trials beside it do not count; of a few runs the fastest one is taken.
"""

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from trainables.config.trial_config import TrialConfig
from trainables.estimators.modules import EstimatorModule
from trainables.inference.finished_trials import FinishedTrial, ImageFormat, SharedBackbones

_FEWEST_RUNS: Final = 5
_MOST_RUNS: Final = 50
_ENOUGH_SECONDS: Final = 1.0  # after which no further run is started
_REMEMBERED: Final = 64  # structures; a worker runs many trials that differ in numbers only


@dataclass(frozen=True, slots=True)
class PredictionCost:
    """Cost of the predictions of one trial with all its fold models.

    Attributes:
        ms_per_image: CPU time of one image on one core, in milliseconds.
        megabytes: Size of all weights, in 10^6 bytes.
    """

    ms_per_image: float
    megabytes: float


def net_cost(trial: FinishedTrial, image: ImageFormat, *, classes: int) -> PredictionCost:
    """Measure a net, or closed-form heads on frozen stages.

    A trial that predicts the type of the finding for this one is not counted.

    Args:
        trial: Finished trial with the weights of its fold models.
        image: Format of the raw images.
        classes: Number of classes.
    """
    config = trial.config
    if config.model.type_input in ("probability", "hard"):
        told = config.model.model_copy(update={"type_input": "human"})
        config = config.model_copy(update={"model": told})
    key = (_structure(config), image, classes, len(trial.folds))
    if key not in _known():
        module = SharedBackbones([replace(trial, config=config, type_trial=None)], image, classes=classes)
        inputs = _example(module, image)
        seconds = _fastest(lambda: module(*inputs))
        _known()[key] = PredictionCost(1e3 * seconds, _size(module) / 1e6)
    return _known()[key]


def table_cost(heads: Sequence[Mapping[str, Tensor]], *, columns: int, classes: int) -> PredictionCost:
    """Measure closed-form heads on one row of a table.

    Args:
        heads: Arrays of the fitted heads, one for each fold.
        columns: Number of columns.
        classes: Number of classes.
    """
    modules = nn.ModuleList([EstimatorModule(dict(state), classes=classes) for state in heads])
    row = torch.zeros(1, columns)
    seconds = _fastest(lambda: [module(row) for module in modules])
    return PredictionCost(1e3 * seconds, _size(modules) / 1e6)


@functools.lru_cache(maxsize=1)
def _known() -> dict[Any, PredictionCost]:
    return {}


def _structure(config: TrialConfig) -> str:
    """What decides the work of a prediction: not the learning rate, say."""
    views = (config.training.augmentation, config.training.average_views, config.training.repeats)
    parts = (config.model, config.input, config.classical)
    return f"{' '.join(part.model_dump_json() for part in parts)} {views}"


def _example(module: SharedBackbones, image: ImageFormat) -> tuple[Tensor, Tensor | None, Tensor | None]:
    raw = _pixels(image)
    return (
        raw,
        raw.clone() if module.needs.baseline else None,
        torch.zeros(1) if module.needs.finding_type else None,
    )


def _pixels(image: ImageFormat) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand((1, *image.shape), generator=generator) * image.max_value


def _fastest(run: Callable[[], Any]) -> float:
    """Seconds of the fastest of a few runs, on this thread alone."""
    found: list[float] = []
    with _on_one_thread(), torch.inference_mode():
        run()
        begun = time.monotonic()
        while len(found) < _MOST_RUNS and (
            len(found) < _FEWEST_RUNS or time.monotonic() - begun < _ENOUGH_SECONDS
        ):
            before = time.thread_time()
            run()
            found.append(time.thread_time() - before)
    return max(min(found), 1e-9)  # a clock may be too coarse to see the run at all


@contextmanager
def _on_one_thread() -> Iterator[None]:
    from threadpoolctl import threadpool_limits  # of scikit-learn, whose libraries have threads of their own

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def _size(module: nn.Module) -> int:
    """Bytes of all parameters and buffers, those that are shared once."""
    tensors = {tensor.data_ptr(): tensor for tensor in (*module.parameters(), *module.buffers())}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
