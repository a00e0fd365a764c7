"""A process that imports at its start looks for garbage afterwards, but not among what it imported."""

import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = """
import gc
from trainables.common.imports import import_at_start

try:
    import_at_start(("imported", "absent"))
except ModuleNotFoundError as error:
    print(error.name)
import imported
print(imported.was_enabled, gc.isenabled(), imported.kept not in gc.get_objects())


class Circle:
    def __del__(self):
        print("collected")


circle = Circle()
circle.own = circle
del circle
gc.collect()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "imported.py").write_text("import gc\nwas_enabled = gc.isenabled()\nkept = [[]]\n")
    return tmp_path


def test_only_what_is_imported_later_is_looked_at(folder: Path) -> None:
    root = str(Path(__file__).parents[4])
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{root!r}, {str(folder)!r}]\n{_SCRIPT}"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert ended.stdout.splitlines() == ["absent", "False True True", "collected"]
