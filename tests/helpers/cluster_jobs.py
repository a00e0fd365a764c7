"""Jobs of Ray as its job server lists them, and a process that holds a run as a search does."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from results.run.run_folder import RunFolder

JOBS: list[dict[str, Any]] = [
    {
        "id": "search-second-2",
        "status": "RUNNING",
        "exit_code": None,
        "message": "",
        "started": 2.0,
        "metadata": {"name": "second", "task": "idc", "verb": "search"},
    },
    {
        "id": "search-first-1",
        "status": "FAILED",
        "exit_code": 2,
        "message": "no data at x",
        "started": 1.0,
        "metadata": {"name": "first", "task": "idc", "verb": "search"},
    },
]


@contextmanager
def held(run: RunFolder, *words: str) -> Iterator[int]:
    """A process that holds a run as a search does, and ends at SIGTERM; its command line ends with words."""
    code = (
        "import sys; from pathlib import Path; from results.run.run_folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).exclusive():\n    print('held', flush=True); sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(run.path), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder.pid
    finally:
        holder.kill()
        holder.communicate()


def job(task: str, name: str = "first", state: str = "RUNNING", verb: str = "search") -> dict[str, Any]:
    about = {"name": name, "task": task, "verb": verb}
    return {**JOBS[0], "id": f"{verb}-{task}-{name}", "status": state, "metadata": about}
