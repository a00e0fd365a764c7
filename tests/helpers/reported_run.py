"""A run folder with data, split, simulated trials and ensembles, for reports; nothing is trained."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from simulated_run import NOW, search_record, trial_record

from results.ensembles.build import build_ensembles
from results.run.records import OutOfFold
from results.run.run_folder import RunFolder
from results.run.sessions import SessionTime, add_session
from results.scores.metrics import mean_fold_auc
from trainables.common.types import Float64Array, IntArray
from trainables.config.tasks import task_named
from trainables.config.trial_config import decode, flatten
from trainables.data.patches import RawPatches, select_rows, store_patch_set
from trainables.data.split_record import write_split
from trainables.data.splits import make_split
from trainables.data.training_data import training_data_of

PATIENTS = 60
TASK = "benign_malignant"


def patches(*, source: str = "simulated", views: tuple[str, str] = ("CC", "MLO")) -> RawPatches:
    """Two images of each patient, with a view, an age and a density."""
    random = np.random.default_rng(0)
    rows = np.arange(2 * PATIENTS)
    ages = 40.0 + (rows // 2) % 20
    ages[:4] = np.nan
    return RawPatches(
        images=random.integers(0, 200, (len(rows), 32, 32)).astype(np.uint8),
        labels=(rows // 2) % 2,
        label_codes="task",
        patients=np.array([f"patient-{row // 2}" for row in rows]),
        source=source,
        is_synthetic=True,
        columns={"view": np.array(views)[rows % 2], "age_years": ages},
    )


def make_reported_run(
    folder: Path,
    *,
    trials: int = 12,
    with_ensembles: bool = True,
    raw: RawPatches | None = None,
    of_task: str = TASK,
    test_share: float = 0.2,
    holdout: float | None = None,
    **facts: Any,
) -> RunFolder:
    """Write a run of simulated trials on stored patches; later trials are better, and one was stopped."""
    store = folder / "store"
    patch_set = store_patch_set(raw or patches(), store / "data")
    task = task_named(of_task)
    split = make_split(
        select_rows(patch_set, task),
        fingerprint=patch_set.fingerprint,
        task=of_task,
        folds=3,
        test_share=test_share,
        seed=0,
        holdout=holdout,
    )
    run = RunFolder(folder / "runs" / of_task / "first")
    asked = {
        "task": of_task,
        "classes": task.classes,
        "fingerprint": patch_set.fingerprint,
        "store": str(store),
        "folds": 3,
        "source": patch_set.source,
    }
    run.write_search(search_record(**(asked | {"versions": {"torch": "2.11"}} | facts)))
    write_split(run.split_file, split)
    for features, training, waiting in ((60.0, 30.0, 10.0), (0.0, 90.0, 10.0)):  # a session and its resume
        own = SessionTime(
            started_at=NOW, ended_at=NOW, workers=2, features=features, training=training, waiting=waiting
        )
        add_session(run, own)
    scored = training_data_of(patch_set, task, split, "image").scored
    random = np.random.default_rng(1)
    for number in range(trials):
        probabilities = _simulated(scored.labels, len(task.classes), 0.25 * number, random)
        own = OutOfFold(scored.rows, scored.labels, scored.folds, scored.groups, probabilities).held_out()
        run.write_out_of_fold(number, own)
        record = trial_record(
            number,
            value=float(mean_fold_auc(own.labels, own.probabilities, own.folds)),
            fingerprint=patch_set.fingerprint,
            wall_seconds=60.0,
            epochs=3,
        )
        config = flatten(decode({"model.backbone": "efficientnet_lite0"}).model_dump(mode="json"))
        ended = NOW + timedelta(minutes=number)
        run.write_record(record.model_copy(update={"config": config, "finished_at": ended}))
    stopped = trial_record(
        trials, state="pruned", cause="pruner", value=0.4, fingerprint=patch_set.fingerprint
    )
    run.write_record(stopped)
    if with_ensembles and trials > 1:
        stacked = ["stack_logistic"] if len(task.classes) == 2 else []
        build_ensembles(run, methods=["average", *stacked], seed=0)
    return run


def _simulated(labels: IntArray, classes: int, skill: float, random: np.random.Generator) -> Float64Array:
    """Probabilities that tell the labels better with more skill, shape (images, classes)."""
    if classes == 2:
        positive = 1 / (1 + np.exp(-(skill * (2 * labels - 1) + random.normal(size=len(labels)))))
        return np.stack([1 - positive, positive], axis=1)
    scores = np.exp(skill * np.eye(classes)[labels] + random.normal(size=(len(labels), classes)))
    return scores / scores.sum(axis=1, keepdims=True)
