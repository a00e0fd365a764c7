"""A finished search and the searches inside its outer folds, made without Ray, of closed-form heads."""

from pathlib import Path

import finished_run
import numpy as np
import torch

from orchestrator.nesting.inner_search import InnerSearch
from orchestrator.tuning.rebuild import read_points
from results.run.run_folder import RunFolder
from search_spaces.registry import space_for
from trainables.config.trial_config import decode
from trainables.data.outer_folds import cut_outer_folds, inner_split
from trainables.data.patches import RawPatches, select_rows
from trainables.data.split_record import read_split, write_split
from trainables.data.training_data import training_data_of
from trainables.runtime.trial_runtime import TrialRuntime

CONFIGS = {
    0: {"model.backbone": "texture", "model.cut": "top", "classical.name": "lda"},
    1: {"model.backbone": "intensity", "model.cut": "top", "classical.name": "logistic"},
    2: {
        "model.backbone": "intensity",
        "model.cut": "top",
        "classical.name": "knn",
        "classical.neighbours": 3,
    },
}
_BACKBONES = ("intensity", "texture")


def bright_patches(patients=24, *, has_patients=True):
    """Two images of each patient, 32x32 px; those of malignant ones are brighter, most of the time."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(patients) % 2, 2)
    level = 0.5 + 0.06 * labels + 0.05 * random.normal(size=len(labels))
    images = np.clip(level[:, None, None] + 0.1 * random.normal(size=(len(labels), 32, 32)), 0, 1)
    names = np.array([f"P{row // 2:02d}" for row in range(len(labels))]) if has_patients else None
    raw = (images * 65535).astype(np.uint16)
    return RawPatches(raw, labels, "task", patients=names, source="bright", is_synthetic=True)


def make_outer(folder: Path, **changes) -> RunFolder:
    """A finished search of three trials."""
    raw = changes.pop("raw", None) or bright_patches()
    return finished_run.make_run(folder, CONFIGS, raw=raw, backbones=_BACKBONES, **changes)


def inner_searches(run: RunFolder, folds: int) -> list[InnerSearch]:
    """The searches inside of the outer folds of a run."""
    search, split = run.search(), read_split(run.split_file)
    task = search.task_definition
    rows = select_rows(run.patch_set(), task)
    outer = cut_outer_folds(rows, split, task, folds=folds)
    return [
        InnerSearch(
            run,
            search,
            fold + 1,
            folds,
            len(run.records()),
            inner_split(rows, split, task, outer, fold),
            read_points(run, search, lambda message: None),
            space_for(task, None),
        )
        for fold in range(folds)
    ]


def finish_inner(one: InnerSearch, configs=CONFIGS) -> RunFolder:
    """Write the run folder of an inner search, and train its trials as workers do."""
    run, search = one.run, one.search_record()
    run.write_search(search)
    write_split(run.split_file, one.split)
    data = training_data_of(run.patch_set(), search.task_definition, one.split)
    place = TrialRuntime(Path(search.store), torch.device("cpu"), dict.fromkeys(_BACKBONES))
    for number, settings in configs.items():
        finished_run.finish_trial(run, number, decode(settings), data, place)
    return run
