"""Searches of several machines on a real NFS, whose server is restarted while they work."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import shared_studies
from nfs import MOUNT, Guest, Nfs, nfs
from optuna.trial import TrialState
from shared_studies import numbers_in

from orchestrator.study.study import open_study

pytestmark = [pytest.mark.machines, pytest.mark.timeout(280)]

TRIALS = 30
HOLDS = """
import sys, time
from pathlib import Path
from results.errors import RunError
from results.run.run_folder import RunFolder
try:
    with RunFolder(Path(sys.argv[1])).exclusive(lambda message: print(message, flush=True)):
        print("holds it", flush=True)
        time.sleep(float(sys.argv[2]))
except RunError as error:
    print(error, flush=True)
"""


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Nfs]:
    with nfs(tmp_path) as found:
        yield found


def wait_for(guest: Guest, words: str) -> None:
    end = time.monotonic() + 100.0
    while words not in guest.said():
        assert guest.process.poll() is None, guest.said() + guest.console()
        assert time.monotonic() < end, guest.said() + guest.console()
        time.sleep(0.1)


@pytest.mark.parametrize("lock", ["symlink", "open"])
def test_two_machines_hand_out_each_number_once_while_the_server_is_restarted(
    machines: Nfs, lock: str
) -> None:
    server = machines.serve()
    typed = (shared_studies.__file__, f"journal://{MOUNT}/study.log?lock={lock}")
    drivers = [machines.start(name, *typed, name, str(TRIALS)) for name in ("one", "two")]
    for driver in drivers:
        wait_for(driver, "\n")
    assert all(driver.process.poll() is None for driver in drivers)
    server.switch_off()
    time.sleep(2.0)
    machines.serve()
    numbers = [numbers_in(driver.result()) for driver in drivers]
    assert all(numbers)
    assert Counter(numbers[0] + numbers[1]) == Counter(range(TRIALS))
    reader = machines.start("reader", "-c", "")
    reader.result()
    assert {path.name for path in reader.seen.iterdir()} == {"lost+found", "study.log"}  # no lock is left
    study = open_study(storage=None, journal=reader.seen / "study.log", name="t/both", is_new=False)
    # Two that ask for the last one at the same time are given two, of which the later one is discarded.
    counted = [own.state for own in study.get_trials() if not own.user_attrs.get("discarded")]
    assert counted == [TrialState.COMPLETE] * TRIALS


def test_one_machine_holds_a_run_folder_until_it_is_lost(machines: Nfs) -> None:
    machines.serve()
    holder = machines.start("holder", "-c", HOLDS, str(MOUNT), "1000")
    wait_for(holder, "holds it")
    said = machines.start("second", "-c", HOLDS, str(MOUNT), "0").result()
    assert "is being searched by another process (process " in said
    assert " on holder)" in said
    holder.switch_off()
    time.sleep(15.0)  # the server takes its lock away when it has heard nothing of it for ten seconds
    said = machines.start("third", "-c", HOLDS, str(MOUNT), "0").result()
    assert "on holder had this search; looking for 20 s whether it still runs" in said
    assert said.splitlines()[-1] == "holds it"
