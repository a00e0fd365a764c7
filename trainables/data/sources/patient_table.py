"""Table `patients.csv`, with the patient of each image file."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from trainables.common.errors import DataError
from trainables.data.patches import TextArray


def patients_of(table: Path, files: Sequence[str], notes: list[str]) -> TextArray:
    """Look up the patient of each file.

    Args:
        table: CSV with the columns `file` (path below the folder, or bare file name) and `patient`.
        files: Paths relative to the folder, with forward slashes.
        notes: A sentence on rows without a file is added here.

    Returns:
        Patient ids, shape (len(files),).

    Raises:
        DataError: If a column or a file's row is missing, or rows contradict each other.
    """
    patient_of_name = _read(table)
    bare_names = Counter(PurePosixPath(file).name for file in files)
    used: set[str] = set()
    patients = []
    for file in files:
        key = file if file in patient_of_name else PurePosixPath(file).name
        if key not in patient_of_name:
            raise DataError(f"{table} has no row for {file}; add one with its patient")
        if key != file and bare_names[key] > 1:
            raise DataError(
                f"{table} names {key}, but {bare_names[key]} files are called that; write {file} in full"
            )
        used.add(key)
        patients.append(patient_of_name[key])
    unused = len(patient_of_name) - len(used)
    if unused:
        notes.append(
            f"{table.name}: {unused} {'row names' if unused == 1 else 'rows name'} no image in this folder"
        )
    return np.array(patients)


def _read(table: Path) -> dict[str, str]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = [name.strip().lower() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} cannot be read as CSV in UTF-8 ({error}); save it again as such") from error
    if "file" not in columns or "patient" not in columns:
        raise DataError(
            f"{table} must have the columns file and patient; found: {', '.join(columns) or 'none'}"
        )
    patient_of_name: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        name = (row["file"] or "").strip().replace("\\", "/").removeprefix("./")
        patient = (row["patient"] or "").strip()
        if not name or not patient:
            raise DataError(f"{table}, line {number}: file and patient must both be filled in")
        if patient_of_name.setdefault(name, patient) != patient:
            raise DataError(f"{table} gives {name} to both {patient_of_name[name]} and {patient}; keep one")
    return patient_of_name
