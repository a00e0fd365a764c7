"""What first points, learned priors and samplers bring, replayed from a table of results.

    python -m benchmarks.regret [--seeds 50] [--trials 24] [--arms NAME ...]

The tables are those of `benchmarks.portfolio`. For each set, first points and ranges are learned on the
other sets, so that they know nothing of it. The regret is how far the best trial so far lies from the
best configuration of the table on that set, as a share of what that one has above chance; means over sets
and seeds, with the standard error over sets, since sets and not seeds are what a new search differs in.
`benchmarks.simulate` compares pruners, ends, time limits and numbers of workers in the same way.
"""

import argparse
import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from orchestrator import ReplayedSearch, packaged_table, replay_search
from orchestrator.simulation.learning import ranges_of, tried_of
from orchestrator.simulation.portfolio import chosen_points
from orchestrator.simulation.table import packaged_rates
from search_spaces.learned import TriedElsewhere

FIRST = 8


@functools.cache
def first_points(name: str) -> tuple[int, ...]:
    """Return the points that are chosen on all sets but one."""
    return tuple(chosen_points(packaged_table().without(name), FIRST))


@functools.cache
def ranges(name: str) -> Mapping[str, tuple[float, float]]:
    """Return the ranges that hold all that was ever good on all sets but one."""
    return ranges_of((packaged_table().without(name), packaged_rates().without(name)))


@functools.cache
def tried(name: str) -> tuple[TriedElsewhere, ...]:
    """Return how good configurations are on all sets but one."""
    return tried_of(packaged_table().without(name))


def search_of(
    name: str, *, sampler: str = "tpe", begins: bool = False, narrows: bool = False, knows: bool = False
) -> ReplayedSearch:
    """Return a search of the set that is left out.

    Args:
        name: Name of the set.
        sampler: Any sampler of a search.
        begins: Begin with the points that were chosen on the other sets.
        narrows: Hold numbers in the ranges that were ever good on the other sets.
        knows: Propose what is promising of all that was tried on the other sets, in turn with the sampler.
    """
    return ReplayedSearch(
        sampler=sampler,
        first=first_points(name) if begins else (),
        ranges=ranges(name) if narrows else {},
        tried=tried(name) if knows else (),
    )


ARMS: dict[str, dict[str, object]] = {
    "random": {"sampler": "random"},
    "random in learned ranges": {"sampler": "random", "narrows": True},
    "tpe": {},
    "tpe in learned ranges": {"narrows": True},
    "portfolio, then random": {"sampler": "random", "begins": True},
    "portfolio, then tpe": {"begins": True},
    "portfolio, then tpe in learned ranges": {"begins": True, "narrows": True},
    "tpe and experience": {"knows": True},
    "portfolio, then tpe and experience in learned ranges": {"begins": True, "narrows": True, "knows": True},
}


def regrets(arm: str, seeds: int, trials: int, after: Sequence[int]) -> np.ndarray:
    """Return regrets, shape (sets, seeds, len(after))."""
    table, found = packaged_table(), []
    for name in table.sets:
        search = replace(search_of(name, **ARMS[arm]), trials=trials)  # type: ignore[arg-type]  # see ARMS
        runs = [replay_search(table, name, replace(search, seed=seed)) for seed in range(seeds)]
        found.append([[run.regret_after(count) for count in after] for run in runs])
    return np.array(found)


def mean_and_error(values: np.ndarray) -> str:
    """Return the mean over sets and its standard error, from values of shape (sets, seeds)."""
    by_set = values.mean(axis=1)
    if len(by_set) < 2:
        return f"{by_set.mean():.3f}"
    return f"{by_set.mean():.3f} ± {by_set.std(ddof=1) / len(by_set) ** 0.5:.3f}"


def show_arms(arms: Sequence[str], seeds: int, trials: int) -> None:
    """Replay one search after the other of each arm, and print a table."""
    after = (FIRST, trials)
    print(f"| search | regret after {after[0]} | after {after[1]} | ms a replay |")
    print("| --- | ---: | ---: | ---: |")
    for name in arms:
        began = time.process_time()
        found = regrets(name, seeds, trials, after)
        spent = (time.process_time() - began) / (found.shape[0] * seeds)
        cells = [mean_and_error(found[:, :, place]) for place in range(len(after))]
        print(f"| {name} | {' | '.join(cells)} | {1000 * spent:.0f} |", flush=True)


def main() -> None:
    """Replay and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--trials", type=int, default=24, help="trials of a search (default: 24)")
    parser.add_argument("--arms", nargs="*", choices=tuple(ARMS), default=tuple(ARMS))
    arguments = parser.parse_args()
    table = packaged_table()
    print(f"{len(table.settings)} configurations on {len(table.sets)} sets: {', '.join(table.sets)}\n")
    show_arms(arguments.arms, arguments.seeds, arguments.trials)


if __name__ == "__main__":
    main()
