"""Two minutes of short trials with real Ray: memory, open files and processes do not grow."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.soak import Look

pytestmark = [pytest.mark.machines, pytest.mark.timeout(600)]

MINUTES = 2.5  # with the start of Ray and of its workers, which the looks leave out
SETTLED_TRIALS = 50  # by then each worker has trained, and libraries have filled their caches
FEWEST_TRIALS = 100  # between the first look that counts and the last one
MORE_MIB = {
    "driver_mib": 24.0,
    "workers_mib": 24.0,
}  # 20 MiB of an hour with 30 times as many trials, and noise
MORE_HANDLES = {"driver_handles": 4, "workers_handles": 8}  # what a worker opens with its first trials


def test_short_trials_that_follow_each_other_leave_no_files_processes_or_memory(tmp_path: Path) -> None:
    found = tmp_path / "soak.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.soak"),
            *("--minutes", str(MINUTES), "--every", "4", "--json", str(found)),
        ],
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    looks = [Look(**one) for one in json.loads(found.read_text())] if found.exists() else []
    said = done.stdout + done.stderr
    settled = [one for one in looks if one.trials >= SETTLED_TRIALS]
    assert len(settled) >= 4, said
    first, last = settled[0], settled[-1]
    assert last.trials - first.trials >= FEWEST_TRIALS, said
    assert (first.driver_mib > 100, first.workers == 2, first.driver_handles > 10) == (True, True, True), said
    assert {one.processes for one in settled} == {first.processes}, said
    later = settled[len(settled) // 2 :]
    for name, more in MORE_HANDLES.items():  # the fewest: some files are open for a moment
        assert min(getattr(one, name) for one in later) <= getattr(first, name) + more, said
    for name, more_mib in MORE_MIB.items():
        assert getattr(last, name) <= getattr(first, name) + more_mib, said
    assert done.returncode == 0, said
