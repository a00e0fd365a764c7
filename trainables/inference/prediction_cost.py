"""What a finished trial on a table costs to use: time of one row on one CPU core, and size of its weights.

The clock counts the seconds of one thread, so that trials beside it do not count; of a few runs the fastest
one is taken. What nets and heads on frozen stages cost is measured on their exported graph.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn

from trainables.estimators.modules import EstimatorModule

_FEWEST_RUNS: Final = 5
_MOST_RUNS: Final = 50
_ENOUGH_SECONDS: Final = 1.0  # after which no further run is started


def table_cost(heads: Sequence[Mapping[str, Tensor]], *, columns: int, classes: int) -> tuple[float, float]:
    """Measure closed-form heads on one row of a table.

    Args:
        heads: Arrays of the fitted heads, one for each fold.
        columns: Number of columns.
        classes: Number of classes.

    Returns:
        Milliseconds of one row on one core, and the size of all weights in 10^6 bytes.
    """
    modules = nn.ModuleList([EstimatorModule(dict(state), classes=classes) for state in heads])
    row = torch.zeros(1, columns)
    seconds = _fastest(lambda: [module(row) for module in modules])
    return 1e3 * seconds, _size(modules) / 1e6


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
