"""Selection on data in which nothing, or little, differs: what rank 1, the ties and the ensembles claim.

    python -m benchmarks.selection [--sets 60] [--case 1|2|3|4] [--json FILE]

Each data set holds trials whose true AUC is known: normal scores, of which a share of the noise is common to
all trials of a data set. The claims of the product stand beside those of the simple way: the highest score
with its own interval, members chosen on all folds, the best of all methods, and pairs compared one by one.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Final

import numpy as np

from benchmarks.paired_difference import paired_difference
from benchmarks.patient_bootstrap import bootstrap_interval
from benchmarks.simulated_patients import two_columns
from results.ensembles.members import align
from results.ensembles.nested import choose, nested_evaluation
from results.run.records import OutOfFold
from results.scores.auc_interval import auc_interval
from results.scores.bootstrap import fold_auc_statistic
from results.scores.interval import Interval
from results.scores.joint_comparison import confidence_set
from results.scores.selection import best_by, selected_again

_METHODS: Final = ("average", "greedy", "grid", "stack_logistic")  # the fast ones
_POOL: Final = 12  # members of the simple way come from the best twelve
_COMPARED: Final = 10  # trials that the simple way compares with the first


@dataclass(frozen=True, slots=True)
class Case:
    """Data sets of one kind.

    Attributes:
        trials: Number of trials.
        patients: Number of patients, one image each.
        auc: True AUC of the average trial.
        spread: Standard deviation of the true AUCs.
        common: Correlation of the noise of two trials.
    """

    trials: int
    patients: int
    auc: float
    spread: float
    common: float

    def draw(self, random: np.random.Generator) -> tuple[list[OutOfFold], list[float]]:
        """Draw out-of-fold predictions of all trials, and their true AUCs."""
        rows = np.arange(self.patients)
        labels = random.permutation(rows % 2)
        truths = np.clip(self.auc + self.spread * random.normal(size=self.trials), 0.5, 0.99)
        shared = np.sqrt(self.common) * random.normal(size=self.patients)
        found = []
        for truth in truths:
            distance = np.sqrt(2.0) * NormalDist().inv_cdf(float(truth))
            own = np.sqrt(1 - self.common) * random.normal(size=self.patients)
            probabilities = two_columns(distance * labels + shared + own)
            found.append(OutOfFold(rows, labels, rows % 4, rows.astype(str), probabilities))
        return found, truths.tolist()


_CASES: Final = (
    Case(100, 120, 0.5, 0.0, 0.0),
    Case(100, 120, 0.5, 0.0, 0.7),
    Case(24, 200, 0.7, 0.0, 0.5),
    Case(100, 100, 0.7, 0.02, 0.5),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=60, help="simulated data sets a row (default: 60)")
    parser.add_argument("--case", type=int, choices=range(1, len(_CASES) + 1), help="one kind of data sets")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    rows = []
    for case in _CASES if arguments.case is None else _CASES[arguments.case - 1 : arguments.case]:
        print(
            f"\n{case.trials} trials, {case.patients} patients, AUC {case.auc} +- {case.spread}, "
            f"noise correlation {case.common}\n\n| claim | simple | product |\n| --- | --- | --- |"
        )
        for name, simple, product in _measured(case, arguments.sets):
            rows.append({"case": repr(case), "claim": name, "simple": simple, "product": product})
            print(f"| {name} | {simple:.3f} | {product:.3f} |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


def _measured(case: Case, sets: int) -> Iterator[tuple[str, float, float]]:
    random = np.random.default_rng(0)
    simple, product = [], []
    for _ in range(sets):
        trials, truths = case.draw(random)
        simple.append(_simple(case, trials, truths))
        product.append(_product(case, trials, truths))
    for name in product[0]:
        before, after = (float(np.mean([one[name] for one in found])) for found in (simple, product))
        yield name, before, after


def _claims(
    case: Case, rank_1: Interval, truth: float, tied: list[bool], best: Interval, *, beats_single: bool
) -> dict[str, float]:
    claims = {
        "rank 1: AUC claimed minus the truth": rank_1.estimate - truth,
        "rank 1: interval holds the truth": rank_1.holds(truth),
        "a trial of equals is called worse": not all(tied) if case.spread == 0 else float("nan"),
        "chosen ensemble: AUC": best.estimate,
        "an ensemble is said to beat the single trial": beats_single,
    }
    if case.auc == 0.5:
        claims["chosen ensemble: interval holds 0.5"] = best.holds(0.5)
    return {name: float(value) for name, value in claims.items()}


def _simple(case: Case, trials: list[OutOfFold], truths: list[float]) -> dict[str, float]:
    pool = align(dict(enumerate(trials)))
    order = best_by(pool.labels, pool.probabilities, pool.folds, len(trials))
    first = trials[order[0]]
    scored = nested_evaluation(pool.only(order[:_POOL]), _METHODS, max_members=4, seed=0)
    best = max(scored[1:], key=lambda one: one.auc.estimate)
    single = scored[0].out_of_fold
    return _claims(
        case,
        _bootstrap(first),
        truths[order[0]],
        [_difference(trials[one], first).holds(0.0) for one in order[1 : _COMPARED + 1]],
        _bootstrap(best.out_of_fold),
        beats_single=any(_difference(one.out_of_fold, single).low > 0 for one in scored[1:]),
    )


def _product(case: Case, trials: list[OutOfFold], truths: list[float]) -> dict[str, float]:
    pool = align(dict(enumerate(trials)))
    (order,) = best_by(pool.labels, pool.probabilities, pool.folds, 1)
    scored = nested_evaluation(pool, _METHODS, max_members=4, seed=0)
    best = choose(scored, seed=0)
    return _claims(
        case,
        auc_interval(selected_again(trials, seed=0)),
        truths[order],
        list(confidence_set(trials, seed=0)),
        best.auc,
        beats_single=any(one.difference is not None and one.difference.low > 0 for one in scored),
    )


def _bootstrap(one: OutOfFold) -> Interval:
    statistic = fold_auc_statistic(one.labels, one.probabilities, one.folds)
    return bootstrap_interval(one.groups, statistic, resamples=300, seed=0)


def _difference(one: OutOfFold, other: OutOfFold) -> Interval:
    first, second = (fold_auc_statistic(own.labels, own.probabilities, own.folds) for own in (one, other))
    return paired_difference(one.groups, first, second, resamples=300, seed=0)


if __name__ == "__main__":
    main()
