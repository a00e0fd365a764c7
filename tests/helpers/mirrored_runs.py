"""A small run folder whose trials end one by one, as a copy of it sees them."""

import datetime
import types
from pathlib import Path
from typing import Any

from records import search_record

from results.run.records import TrialRecord
from results.run.run_folder import RunFolder


def begun_run(folder: Path) -> RunFolder:
    """A run folder before its first trial, with a lock in it."""
    run = RunFolder(folder)
    run.write_search(search_record())
    run.split_file.write_text("{}")
    (run.path / ".lock").touch()
    return run


def end_trial(run: RunFolder, number: int = 0) -> TrialRecord:
    """Write what a complete trial leaves."""
    record = TrialRecord(
        number=number,
        state="complete",
        value=0.5,
        config={},
        fingerprint="f" * 64,
        seed=0,
        has_weights=True,
        finished_at=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    )
    run.write_weights(number, [("0.safetensors", b"w")])
    run.predictions_file(number).write_bytes(b"p")
    run.add_record(record)
    return record


def ended(run: RunFolder) -> Any:
    """The search of a run as callbacks see its end."""
    return types.SimpleNamespace(run=run, record=run.search())


def prefix(run: RunFolder) -> str:
    """Folder of a run at each place."""
    return f"{run.search().task}/{run.search().name}"


def visible(folder: Path) -> dict[str, bytes]:
    """Name below a folder of this machine -> content, of all files that are copied."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
