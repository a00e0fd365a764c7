"""Tasks: their classes in order, and the meaning of the numbers in a label file.

The last class is the finding (malignant, calcification, abnormal), so that "positive" has one meaning.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from trainables.common.errors import DataError, OneClassError, UnknownNameError

if TYPE_CHECKING:
    from trainables.common.types import IntArray

LabelCodes = Literal["task", "pisa", "003"]
UpperFolders = Literal["patients", "other"]  # what folders above the class folders are

LEFT_OUT: Final = -1  # a row that has no part in the task, such as a baseline patch in benign_malignant

# Finding names, in the order of the label codes `pisa`; the codes `003` (of source system 003) number the
# same five findings in another order.
FINDINGS: Final = (
    "normal",
    "mass_benign",
    "mass_malignant",
    "calcification_benign",
    "calcification_malignant",
)
_NO_FINDING: Final = (LEFT_OUT,) * len(FINDINGS)  # a question that finding codes do not answer
_FROM_003: Final = (0, 3, 1, 4, 2)  # normal, benign calc, benign mass, malignant calc, malignant mass


@dataclass(frozen=True, slots=True)
class Task:
    """One classification question.

    Attributes:
        name: Name that the user types.
        classes: Class names; the index is the label.
        class_of_finding: Class index for each of `FINDINGS`, or `LEFT_OUT`.
        question: One sentence for help texts and model cards.
        takes_table: True where rows of measurements answer it, and not images.
    """

    name: str
    classes: tuple[str, ...]
    class_of_finding: tuple[int, ...]
    question: str
    takes_table: bool = False

    @property
    def positive(self) -> str:
        """Name of the positive class."""
        return self.classes[-1]

    def classify(self, codes: "IntArray", label_codes: LabelCodes) -> "IntArray":
        """Translate label codes into class indices.

        Args:
            codes: Numbers as the data source stores them, shape (images,).
            label_codes: `task`: already class indices; `pisa`: 0 baseline, 1 mass benign, 2 mass malignant,
                3 calcification benign, 4 calcification malignant; `003`: 0 normal, 1 calcification benign,
                2 mass benign, 3 calcification malignant, 4 mass malignant (source system 003).

        Returns:
            Class indices, shape (images,); `LEFT_OUT` where the row has no part in this task.

        Raises:
            DataError: If a code is outside the code book.
            OneClassError: If fewer than two classes remain.

        >>> import numpy as np
        >>> TASKS["benign_malignant"].classify(np.array([0, 1, 0, 2]), "pisa")
        array([-1,  0, -1,  1])
        """
        import numpy as np  # here, since the command line needs the names of tasks only

        book = {
            "task": tuple(range(len(self.classes))),
            "pisa": self.class_of_finding,
            "003": tuple(self.class_of_finding[finding] for finding in _FROM_003),
        }[label_codes]
        unknown = sorted(set(np.unique(codes).tolist()) - set(range(len(book))))
        if unknown:
            raise DataError(
                f"label codes {label_codes!r} of task {self.name} are 0 to {len(book) - 1}, "
                f"but the labels hold {unknown}; say --label-codes task, pisa or 003"
            )
        classes = np.asarray(book, dtype=np.int64)[codes]
        present = sorted(set(classes.tolist()) - {LEFT_OUT})
        if len(present) < 2:
            names = ", ".join(self.classes[index] for index in present) or "none of its classes"
            raise OneClassError(
                f"task {self.name} needs at least two of {', '.join(self.classes)}; "
                f"the data hold only: {names}"
            )
        return classes


TASKS: Final = MappingProxyType(
    {
        task.name: task
        for task in (
            Task(
                "benign_malignant",
                ("benign", "malignant"),
                (LEFT_OUT, 0, 1, 0, 1),
                "Is the abnormality malignant?",
            ),
            Task(
                "mass_calcification",
                ("mass", "calcification"),
                (LEFT_OUT, 0, 0, 1, 1),
                "Is the abnormality a calcification rather than a mass?",
            ),
            Task(
                "normal_abnormal",
                ("normal", "abnormal"),
                (0, 1, 1, 1, 1),
                "Does the patch hold an abnormality?",
            ),
            Task("five_class", FINDINGS, (0, 1, 2, 3, 4), "Which of five findings does the patch hold?"),
            Task(
                "finding_type",
                ("normal", "mass", "calcification"),
                (0, 1, 1, 2, 2),
                "Does the patch hold a mass, a calcification or neither?",
            ),
            Task(
                "finding_pathology",
                ("normal", "benign", "malignant"),
                (0, 1, 2, 1, 2),
                "Does the patch hold a benign or a malignant finding, or none?",
            ),
            Task("idc", ("no_idc", "idc"), _NO_FINDING, "Does the tissue hold invasive ductal carcinoma?"),
            Task("healthy_sick", ("healthy", "sick"), _NO_FINDING, "Is the mammogram BI-RADS 4, 5 or 6?"),
            Task(
                "wisconsin",
                ("benign", "malignant"),
                _NO_FINDING,
                "Is the mass malignant, by measurements of its cell nuclei?",
                takes_table=True,
            ),
        )
    }
)


def task_named(name: str) -> Task:
    """Return the task of that name, or raise `UnknownNameError` with the nearest one."""
    if name not in TASKS:
        raise UnknownNameError("task", name, TASKS)
    return TASKS[name]
