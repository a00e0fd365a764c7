"""What first points, learned priors, samplers and more workers bring, replayed from a table of results.

    python -m benchmarks.regret [--seeds 50] [--trials 24] [--worker-trials 256] [--worker-seeds 2]
                                [--arms NAME ...]

The tables are those of `benchmarks.portfolio`. For each set, first points and ranges are learned on the
other sets, so that they know nothing of it. The regret is how far the best trial so far lies from the
best configuration of the table on that set, as a share of what that one has above chance; means over sets
and seeds, with the standard error over sets, since sets and not seeds are what a new search differs in.
The second table is by number of workers: seconds of the table's clock until all trials of a search have
ended, and the regret after so many trials and after one minute.
"""

import argparse
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from orchestrator.simulation.learning import ranges_of
from orchestrator.simulation.portfolio import chosen_points
from orchestrator.simulation.replay import NO_RANGES, Ranges, Replay, replay
from orchestrator.simulation.table import packaged_rates, packaged_table

FIRST = 8
WORKERS = (1, 2, 4, 8, 64, 512)


@functools.cache
def first_points(name: str) -> tuple[int, ...]:
    """Return the points that are chosen on all sets but one."""
    return tuple(chosen_points(packaged_table().without(name), FIRST))


@functools.cache
def ranges(name: str) -> Ranges:
    """Return the ranges that hold all that was ever good on all sets but one."""
    return ranges_of((packaged_table().without(name), packaged_rates().without(name)))


def search(
    name: str, *, sampler: str = "tpe", begins: bool = False, narrows: bool = False
) -> Callable[..., Replay]:
    """Return a search of the set that is left out, to be called with `seed`, `trials` and `workers`.

    Args:
        name: Name of the set.
        sampler: Any sampler of a search.
        begins: Begin with the points that were chosen on the other sets.
        narrows: Hold numbers in the ranges that were ever good on the other sets.
    """
    return functools.partial(
        replay,
        packaged_table(),
        name,
        sampler=sampler,
        first=first_points(name) if begins else (),
        ranges=ranges(name) if narrows else NO_RANGES,
    )


ARMS: dict[str, dict[str, Any]] = {
    "random": {"sampler": "random"},
    "random in learned ranges": {"sampler": "random", "narrows": True},
    "tpe": {},
    "tpe in learned ranges": {"narrows": True},
    "portfolio, then random": {"sampler": "random", "begins": True},
    "portfolio, then tpe": {"begins": True},
    "portfolio, then tpe in learned ranges": {"begins": True, "narrows": True},
}
DEFAULT = "portfolio, then tpe in learned ranges"


def regrets(options: dict[str, Any], seeds: int, trials: int, after: Sequence[int]) -> np.ndarray:
    """Return regrets, shape (sets, seeds, len(after))."""
    return np.array(
        [
            [
                [found.regret_after(count) for count in after]
                for found in (run(trials=trials, seed=seed) for seed in range(seeds))
            ]
            for run in (search(name, **options) for name in packaged_table().sets)
        ]
    )


def show_arms(arms: Sequence[str], seeds: int, trials: int) -> None:
    """Replay one search after the other of each arm, and print a table."""
    after = (FIRST, trials)
    print(f"| search | regret after {after[0]} | after {after[1]} | ms a replay |")
    print("| --- | ---: | ---: | ---: |")
    for name in arms:
        began = time.process_time()
        found = regrets(ARMS[name], seeds, trials, after)
        spent = (time.process_time() - began) / (found.shape[0] * seeds)
        by_set = found.mean(axis=1)
        error = by_set.std(axis=0, ddof=1) / len(by_set) ** 0.5
        cells = [f"{mean:.3f} ± {own:.3f}" for mean, own in zip(by_set.mean(axis=0), error, strict=True)]
        print(f"| {name} | {' | '.join(cells)} | {1000 * spent:.0f} |", flush=True)


def show_workers(seeds: int, trials: int) -> None:
    """Replay searches of many trials at several numbers of workers, and print a table."""
    arms = ("portfolio, then tpe", DEFAULT)
    columns = " | ".join(f"{name}: regret after 8, 24, a minute" for name in arms)
    print(f"\n| workers | seconds of {trials} trials | {columns} |")
    print("| ---: | ---: | --- | --- |")
    for workers in WORKERS:
        cells, seconds = [], 0.0
        for name in arms:
            runs = [
                search(own, **ARMS[name])(trials=trials, seed=seed, workers=workers)
                for own in packaged_table().sets
                for seed in range(seeds)
            ]
            seconds = float(np.mean([run.trials[-1].ended for run in runs]))
            found = [(run.regret_after(8), run.regret_after(24), run.regret_at(60.0)) for run in runs]
            cells.append(", ".join(f"{value:.3f}" for value in np.mean(found, axis=0)))
        print(f"| {workers} | {seconds:.0f} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Replay and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--trials", type=int, default=24, help="trials of a search (default: 24)")
    parser.add_argument(
        "--worker-trials", type=int, default=256, help="trials at many workers (default: 256); 0 for none"
    )
    parser.add_argument("--worker-seeds", type=int, default=2)
    parser.add_argument("--arms", nargs="*", choices=tuple(ARMS), default=tuple(ARMS))
    arguments = parser.parse_args()
    table = packaged_table()
    print(f"{len(table.settings)} configurations on {len(table.sets)} sets: {', '.join(table.sets)}\n")
    show_arms(arguments.arms, arguments.seeds, arguments.trials)
    if arguments.worker_trials:
        show_workers(arguments.worker_seeds, arguments.worker_trials)


if __name__ == "__main__":
    main()
