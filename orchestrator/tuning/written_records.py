"""Records that workers have written."""

import time
from typing import Final

from results.errors import DamagedFileError
from results.run.records import TrialRecord
from results.run.run_folder import RunFolder
from trainables.common.files import set_aside

_RECORD_SECONDS: Final = 2.0  # a record on a network file system may be visible a little later


def awaited_record(run: RunFolder, number: int) -> TrialRecord | None:
    """Return the record that a worker has just written; None if there is none, or it is damaged.

    Args:
        run: Run folder.
        number: Trial number.
    """
    end = time.monotonic() + _RECORD_SECONDS
    while True:
        try:
            record = run.record(number)
        except DamagedFileError:
            set_aside(run.record_file(number), "damaged")
            return None
        if record is not None or not run.trial(number).exists() or time.monotonic() >= end:
            return record
        time.sleep(0.1)
