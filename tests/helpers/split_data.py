"""Split and training part of a patch set, as most tests want them."""

from trainables.config.tasks import task_named
from trainables.data.patches import PatchSet, select_rows
from trainables.data.split_record import Split
from trainables.data.splits import make_split
from trainables.data.training_data import TrainingData, training_data_of


def three_folds(patches: PatchSet, task_name: str = "benign_malignant") -> Split:
    return make_split(
        select_rows(patches, task_named(task_name)),
        fingerprint=patches.fingerprint,
        task=task_name,
        folds=3,
        test_share=0.25,
        seed=0,
    )


def split_in_three(patches: PatchSet, task_name: str = "benign_malignant") -> TrainingData:
    return training_data_of(patches, task_named(task_name), three_folds(patches, task_name))
