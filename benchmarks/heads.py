"""What fitting a closed-form head costs, beside scikit-learn's pipeline of the same head.

    python -m benchmarks.heads [--rows 2751] [--columns 1432 3800] [--seed 0] [--folds N] [--path]

Rows follow a few hidden directions, as features of a net do. Both sides run on one thread; processor seconds
of one fold, the first fit of its rows, so that nothing is remembered. The largest difference is that of the
probabilities of the rows themselves. With `--folds` heads on unscaled columns are fitted on all folds of the
rows instead, each fold by itself and folds that share the products of rows. With `--path` logistic
regression is fitted at thirteen strengths on each of four folds, or of `--folds`: each strength from zeros,
and each from the solution of the next stronger penalty.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainables.config.trial_config import decode
from trainables.estimators.estimator import Rows, Whole
from trainables.estimators.logistic_solver import solve_logistic
from trainables.estimators.modules import EstimatorModule, as_state
from trainables.estimators.preparation import linear_space
from trainables.estimators.registry import estimator_named
from trainables.estimators.remembered import MEMORY
from trainables.models.heads import probabilities
from trainables.runtime.devices import limit_threads

_HIDDEN: Final = 64
_EXACT: Final = 1e-8  # tolerance at which scikit-learn has the same probabilities to a ten-thousandth
_STRENGTHS: Final = tuple(np.geomspace(1e-4, 1e2, 13).tolist())  # the range of the space, by half decades
_FOLDS: Final = 4
_STEPS: Final = 20_000  # of scikit-learn's solver, which then ends by its tolerance
HEADS: Final[dict[str, tuple[dict[str, Any], Callable[[], Any]]]] = {
    "lda, shrinkage 0.9": (
        {"name": "lda", "shrinkage": 0.9},
        lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.9),
    ),
    "lda, shrinkage 0.9, 32 components": (
        {"name": "lda", "shrinkage": 0.9, "pca": 32},
        lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.9),
    ),
    "logistic, C 0.0001": (
        {"name": "logistic", "c": 1e-4},
        lambda: LogisticRegression(C=1e-4, max_iter=_STEPS),
    ),
    "logistic, C 1": ({"name": "logistic", "c": 1.0}, lambda: LogisticRegression(C=1.0, max_iter=_STEPS)),
    "logistic, C 50": ({"name": "logistic", "c": 50.0}, lambda: LogisticRegression(C=50.0, max_iter=_STEPS)),
    "logistic, C 50, scikit-learn as exact": (
        {"name": "logistic", "c": 50.0},
        lambda: LogisticRegression(C=50.0, tol=_EXACT, max_iter=_STEPS),
    ),
    "logistic, C 50, 16 components": (
        {"name": "logistic", "c": 50.0, "pca": 16},
        lambda: LogisticRegression(C=50.0, max_iter=_STEPS),
    ),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2751)
    parser.add_argument("--columns", type=int, nargs="+", default=[1432, 3800])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folds", type=int, help="fit on so many folds, which share work or do not")
    parser.add_argument("--path", action="store_true", help="fit many strengths, from zeros and along a path")
    asked = parser.parse_args()
    limit_threads(1)
    if asked.path:
        _compare_starts(asked.rows, asked.columns, asked.folds or _FOLDS, asked.seed)
        return
    if asked.folds:
        _compare_folds(asked.rows, asked.columns, asked.folds, asked.seed)
        return
    print("| columns | head | seconds | scikit-learn | ratio | largest difference |")
    print("| ---: | --- | ---: | ---: | ---: | ---: |")
    for columns in asked.columns:
        rows = rows_of(asked.rows, columns, asked.seed)
        for name, (settings, alone) in HEADS.items():
            ours, theirs, difference = compared(rows, settings, alone())
            seconds = f"{ours:.2f} | {theirs:.2f} | {theirs / ours:.1f}x"
            print(f"| {columns} | {name} | {seconds} | {difference:.4f} |", flush=True)


def _compare_folds(count: int, columns: Sequence[int], folds: int, seed: int) -> None:
    print("| columns | head | folds by themselves | folds that share | ratio |")
    print("| ---: | --- | ---: | ---: | ---: |")
    for wide in columns:
        rows = rows_of(count, wide, seed)
        for name in ("logistic", "lda"):
            apart, shared = (fold_seconds(rows, name, folds, shares=own) for own in (False, True))
            print(f"| {wide} | {name} | {apart:.1f} | {shared:.1f} | {apart / shared:.1f}x |", flush=True)


def _compare_starts(count: int, columns: Sequence[int], folds: int, seed: int) -> None:
    print("| rows | columns | prepared | from zeros | along the path | ratio | largest difference |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for wide in columns:
        rows = rows_of(count, wide, seed)
        found = [path_seconds(of_fold(rows, fold, folds)) for fold in range(folds)]
        prepared, alone, warm, _ = np.sum(found, axis=0).tolist()
        seconds = f"{prepared:.2f} | {alone:.2f} | {warm:.2f} | {alone / warm:.2f}x"
        print(f"| {count} | {wide} | {seconds} | {max(own[3] for own in found):.1e} |", flush=True)


def of_fold(rows: Rows, fold: int, folds: int) -> Rows:
    """Rows without those of a fold."""
    kept = np.flatnonzero(np.arange(len(rows.labels)) % folds != fold)
    return dataclasses.replace(
        rows,
        inputs=rows.inputs[kept],
        labels=rows.labels[kept],
        groups=rows.groups[kept],
        key=f"without {fold}",
    )


def path_seconds(rows: Rows) -> tuple[float, float, float, float]:
    """Processor seconds of logistic regression at all strengths on the same rows.

    Returns:
        Seconds of what all strengths share, of the strengths from zeros, and of the strengths from the
        solution of the one before; and the largest difference of the probabilities of the rows.
    """
    MEMORY.forget()
    begun = time.process_time()
    settings = {"model.backbone": "vgg16", "classical.name": "logistic", "classical.standardize": True}
    inputs = linear_space(decode(settings).classical, rows).coordinates
    solve_logistic(_STRENGTHS[0], inputs, rows, space=())
    seconds = [time.process_time() - begun]
    found = []
    for is_path in (False, True):
        begun, position = time.process_time(), None
        for c in _STRENGTHS:
            solved = solve_logistic(c, inputs, rows, space=(), start=position if is_path else None)
            position = np.vstack(solved)
            found.append(0.5 * (1.0 + np.tanh(0.5 * (inputs @ solved[0] + solved[1]))))
        seconds.append(time.process_time() - begun)
    half = len(_STRENGTHS)
    difference = max(
        float(np.abs(one - other).max()) for one, other in zip(found[:half], found[half:], strict=True)
    )
    return seconds[0], seconds[1], seconds[2], difference


def rows_of(count: int, columns: int, seed: int) -> Rows:
    """Rows of two classes, whose columns follow a few hidden directions and each its own noise."""
    random = np.random.default_rng(seed)
    hidden = random.standard_normal((count, _HIDDEN))
    noise = 0.3 * random.standard_normal((count, columns))
    inputs = (hidden @ random.standard_normal((_HIDDEN, columns)) / 8.0 + noise).astype(np.float32)
    labels = (hidden[:, 0] + random.standard_normal(count) > 0).astype(np.int64)
    return Rows(inputs, labels, np.arange(count).astype(np.str_), 2, np.ones(2))


def fold_seconds(rows: Rows, name: str, folds: int, *, shares: bool) -> float:
    """Processor seconds of a head on unscaled columns, fitted without each fold in turn."""
    config = decode(
        {
            "model.backbone": "vgg16",
            "classical.name": name,
            "classical.standardize": False,
            "classical.c": 0.01,
        }
    )
    MEMORY.forget()
    begun = time.process_time()
    for fold in range(folds):
        kept = of_fold(rows, fold, folds)
        if shares:
            places = kept.groups.astype(int)  # each row is a patient of its own, in order
            kept = dataclasses.replace(kept, whole=Whole(rows.inputs, "all", places))
        estimator_named(name).fit(config, kept, 0)
    return time.process_time() - begun


def compared(rows: Rows, settings: dict[str, Any], alone: Any) -> tuple[float, float, float]:
    """Processor seconds of our head and of scikit-learn's, and the largest difference of probabilities."""
    own = {f"classical.{name}": value for name, value in settings.items()}
    config = decode({"model.backbone": "vgg16", "classical.standardize": True, **own})
    MEMORY.forget()
    begun = time.process_time()
    fitted = estimator_named(settings["name"]).fit(config, rows, 0)
    ours = time.process_time() - begun
    steps = [PCA(settings["pca"], svd_solver="full")] if "pca" in settings else []
    pipeline = make_pipeline(StandardScaler(), *steps, alone)
    begun = time.process_time()
    pipeline.fit(rows.inputs, rows.labels)
    theirs = time.process_time() - begun
    module = EstimatorModule(as_state(fitted), classes=2)
    with torch.inference_mode():
        found = probabilities(module(torch.from_numpy(rows.inputs.astype(np.float64)))).numpy()
    return ours, theirs, float(np.abs(found - pipeline.predict_proba(rows.inputs)).max())


if __name__ == "__main__":
    main()
