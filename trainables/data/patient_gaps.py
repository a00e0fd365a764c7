"""Images of nobody known in a set that knows patients: a few are warned of, many are refused."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from trainables.common.errors import DataError
from trainables.common.text import count_text

_MOST: Final = 0.1  # of the images of a source; more are a column that was not filled in


def note_patient_gaps(table: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return sentences on images without a patient, each of which counts as a patient of its own.

    Args:
        table: Column -> value of each image, None where unknown; `name` is needed.

    Raises:
        DataError: If more than a tenth of the images of a source have no patient, and the others have one.

    >>> note_patient_gaps({"name": ["a", "b"], "patient": [None, None]})
    []
    """
    patients = table.get("patient") or ()
    if all(patient is None for patient in patients):
        return []
    names = table["name"]
    rows = defaultdict(list)
    for row, source in enumerate(table.get("source") or [""] * len(names)):
        rows[source].append(row)
    notes = []
    for source, own in rows.items():
        unknown = [names[row] for row in own if patients[row] is None]
        if len(unknown) == len(own):
            notes.append(f"WARNING: no image of {source} has a patient, so that {_consequence(unknown)}")
        elif len(unknown) > _MOST * len(own):
            raise DataError(
                f"{len(unknown)} of {count_text(len(own), 'image')} have no patient, such as {unknown[0]}, "
                "and the others have one; give the patient of every image, or of none"
            )
        elif unknown:
            notes.append(
                f"WARNING: {len(unknown)} of {count_text(len(own), 'image')} "
                f"{'has' if len(unknown) == 1 else 'have'} no patient, so that {_consequence(unknown)}"
            )
    return notes


def _consequence(unknown: Sequence[Any]) -> str:
    return (
        f"each counts as a patient of its own and images of one patient may be in two parts, such as "
        f"{unknown[0]}; give their patients"
    )
