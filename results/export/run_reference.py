"""What is kept of the images of a run: of the sealed test part a digest, by which they are known again."""

from results.export.model_input import ModelInput
from results.export.training_reference import TrainingReference, training_reference
from results.run.run_folder import RunFolder
from trainables.data.patches import select_rows
from trainables.data.split_record import TEST, read_split


def reference_of(run: RunFolder, wanted: ModelInput) -> TrainingReference:
    """Look at the images of a run once.

    Args:
        run: Folder of the search.
        wanted: The image input of the model.
    """
    patch_set = run.patch_set()
    rows = select_rows(patch_set, run.search().task_definition)
    is_training = read_split(run.split_file).folds_of(rows) != TEST
    return training_reference(
        patch_set, rows.rows[is_training], rows.groups[is_training], wanted, sealed=rows.rows[~is_training]
    )
