"""Columns of a set: what is known about each image besides label and patient, such as view or vendor.

They are kept as one Parquet file beside the arrays. Text is "" where it is unknown, numbers are NaN.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError
from trainables.common.types import IntArray
from trainables.data.parquet import read_parquet, write_parquet

Columns: TypeAlias = Mapping[str, NDArray[Any]]
Laterality: TypeAlias = Literal["L", "R"]

COLUMNS_FILE: Final = "columns.parquet"
EXTRA_COLUMN: Final = "is_extra"  # of a table: true for images that train in every fold and are never scored

# Columns that say where an image was taken or comes from, the place before the device: sites, within which
# AUCs are taken, and of which an audit warns where a class comes from one alone.
PLACES: Final = ("site", "hospital", "institution")
SITES: Final = (*PLACES, "source", "vendor", "machine")

# How an unknown value reads once it is text, in lower case: an empty cell, NaN or None.
UNKNOWN_WORDS: Final = ("", "nan", "none")
NOT_STATED_WORDS: Final = (*UNKNOWN_WORDS, "unknown")  # and as people write it in a table
# Side of a breast by the words for it, in capitals.
SIDES: Final[Mapping[str, Laterality]] = MappingProxyType({"L": "L", "LEFT": "L", "R": "R", "RIGHT": "R"})


def checked_columns(columns: Mapping[str, NDArray[Any]], count: int) -> Columns:
    """Return columns as text and float64, in the order of their names.

    Args:
        columns: Column -> text, numbers or booleans, shape (count,).
        count: Number of images.

    Raises:
        DataError: If a column has another length, or holds neither text nor numbers.

    >>> found = checked_columns({"view": np.array(["CC", ""]), "age_years": np.array([61, 47])}, 2)
    >>> list(found), found["age_years"].dtype.name
    (['age_years', 'view'], 'float64')
    """
    checked = {}
    for name in sorted(columns):
        column = np.asarray(columns[name])
        if column.shape != (count,):
            raise DataError(
                f"column {name} must hold one value an image, shape ({count},), but has shape {column.shape}"
            )
        if column.dtype.kind not in "Ubiuf":
            raise DataError(f"column {name} must hold text or numbers, found {column.dtype}")
        checked[name] = column if column.dtype.kind == "U" else column.astype(np.float64)
    return MappingProxyType(checked)


def decoded_text(values: NDArray[Any], where: str) -> NDArray[np.str_]:
    """Return values as text.

    Args:
        values: Text, bytes in UTF-8, numbers or booleans, any shape.
        where: What holds them, for messages.

    Raises:
        DataError: If bytes are not UTF-8.
    """
    if values.dtype.kind != "S":
        return values.astype(np.str_)
    try:
        return np.char.decode(values, "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where} must hold text in UTF-8 ({error}); save it as text, such as "
            'numpy.char.decode(array, "latin-1")'
        ) from error


def known_text(values: NDArray[Any], where: str) -> NDArray[np.str_]:
    """Return values as text without blanks around them, "" where they are unknown.

    Args:
        values: Text, bytes in UTF-8, numbers or booleans, any shape.
        where: What holds them, for messages.

    Raises:
        DataError: If bytes are not UTF-8.

    >>> known_text(np.array([" L ", "NaN", "none", "nano"]), "the array of sides").tolist()
    ['L', '', '', 'nano']
    """
    text = np.char.strip(decoded_text(values, where))
    return np.where(np.isin(np.char.lower(text), UNKNOWN_WORDS), "", text)


def names_of(values: NDArray[Any]) -> NDArray[np.str_]:
    """Return values that name something, such as a site, as text, "" where they are unknown.

    Args:
        values: Text, or numbers, which may be names of sites as well as words are, shape (n,).

    >>> names_of(np.array([2.0, np.nan, 10.5])).tolist(), names_of(np.array(["a", ""])).tolist()
    (['2', '', '10.5'], ['a', ''])
    """
    if values.dtype.kind == "U":
        return values
    return np.array([f"{value:.15g}" if np.isfinite(value) else "" for value in values], dtype=np.str_)


def take_rows(columns: Columns | None, rows: IntArray) -> Columns | None:
    """Return the columns of some rows; None for a set without columns."""
    if columns is None:
        return None
    return MappingProxyType({name: column[rows] for name, column in columns.items()})


def columns_digest(columns: Columns) -> str:
    """Return the SHA-256, in hex, of names and values; unknown numbers are all alike."""
    digest = hashlib.sha256()
    for name, column in sorted(columns.items()):
        values = [None if value != value else value for value in column.tolist()]  # noqa: PLR0124 - only NaN is
        digest.update(json.dumps([name, values]).encode())
    return digest.hexdigest()


def write_columns(columns: Columns, file: Path) -> None:
    """Write columns as Parquet, whole or not at all.

    Raises:
        OSError: If the file cannot be written.
    """
    write_parquet({name: column.tolist() for name, column in columns.items()}, file)


def read_columns(file: Path) -> Columns:
    """Read columns; arrays are read-only.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is damaged.
    """
    columns = {name: _array(values) for name, values in read_parquet(file).items()}
    for column in columns.values():
        column.flags.writeable = False
    return MappingProxyType(columns)


def _array(values: list[Any]) -> NDArray[Any]:
    if any(isinstance(value, str) for value in values):
        return np.array(values, dtype=np.str_)
    return np.array(values, dtype=np.float64)
