"""What pruners, the terminator, shares of the time and more workers bring, replayed from a table of results.

    python -m benchmarks.simulate pruners [--seeds 10] [--trials 24]
    python -m benchmarks.simulate terminator [--seeds 10] [--trials 64]
    python -m benchmarks.simulate minutes [--seeds 3] [--minutes 1] [--workers 2]
    python -m benchmarks.simulate workers [--seeds 2] [--trials 256]

All begin with the points that were chosen on the other sets, unless they say otherwise; clock and regret are
those of the table (`benchmarks.regret`), means over sets and seeds, ± the standard error over sets. `pruners`
also replays the table of learning rates, whose configurations are all trained heads of twelve epochs.
`minutes` and `workers` add what a trial takes besides its passes and epochs. `--sets` takes some of the sets.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np

from benchmarks.regret import FIRST, first_points, mean_and_error, search_of
from orchestrator import Replay, ReplayedSearch, ResultTable, packaged_table, replay_search
from orchestrator.simulation.set_clock import clock_of
from orchestrator.simulation.table import packaged_rates
from orchestrator.study.pruners import pruner_names
from orchestrator.study.samplers import sampler_names
from trainables.config.trial_config import decode

WORKERS: Final = (1, 8, 64, 512)
TRIAL_SECONDS: Final = 0.3  # building the model, writing weights and record, as `orchestrate plan` has it
_MOMENTS: Final = (15.0, 30.0, 60.0)  # seconds of the table's clock
_MANY: Final = 100_000  # trials; the time is up before

# What the configurations of the table of learning rates share: the space proposes what they differ in.
_TRAINED_HEAD: Final[Mapping[str, Any]] = {
    "classical.name": "none",
    "input.contrast": 1.0,
    "model.backbone": "efficientnet_lite0",
    "model.cut": "top",
    "model.head.batch_norm": False,
    "model.head.dropout": 0.0,
    "model.head.output": "sigmoid",
    "model.head.pooling": "gap",
    "model.trained_stages": 0,
    "optimizer.l1": 0.0,
    "optimizer.schedule": "constant",
    "optimizer.weight_decay": 0.0,
    "training.augmentation": "none",
    "training.average_views": False,
    "training.batch_size": 32,
    "training.class_weight": "balanced",
    "training.feature_dropout": 0.0,
    "training.feature_noise": 0.0,
    "training.mixup": 0.0,
    "training.sampling": "none",
}
_SLOWER: Final = 10.0  # times that epochs take where images are as many times as many

Found = list[list[Replay]]  # of each set, of each seed


def replayed(
    table: ResultTable,
    sets: Sequence[str],
    seeds: int,
    search: Callable[[str], ReplayedSearch],
    **options: Any,
) -> Found:
    """Return the replays of each set and seed.

    Args:
        table: Results.
        sets: Names of the sets.
        seeds: Number of seeds.
        search: Returns the search of a set.
        options: Fields of `ReplayedSearch` that are other ones.
    """
    found = []
    for name in sets:
        own = replace(search(name), **options)
        found.append([replay_search(table, name, replace(own, seed=seed)) for seed in range(seeds)])
    return found


def over(found: Found, measure: Callable[[Replay], float]) -> np.ndarray:
    """Return what each replay measures, shape (sets, seeds)."""
    return np.array([[measure(own) for own in runs] for runs in found])


def slower(table: ResultTable, factor: float) -> ResultTable:
    """Return a table whose epochs and passes take longer: what pruners see where images are many.

    Args:
        table: Results.
        factor: How many times as long, above 0.
    """
    sets = {
        name: tuple(own and replace(own, seconds=tuple(factor * one for one in own.seconds)) for own in found)
        for name, found in table.sets.items()
    }
    return replace(table, sets=sets)


def show_pruners(sets: Sequence[str], seeds: int, trials: int) -> None:
    """Print a table of every pruner: on the default search, and on heads that are trained."""
    rates = packaged_rates()
    rated = [name for name in sets if name in rates.sets]

    def trained_heads(name: str) -> ReplayedSearch:
        return ReplayedSearch(trials=trials, held=_TRAINED_HEAD)

    def default(name: str) -> ReplayedSearch:
        return replace(_begun(name), trials=trials)

    rows: tuple[tuple[str, ResultTable, Sequence[str], Callable[[str], ReplayedSearch]], ...] = (
        ("default search", packaged_table(), sets, default),
        ("trained heads", rates, rated, trained_heads),
        (f"trained heads, {_SLOWER:.0f} times as slow", slower(rates, _SLOWER), rated, trained_heads),
    )
    print(f"| search of {trials} trials | pruner | regret | epochs | seconds of the clock | stopped |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for kind, table, own_sets, search in rows:
        for pruner in pruner_names():
            found = replayed(table, own_sets, seeds, search, pruner=pruner)
            cells = [
                mean_and_error(over(found, lambda run: run.regret)),
                f"{over(found, lambda run: sum(own.epochs for own in run.trials)).mean():.0f}",
                f"{over(found, lambda run: run.seconds).mean():.0f}",
                f"{over(found, lambda run: sum(own.value is None for own in run.trials)).mean():.1f}",
            ]
            print(f"| {kind} | {pruner} | {' | '.join(cells)} |", flush=True)


def show_terminator(sets: Sequence[str], seeds: int, trials: int) -> None:
    """Print for each set when the terminator ends a search, and what that gives up."""
    print(
        f"| set | ended by it | trials | seconds, of those without it | regret | regret of {trials} trials | "
        "AUC given up: mean, most | noise of the folds |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in sets:
        whole = replayed(packaged_table(), [name], seeds, _begun, trials=trials)[0]
        ended = replayed(packaged_table(), [name], seeds, _begun, trials=trials, terminator=True)[0]
        given_up = [_best(all_of) - _best(own) for all_of, own in zip(whole, ended, strict=True)]
        verdicts = [own.terminated for own in ended if own.terminated]
        shares = [own.seconds / all_of.seconds for all_of, own in zip(whole, ended, strict=True)]
        cells = [
            f"{len(verdicts)} of {seeds}",
            f"{np.mean([len(own.trials) for own in ended]):.1f}",
            f"{np.mean([own.seconds for own in ended]):.0f}, {np.mean(shares):.0%}",
            f"{np.mean([own.regret for own in ended]):.3f}",
            f"{np.mean([own.regret for own in whole]):.3f}",
            f"{np.mean(given_up):.3f}, {max(given_up):.3f}",
            f"{np.mean([own.noise for own in verdicts]):.3f}" if verdicts else "",
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def show_minutes(sets: Sequence[str], seeds: int, minutes: float, workers: int) -> None:
    """Print what shares of the time and brief heads bring where the time is limited."""
    arms: dict[str, dict[str, Any]] = {
        "the limit alone": {"has_allowance": False},
        "and a share of the time left for each trial": {"brief_between": 0},
        "and six brief heads before each that is not": {},
    }
    moments = [own for own in _MOMENTS if own <= 60.0 * minutes]
    columns = [f"regret at {own:.0f} s" for own in moments]
    print(f"| {' | '.join(['search', *columns, 'trials', 'complete'])} |")
    print(f"| --- |{' ---: |' * (len(columns) + 2)}")
    for arm, options in arms.items():
        limit = {"minutes": minutes, "workers": workers, "trials": _MANY, "trial_seconds": TRIAL_SECONDS}
        found = replayed(packaged_table(), sets, seeds, _cheapest_first, **limit, **options)
        cells = [mean_and_error(over(found, partial(Replay.regret_at, seconds=at))) for at in moments]
        complete = over(found, lambda run: sum(own.value is not None for own in run.trials))
        counts = f"{over(found, lambda run: len(run.trials)).mean():.0f} | {complete.mean():.0f}"
        print(f"| {arm} | {' | '.join(cells)} | {counts} |", flush=True)


def show_workers(sets: Sequence[str], seeds: int, trials: int, samplers: Sequence[str]) -> None:
    """Print how soon searches of so many trials end at several numbers of workers, and what they know."""
    columns = [f"regret after {FIRST}", "after 24", *(f"at {own:.0f} s" for own in _MOMENTS)]
    print(f"| sampler | workers | seconds of {trials} trials | workers busy | {' | '.join(columns)} |")
    print(f"| --- | ---: | ---: | ---: |{' ---: |' * len(columns)}")
    for sampler in samplers:
        for workers in WORKERS:
            options = {
                "trials": trials,
                "sampler": sampler,
                "workers": workers,
                "trial_seconds": TRIAL_SECONDS,
            }
            found = replayed(packaged_table(), sets, seeds, _cheapest_first, **options)
            busy = over(found, lambda run: run.busy_seconds / run.seconds) / workers
            cells = [f"{over(found, lambda run: run.seconds).mean():.0f}", f"{busy.mean():.0%}"]
            cells += [f"{value.mean():.3f}" for value in _regrets(found)]
            print(f"| {sampler} | {workers} | {' | '.join(cells)} |", flush=True)


def _regrets(found: Found) -> Iterator[np.ndarray]:
    for count in (FIRST, 24):
        yield over(found, partial(Replay.regret_after, trials=count))
    for moment in _MOMENTS:
        yield over(found, partial(Replay.regret_at, seconds=moment))


def _begun(name: str) -> ReplayedSearch:
    """A search as it is by default, which knows nothing of the set."""
    return search_of(name, begins=True, narrows=True, knows=True)


def _cheapest_first(name: str) -> ReplayedSearch:
    """The same with its first points in the order of their passes, as a search tries them."""
    table = packaged_table()
    clock = clock_of(table, name)

    def pass_seconds(index: int) -> float:
        settings = {"training.epochs": table.context["epochs"], **table.settings[index]}
        return clock.price(decode(settings)).pass_seconds

    return replace(_begun(name), first=tuple(sorted(first_points(name), key=pass_seconds)))


def _best(found: Replay) -> float:
    return max(own.value for own in found.trials if own.value is not None)


def main() -> None:
    """Replay and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    defaults = {"pruners": (10, 24), "terminator": (10, 64), "minutes": (3, 0), "workers": (2, 256)}
    for verb, (seeds, trials) in defaults.items():
        own = verbs.add_parser(verb)
        own.add_argument("--seeds", type=int, default=seeds)
        own.add_argument("--sets", nargs="+", choices=tuple(packaged_table().sets))
        if trials:
            own.add_argument("--trials", type=int, default=trials)
        if verb == "minutes":
            own.add_argument("--minutes", type=float, default=1.0)
            own.add_argument("--workers", type=int, default=2)
        if verb == "workers":
            own.add_argument("--samplers", nargs="+", choices=sampler_names(), default=("tpe", "random"))
    arguments = parser.parse_args()
    sets = arguments.sets or tuple(packaged_table().sets)
    if arguments.verb == "pruners":
        show_pruners(sets, arguments.seeds, arguments.trials)
    elif arguments.verb == "terminator":
        show_terminator(sets, arguments.seeds, arguments.trials)
    elif arguments.verb == "minutes":
        show_minutes(sets, arguments.seeds, arguments.minutes, arguments.workers)
    else:
        show_workers(sets, arguments.seeds, arguments.trials, arguments.samplers)


if __name__ == "__main__":
    main()
