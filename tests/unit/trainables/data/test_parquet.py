"""Columns as Parquet: what is written comes back, and pandas stays out."""

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from trainables.data.parquet import read_parquet, write_parquet

COLUMNS = {
    "name": ["a", "", "ü b", None, "e", "f", "g", "h", "i"],
    "is_test": [True, False, None, True, False, True, False, True, True],
    "label": list(range(-4, 5)),
    "age": [None, 61, None, 3, 2, 1, 0, 9, 8],
    "mm": [0.1, None, 1e300, 2, 3, 4, 5, 6, 7],
    "nothing": [None] * 9,
}


def test_columns_come_back_as_they_were(tmp_path: Path) -> None:
    write_parquet(COLUMNS, tmp_path / "a.parquet")
    assert read_parquet(tmp_path / "a.parquet") == COLUMNS
    kinds = {field.name: str(field.type) for field in pq.read_schema(tmp_path / "a.parquet")}
    assert list(kinds.values()) == ["string", "bool", "int64", "int64", "double", "string"]


def test_a_file_without_rows_and_one_that_is_damaged(tmp_path: Path) -> None:
    write_parquet({"name": []}, tmp_path / "a.parquet")
    assert read_parquet(tmp_path / "a.parquet") == {"name": []}
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(ValueError, match=r"[Pp]arquet"):
        read_parquet(tmp_path / "a.parquet")


def test_pandas_is_not_imported_for_it(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from trainables.data.parquet import read_parquet, write_parquet\n"
        f"file = Path({str(tmp_path / 'a.parquet')!r}); write_parquet({{'a': ['x', None]}}, file)\n"
        "assert read_parquet(file) == {'a': ['x', None]}; assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
