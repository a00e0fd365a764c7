"""Ways to choose and to weigh the members of an ensemble, on finished runs: nested AUC.

    python -m benchmarks.members RUN [RUN ...] [--seconds 30 60] [--markdown FILE]

Each RUN is a run folder, of a search or of `benchmarks.portfolio run`. For each fold members are chosen among
the other folds' predictions, and their average predicts it, as `orchestrate ensemble` does, or their mean
with weights that fall with the distance from the best. `--seconds` also judges what had ended so many seconds
after the first trial did.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from results.ensembles.choice import choose_members
from results.ensembles.limits import DEFAULT_MEMBERS
from results.ensembles.members import Members, align, kind_of
from results.run.run_folder import RunFolder
from results.scores.auc_interval import auc_interval
from results.scores.interval import QUANTILE
from results.scores.metrics import mean_fold_auc
from results.scores.selection import selection_folds
from trainables.common.types import FloatArray

_CONSIDERED: Final = 40
_PENALTY: Final = 0.1  # AUC for errors that are wholly alike

Choice = Callable[[Members], list[int]]
Weigh = Callable[[Members], FloatArray]


def main() -> None:
    """Judge and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument(
        "--seconds", nargs="*", type=float, default=[], help="judge what had ended by then, too"
    )
    parser.add_argument("--markdown", type=Path, help="write the table here, too")
    arguments = parser.parse_args()
    found: dict[str, list[float]] = {}
    for path in arguments.runs:
        for name, pool in pools(RunFolder(path), arguments.seconds):
            title = f"{path}: {name}"
            found[title] = [nested_auc(pool, *choice) for choice in CHOICES.values()]
            print(title, " ".join(f"{value:.3f}" for value in found[title]), flush=True)
    table = "\n".join(as_lines(found))
    print(f"\n{table}")
    if arguments.markdown:
        arguments.markdown.write_text(table + "\n")


def pools(run: RunFolder, seconds: Sequence[float]) -> Iterator[tuple[str, Members]]:
    """Yield what had ended by each time, and by the end, under a title; less than two trials are left out."""
    complete = [record for record in run.records() if record.state == "complete"]
    began = min(record.finished_at for record in complete)
    trials = {
        record.number: ((record.finished_at - began).total_seconds(), own)
        for record, own in run.readable_predictions(complete)
    }
    kinds = {record.number: kind_of(record.config) for record in complete}
    for limit in (*seconds, float("inf")):
        ended = {number: own for number, (end, own) in trials.items() if end <= limit}
        if len(ended) > 1:
            when = "" if np.isinf(limit) else f" after {limit:g} s"
            yield f"{len(ended)} trials{when}", align(ended, kinds=kinds)


def nested_auc(pool: Members, choose: Choice, weigh: Weigh) -> float:
    """AUC of members that are chosen and weighed without each fold before it is predicted."""
    outer = selection_folds(pool.labels, pool.groups, pool.folds, seed=0)
    predicted = np.zeros(pool.probabilities.shape[1:])
    for fold in np.unique(outer):
        others = pool.where(outer != fold)
        members = choose(others)
        weights = weigh(others.only(members))
        held_out = pool.probabilities[members][:, outer == fold]
        predicted[outer == fold] = np.tensordot(weights / weights.sum(), held_out, axes=1)
    return float(mean_fold_auc(pool.labels, predicted[None], outer)[0])


def alike(pool: Members) -> FloatArray:
    """The same weight for all."""
    return np.ones(len(pool.trials))


def by_merit(pool: Members) -> FloatArray:
    """1 for the best, and 1 / e for a member whose AUC is a standard error of the best one's lower.

    Source:
        Buckland, Burnham and Augustin (1997), Biometrics 53:603, for weights that fall exponentially.
    """
    areas = pool.merits(pool.probabilities)
    interval = auc_interval(pool.out_of_fold(pool.probabilities[int(np.argmax(areas))]))
    return np.exp((areas - areas.max()) * 2 * QUANTILE / (interval.high - interval.low))


def best(number: int) -> Choice:
    """The best trials as they are."""
    return lambda pool: pool.order(number)


def kinds(number: int, considered: int | None = None) -> Choice:
    """The best of each kind in turn."""
    return lambda pool: choose_members(pool, number, considered)


def forward(number: int) -> Choice:
    """The best trial, then again and again the one that makes the AUC of the mean highest (Caruana 2004)."""

    def choose(pool: Members) -> list[int]:
        left = pool.order(_CONSIDERED)
        chosen = [left.pop(0)]
        while left and len(chosen) < number:
            total = pool.probabilities[chosen].sum(axis=0)
            merits = pool.merits((total + pool.probabilities[left]) / (len(chosen) + 1))
            chosen.append(left.pop(int(np.argmax(np.round(merits, 9)))))
        return chosen

    return choose


def unlike(number: int) -> Choice:
    """The best trial, then those whose AUC less a penalty on errors like those of the members is highest."""

    def choose(pool: Members) -> list[int]:
        order = pool.order(_CONSIDERED)
        areas = pool.merits(pool.probabilities[order])
        alike = np.corrcoef(pool.probabilities[order, :, 1] - (pool.labels == 1))
        chosen = [0]
        while len(chosen) < min(number, len(order)):
            value = areas - _PENALTY * alike[:, chosen].mean(axis=1)
            value[chosen] = -np.inf
            chosen.append(int(np.argmax(value)))
        return [order[place] for place in chosen]

    return choose


# Name -> how members are chosen, and how they are weighed.
CHOICES: Final[Mapping[str, tuple[Choice, Weigh]]] = {
    "best trial": (best(1), alike),
    "four best": (best(4), alike),
    "eight best": (best(8), alike),
    "forty best": (best(40), alike),
    "forward, eight of forty": (forward(8), alike),
    "unlike errors, eight of forty": (unlike(8), alike),
    "each kind in turn, eight of forty": (kinds(8, _CONSIDERED), alike),
    "each kind in turn, eight of the better half": (kinds(8), alike),
    "the same eight, by merit": (kinds(8), by_merit),
    f"each kind in turn, {DEFAULT_MEMBERS} of the better half": (kinds(DEFAULT_MEMBERS), alike),
    f"the same {DEFAULT_MEMBERS}, by merit": (kinds(DEFAULT_MEMBERS), by_merit),
    "forty best, by merit": (best(40), by_merit),
}


def as_lines(found: Mapping[str, Sequence[float]]) -> list[str]:
    """Means over pools of trials, and what each way has above the first two, ± standard error."""
    values = np.array(list(found.values()))
    lines = [
        f"| members, {len(values)} pools of trials | nested AUC | above best trial | above four best |",
        "| --- | ---: | --- | --- |",
    ]
    for place, name in enumerate(CHOICES):
        gains = [values[:, place] - values[:, reference] for reference in (0, 1)]
        error = [own.std(ddof=1) / np.sqrt(len(own)) if len(own) > 1 else np.nan for own in gains]
        cells = " | ".join(f"{own.mean():+.3f} ± {one:.3f}" for own, one in zip(gains, error, strict=True))
        lines.append(f"| {name} | {values[:, place].mean():.3f} | {cells} |")
    return lines


if __name__ == "__main__":
    main()
