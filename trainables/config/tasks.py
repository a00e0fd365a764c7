"""Tasks: their classes in order, and the meaning of the numbers in a label file.

The last class is the finding (malignant, calcification, abnormal), so that "positive" has one meaning.
A user's own task is a `Task` that is not in `TASKS`; `trainables.config.task_file` reads it from YAML.
"""

from collections.abc import Callable, Mapping
from dataclasses import field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import ConfigDict, StrictInt, StrictStr, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from trainables.common.errors import ConfigError, DataError, OneClassError, UnknownNameError
from trainables.common.text import plain_name
from trainables.config.task_checks import (
    check_classes,
    check_left_out,
    check_name,
    codes_in_listed_order,
    named_classes,
    with_positive_last,
)

if TYPE_CHECKING:
    from trainables.common.types import IntArray

LabelCodes = Literal["task", "pisa", "003"]  # code books that a user can name
StoredCodes = Literal[
    "task", "pisa", "003", "own"
]  # and `own`: class indices by the definition of an own task
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
# Names of classes of images without a lesion, as `plain_name` writes them. The class `healthy` of the
# built-in task is BI-RADS 1 to 3, with benign lesions; a user's own class of that name is taken at its word.
_LESION_FREE: Final = frozenset(map(plain_name, ("normal", "no_idc")))
_LESION_FREE_OF_OWN: Final = frozenset(
    map(plain_name, ("healthy", "no_finding", "no_findings", "no_lesion", "no_lesions"))
)
_NO_FINDING: Final = (LEFT_OUT,) * len(FINDINGS)  # a question that finding codes do not answer
FINDING_OF_003: Final = (0, 3, 1, 4, 2)  # code `003` -> place in `FINDINGS`, which is its code `pisa`
# Kind of a finding -> its code `pisa` where it is benign, and where it is malignant.
CODES_OF_KIND: Final = MappingProxyType(
    {
        kind: (FINDINGS.index(f"{kind}_benign"), FINDINGS.index(f"{kind}_malignant"))
        for kind in ("mass", "calcification")
    }
)


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Task:
    """One classification question: a built-in one, or a user's own.

    What is given is brought into one form: of two classes the positive one comes last, codes are text, and
    classes are spelt as in `classes`.

    Attributes:
        name: Name that the user types; it names the folder of the runs.
        classes: Class names, at least two; the index is the label. Of two, the last is the positive one.
        class_of_finding: Class index for each of `FINDINGS`, or `LEFT_OUT`; empty for a task that finding
            codes do not answer. Built-in tasks only.
        question: One sentence for help texts and model cards; made from the classes if it is empty.
        takes_table: True where rows of measurements answer it, and not images.
        positive: Positive class of two; None takes the last one, and stays None for more than two.
        is_ordinal: True where the order of the classes is one of degree, such as density A to D.
        metric: Name of the metric that a search optimises unless another is asked for; None for the default.
        codes: Label, as in arrays and tables -> class; empty where labels are class names, or numbers from 0.
        folders: Name of a class folder -> class, besides the class names themselves.
        left_out: Labels and folder names whose rows have no part in the task.

    Raises:
        ConfigError: If the parts do not fit together; the message names the task and the part.

    >>> density = Task("density", ("a", "b", "c"), is_ordinal=True, codes={1: "A", 2: "B", 3: "C"})
    >>> density.codes, density.is_own
    ({'1': 'a', '2': 'b', '3': 'c'}, True)
    >>> Task("grade", ("malignant", "benign"), positive="malignant").classes
    ('benign', 'malignant')
    """

    name: str
    classes: tuple[str, ...]
    class_of_finding: tuple[int, ...] = ()
    question: str = ""
    takes_table: bool = False
    positive: str | None = field(default=None, kw_only=True)
    is_ordinal: bool = field(default=False, kw_only=True)
    metric: str | None = field(default=None, kw_only=True)
    codes: Mapping[StrictStr | StrictInt, str] = field(default_factory=dict, kw_only=True, hash=False)
    folders: Mapping[str, str] = field(default_factory=dict, kw_only=True, hash=False)
    left_out: tuple[StrictStr | StrictInt, ...] = field(default=(), kw_only=True)

    @model_validator(mode="wrap")
    @classmethod
    def _in_one_sentence(cls, values: Any, read: Callable[[Any], "Task"]) -> "Task":
        try:
            return read(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"] if not isinstance(part, type))
            said = f"{place}: {first['msg']}" if place else first["msg"]
            raise ConfigError(f"definition of a task: {said}, found {first['input']!r}") from error

    def __post_init__(self) -> None:
        check_name(self.name)
        check_classes(self.name, self.classes, is_ordinal=self.is_ordinal)
        ordered, positive = with_positive_last(self.name, self.classes, self.positive)
        is_reordered = ordered != self.classes and not self.codes
        codes: Mapping[Any, str] = codes_in_listed_order(self.classes) if is_reordered else self.codes
        changes = {
            "classes": ordered,
            "positive": positive,
            "question": self.question or _question(ordered, positive),
            "codes": named_classes(self.name, "codes", codes, ordered),
            "folders": named_classes(self.name, "folders", self.folders, ordered),
            "left_out": check_left_out(self.name, self.left_out, codes, self.folders),
        }
        for name, value in changes.items():
            object.__setattr__(self, name, value)

    @property
    def is_own(self) -> bool:
        """True for a user's own task, which is recorded with a search; False for a built-in one."""
        return self.name not in TASKS

    @property
    def lesion_free(self) -> str | None:
        """Class whose images hold no lesion that the task asks for; None where no class says so.

        That a class is not the finding is not enough: a mass is a lesion, and so is what is benign.

        >>> TASKS["finding_type"].lesion_free, TASKS["mass_calcification"].lesion_free
        ('normal', None)
        """
        names = _LESION_FREE | (_LESION_FREE_OF_OWN if self.is_own else frozenset())
        return next((one for one in self.classes if plain_name(one) in names), None)

    def classify(self, codes: "IntArray", label_codes: StoredCodes) -> "IntArray":
        """Translate label codes into class indices.

        Args:
            codes: Numbers as the data source stores them, shape (images,).
            label_codes: `task`: already class indices; `own`: class indices, or `LEFT_OUT`, by the definition
                of an own task; `pisa`: 0 baseline, 1 mass benign, 2 mass malignant, 3 calcification benign,
                4 calcification malignant; `003`: 0 normal, 1 calcification benign, 2 mass benign,
                3 calcification malignant, 4 mass malignant (source system 003).

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

        of_finding = self.class_of_finding or _NO_FINDING
        book = {
            "task": tuple(range(len(self.classes))),
            "own": tuple(range(len(self.classes))),
            "pisa": of_finding,
            "003": tuple(of_finding[finding] for finding in FINDING_OF_003),
        }[label_codes]
        known = {*range(len(book)), *((LEFT_OUT,) if label_codes == "own" else ())}
        unknown = sorted(set(np.unique(codes).tolist()) - known)
        if unknown:
            raise DataError(
                f"label codes {label_codes!r} of task {self.name} are 0 to {len(book) - 1}, "
                f"but the labels hold {unknown}; say --label-codes task, pisa or 003"
            )
        indices = np.asarray(book, dtype=np.int64)[codes]
        classes = np.where(codes == LEFT_OUT, LEFT_OUT, indices)
        present = sorted(set(classes.tolist()) - {LEFT_OUT})
        if len(present) < 2:
            names = ", ".join(self.classes[index] for index in present) or "none of its classes"
            raise OneClassError(
                f"task {self.name} needs at least two of {', '.join(self.classes)}; "
                f"the data hold only: {names}"
            )
        return classes


def _question(classes: tuple[str, ...], positive: str | None) -> str:
    if positive is not None:
        return f"Is it {positive} rather than {classes[0]}?"
    return f"Which is it: {', '.join(classes[:-1])} or {classes[-1]}?"


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
