"""What first points, learned priors and samplers bring, replayed from a table of results.

    python -m benchmarks.regret [--seeds 50] [--trials 24] [--arms NAME ...]

The tables are those of `benchmarks.portfolio`. For each set, first points and ranges are learned on sets of
other families, so that they know nothing of it: phantoms of four subtleties are one family. The regret is how
far the best trial so far lies from the best configuration of the table on that set, as a share of what that
one has above chance; means over families, their sets and seeds, with the standard error over families, since
those and not seeds are what a new search differs in. The share of the first arm's regret has an interval from
families that are drawn anew with their numbers; of five families it can only be wide.
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
from orchestrator.simulation.table import family_of, packaged_rates
from search_spaces.learned import TriedElsewhere

FIRST = 8
DRAWS = 10_000


@functools.cache
def first_points(name: str) -> tuple[int, ...]:
    """Return the points that are chosen on all sets but those of one family."""
    return tuple(chosen_points(packaged_table().without(name), FIRST))


@functools.cache
def ranges(name: str) -> Mapping[str, tuple[float, float]]:
    """Return the ranges that hold all that was ever good on all sets but those of one family."""
    return ranges_of((packaged_table().without(name), packaged_rates().without(name)))


@functools.cache
def tried(name: str) -> tuple[TriedElsewhere, ...]:
    """Return how good configurations are on all sets but those of one family."""
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
    "tpe": {},
    "random": {"sampler": "random"},
    "random in learned ranges": {"sampler": "random", "narrows": True},
    "tpe in learned ranges": {"narrows": True},
    "portfolio, then random": {"sampler": "random", "begins": True},
    "portfolio, then tpe": {"begins": True},
    "portfolio, then tpe in learned ranges": {"begins": True, "narrows": True},
    "tpe and experience": {"knows": True},
    "portfolio, then tpe and experience in learned ranges": {"begins": True, "narrows": True, "knows": True},
}


def regrets(arm: str, seeds: int, trials: int, after: Sequence[int]) -> np.ndarray:
    """Return regrets of a family each, means over its sets and seeds, shape (families, len(after))."""
    table, found = packaged_table(), dict[str, list[list[float]]]()
    for name in table.sets:
        search = replace(search_of(name, **ARMS[arm]), trials=trials)  # type: ignore[arg-type]  # see ARMS
        runs = [replay_search(table, name, replace(search, seed=seed)) for seed in range(seeds)]
        own = np.array([[run.regret_after(count) for count in after] for run in runs])
        found.setdefault(family_of(name), []).append(own.mean(axis=0).tolist())
    return np.array([np.mean(own, axis=0) for own in found.values()])


def mean_and_error(values: np.ndarray) -> str:
    """Return the mean over the first axis, families or sets, and its standard error; others are averaged."""
    found = values.reshape(len(values), -1).mean(axis=1)
    if len(found) < 2:
        return f"{found.mean():.3f}"
    return f"{found.mean():.3f} ± {found.std(ddof=1) / len(found) ** 0.5:.3f}"


def share_of(values: np.ndarray, reference: np.ndarray) -> str:
    """Return the mean as a share of a reference's on the same families, with a 95 % bootstrap interval."""
    drawn = np.random.default_rng(0).integers(0, len(values), (DRAWS, len(values)))
    shares = values[drawn].mean(axis=1) / reference[drawn].mean(axis=1)
    low, high = np.quantile(shares, (0.025, 0.975))
    return f"{values.mean() / reference.mean():.2f} [{low:.2f}, {high:.2f}]"


def show_arms(arms: Sequence[str], seeds: int, trials: int) -> None:
    """Replay one search after the other of each arm, and print a table."""
    after, sets = (FIRST, trials), len(packaged_table().sets)
    titles = " | ".join(f"regret after {count} | of {arms[0]}" for count in after)
    print(f"| search | {titles} | ms a replay |")
    print("| --- | ---: | --- | ---: | --- | ---: |")
    reference: np.ndarray | None = None
    for name in arms:
        began = time.process_time()
        found = regrets(name, seeds, trials, after)
        reference = found if reference is None else reference
        spent = (time.process_time() - began) / (sets * seeds)
        columns = zip(found.T, reference.T, strict=True)
        cells = " | ".join(f"{mean_and_error(own)} | {share_of(own, first)}" for own, first in columns)
        print(f"| {name} | {cells} | {1000 * spent:.0f} |", flush=True)


def main() -> None:
    """Replay and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--trials", type=int, default=24, help="trials of a search (default: 24)")
    parser.add_argument(
        "--arms",
        nargs="+",
        choices=tuple(ARMS),
        default=tuple(ARMS),
        help="searches; others are a share of the first",
    )
    arguments = parser.parse_args()
    table = packaged_table()
    print(f"{len(table.settings)} configurations on {len(table.sets)} sets: {', '.join(table.sets)}\n")
    show_arms(arguments.arms, arguments.seeds, arguments.trials)


if __name__ == "__main__":
    main()
