"""What first points, samplers and more workers bring, replayed from the table of `benchmarks.portfolio`.

    python -m benchmarks.regret [--seeds 50] [--trials 24] [--worker-trials 256]

For each set of the table the first points are chosen on the other sets, so that they know nothing of it. The
regret is how far the best trial so far lies from the best configuration of the table on that set, as a share
of what that one has above chance; means over sets and seeds, with the standard error over sets, since sets
and not seeds are what a new search differs in. The second table is the clock of the table: seconds until all
trials of a search have ended, at so many workers, and its regret after one minute.
"""

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np

from orchestrator.simulation.portfolio import chosen_points
from orchestrator.simulation.replay import Replay, replay
from orchestrator.simulation.table import ResultTable, packaged_table

FIRST = 8
WORKERS = (1, 8, 64, 512)
Arm = Callable[[ResultTable, str, int, int], Replay]


def plain(sampler: str, pruner: str = "halving") -> Arm:
    """A search that begins with proposals of the sampler."""

    def run(table: ResultTable, name: str, seed: int, trials: int) -> Replay:
        return replay(table, name, trials=trials, seed=seed, sampler=sampler, pruner=pruner)

    return run


def begun(sampler: str) -> Arm:
    """A search that begins with the points that were chosen on the other sets."""

    def run(table: ResultTable, name: str, seed: int, trials: int) -> Replay:
        first = chosen_points(table.without(name), FIRST)
        return replay(table, name, trials=trials, seed=seed, sampler=sampler, first=first)

    return run


ARMS = {
    "random": plain("random"),
    "tpe": plain("tpe"),
    "tpe, nothing stopped": plain("tpe", "none"),
    "portfolio, then random": begun("random"),
    "portfolio, then tpe": begun("tpe"),
}


def regrets(table: ResultTable, arm: Arm, seeds: int, trials: int, after: Sequence[int]) -> np.ndarray:
    """Return regrets, shape (sets, seeds, len(after))."""
    return np.array(
        [
            [[found.regret_after(count) for count in after] for found in runs]
            for runs in ([arm(table, name, seed, trials) for seed in range(seeds)] for name in table.sets)
        ]
    )


def main() -> None:
    """Replay and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--trials", type=int, default=24, help="trials of a search (default: 24)")
    parser.add_argument(
        "--worker-trials", type=int, default=256, help="trials at many workers (default: 256)"
    )
    arguments = parser.parse_args()
    table, after = packaged_table(), (FIRST, arguments.trials)
    print(f"{len(table.settings)} configurations on {len(table.sets)} sets: {', '.join(table.sets)}\n")
    print(f"| search | regret after {after[0]} | after {after[1]} | ms a replay |")
    print("| --- | ---: | ---: | ---: |")
    for name, arm in ARMS.items():
        began = time.perf_counter()
        found = regrets(table, arm, arguments.seeds, arguments.trials, after)
        spent = (time.perf_counter() - began) / (len(table.sets) * arguments.seeds)
        by_set = found.mean(axis=1)
        error = by_set.std(axis=0, ddof=1) / len(by_set) ** 0.5
        cells = [f"{mean:.3f} ± {own:.3f}" for mean, own in zip(by_set.mean(axis=0), error, strict=True)]
        print(f"| {name} | {' | '.join(cells)} | {1000 * spent:.0f} |", flush=True)
    print(f"\n| workers | seconds of {arguments.worker_trials} trials | regret after a minute |")
    print("| ---: | ---: | ---: |")
    for workers in WORKERS:
        runs = [
            replay(
                table,
                name,
                trials=arguments.worker_trials,
                seed=0,
                first=chosen_points(table.without(name), FIRST),
                workers=workers,
            )
            for name in table.sets
        ]
        seconds = np.mean([run.trials[-1].ended for run in runs])
        print(
            f"| {workers} | {seconds:.0f} | {np.mean([run.regret_at(60.0) for run in runs]):.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
