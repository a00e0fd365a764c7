"""Data source of the Breast Cancer Wisconsin (diagnostic) table: measurements of cell nuclei.

Street, Wolberg, Mangasarian (1993); 569 masses, 30 columns: mean, standard error and worst value of ten
measurements. UCI Machine Learning Repository, CC BY 4.0; the table comes with scikit-learn.
"""

import numpy as np

from trainables.common.errors import DataError
from trainables.config.tasks import Task
from trainables.data.patches import RawPatches
from trainables.data.source import Source, Stated

NAME = "wisconsin"


def load_wisconsin(data: str, task: Task, stated: Stated) -> tuple[RawPatches, list[str]]:
    """Read the table.

    Args:
        data: `wisconsin`; not used, since there is one such table.
        task: Task; not used, since the label codes are known.
        stated: What the user says; label codes must be `task` or None.

    Returns:
        The table with 0 for benign and 1 for malignant masses, and a sentence that describes it. The table
        has no patients: each mass is taken as that of a different patient.

    Raises:
        DataError: If other label codes are asked for.
    """
    from sklearn.datasets import load_breast_cancer  # slow to import, and images do not need it

    if stated.label_codes not in (None, "task"):
        raise DataError(
            f"wisconsin's label codes are task, not {stated.label_codes}; leave --label-codes out"
        )
    found = load_breast_cancer()
    malignant = found.target_names.tolist().index("malignant")
    raw = RawPatches(
        images=np.ascontiguousarray(found.data, dtype=np.float32),
        labels=(found.target == malignant).astype(np.int64),
        label_codes="task",
        patients=np.array([f"mass-{row:03d}" for row in range(len(found.target))]),
        source=NAME,
    )
    rows, columns = raw.images.shape
    return raw, [
        f"Breast Cancer Wisconsin (diagnostic), from scikit-learn: {rows} masses, {columns} measurements "
        "each, no images"
    ]


WISCONSIN = Source("wisconsin", load_wisconsin, "a table that scikit-learn brings along", takes_path=False)
