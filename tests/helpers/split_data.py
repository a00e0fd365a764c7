"""The training part of a patch set, split as most tests want it."""

from trainables.config.tasks import task_named
from trainables.data.patches import PatchSet, select_rows
from trainables.data.splits import make_split
from trainables.data.training_data import TrainingData, training_data_of


def split_in_three(patches: PatchSet, task_name: str = "benign_malignant") -> TrainingData:
    task = task_named(task_name)
    split = make_split(
        select_rows(patches, task),
        fingerprint=patches.fingerprint,
        task=task.name,
        folds=3,
        test_share=0.25,
        seed=0,
    )
    return training_data_of(patches, task, split)
