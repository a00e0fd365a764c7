"""Columns of plain values as Parquet files, without pandas: pyarrow imports it to look at lists.

That takes longer than to prepare a thousand patches, and nothing here needs it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainables.common.files import write_atomically

if TYPE_CHECKING:
    import pyarrow as pa


def write_parquet(columns: Mapping[str, Sequence[Any]], file: Path) -> None:
    """Write columns, whole or not at all.

    Args:
        columns: Column -> texts, numbers or truth values, all of one type, None where unknown; a column
            without a value is text. A mixture of whole and other numbers becomes the latter.
        file: The file.

    Raises:
        OSError: If it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = [_array(values) for values in columns.values()]
    out = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(arrays, names=list(columns)), out)
    write_atomically(file, out.getvalue().to_pybytes())


def read_parquet(file: Path) -> dict[str, list[Any]]:
    """Read columns: column -> values, None where unknown.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is damaged.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as opened:
        found: dict[str, list[Any]] = opened.read().to_pydict()
    return found


def _array(values: Sequence[Any]) -> "pa.Array":
    import pyarrow as pa

    known = [value is not None for value in values]
    filled = [value for value in values if value is not None]
    if any(isinstance(value, str) for value in filled) or not filled:
        texts = [b"" if value is None else value.encode("utf-8") for value in values]
        ends = np.zeros(len(values) + 1, "<i4")
        np.cumsum([len(text) for text in texts], out=ends[1:])
        return _of_buffers(pa.string(), known, ends.tobytes(), b"".join(texts))
    if all(isinstance(value, bool) for value in filled):
        return _of_buffers(pa.bool_(), known, _bits([bool(value) for value in values]))
    is_whole = all(isinstance(value, int) for value in filled)
    numbers = np.array([0 if value is None else value for value in values], "<i8" if is_whole else "<f8")
    return _of_buffers(pa.int64() if is_whole else pa.float64(), known, numbers.tobytes())


def _of_buffers(kind: "pa.DataType", known: Sequence[bool], *buffers: bytes) -> "pa.Array":
    import pyarrow as pa

    valid = None if all(known) else pa.py_buffer(_bits(known))
    return pa.Array.from_buffers(kind, len(known), [valid, *map(pa.py_buffer, buffers)])


def _bits(flags: Sequence[bool]) -> bytes:
    return np.packbits(np.array(flags, dtype=bool), bitorder="little").tobytes()
