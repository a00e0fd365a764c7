"""The reference of a search that tries no head on colour and intensity only: it is scored beside the trials.

Settings that the user holds fixed are settings of the trials, and a trial on colour and intensity would break
them. The question whether these explain the labels is asked of such a search all the same.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from orchestrator.preflight.run_data import open_baseline_data
from orchestrator.preflight.run_validation import open_run_validation
from orchestrator.tuning.rebuild import read_points
from results.run.baseline_record import BaselineRecord, read_baseline, write_baseline
from results.run.records import OutOfFold, SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from search_spaces.enqueue import InitialPoint
from search_spaces.recipes.ours import BASELINE
from trainables.common.errors import OutOfTimeError
from trainables.common.notify import Notify
from trainables.common.text import first_line
from trainables.config.baseline import BASELINE_TEXT, is_baseline
from trainables.config.trial_config import TrialConfig, flatten
from trainables.runtime.fill_limit import FillLimit

_SECONDS: Final = 30.0  # before the first trial, and after the time of a search that has a limit
_SHARE_AT_FIRST: Final = 0.1  # of the time of the search, if it has a limit


def keep_reference(
    run: RunFolder,
    search: SearchRecord,
    notify: Notify,
    *,
    has_begun: bool = False,
    is_last: bool = False,
    records: Sequence[TrialRecord] | None = None,
) -> None:
    """Score a closed-form head on colour and intensity only, where no trial of the search is one.

    Whatever keeps it from a score becomes its record: no search ends for want of a reference. A resume tries
    again.

    Args:
        run: Folder of the search, which nobody else writes to.
        search: Request and facts of the search, with the time limit of this session.
        notify: Function called with messages for the user.
        has_begun: The trials have run; before, one that takes long is left for later, and so is one that a
            trial is expected to be. After a search with a time limit it has half a minute.
        is_last: No trial is left to run, so that it is all that this session does: it has no limit.
        records: Records of the trials that have ended; None reads them.
    """
    known = read_baseline(run)
    if search.task_definition.takes_table or (known is not None and (has_begun or known[1] is not None)):
        return
    ended = run.records() if records is None else records
    if any(record.state == "complete" and is_baseline(record.config) for record in ended):
        return
    if not (has_begun or is_last) and _will_be_tried(run, search, notify):
        return
    began, config, error = time.monotonic(), _config(), None
    predictions: OutOfFold | None = None
    try:
        limit = None if is_last else _limit(search, has_begun=has_begun)
        predictions = _predictions(run, search, config, limit=limit)
    except OutOfTimeError:
        return  # it comes after the last trial, or with a resume
    except Exception as found:  # it is worth the end of no search, and its record says why it has no score
        error = first_line(found)
    record = BaselineRecord(
        config=flatten(config.model_dump(mode="json")),
        fingerprint=search.fingerprint,
        seed=search.request.seed,
        wall_seconds=time.monotonic() - began,
        error=error,
        finished_at=datetime.now(UTC),
    )
    try:
        write_baseline(run, record, predictions)
    except OSError as unwritten:
        error = str(unwritten)
    if error is None:
        notify(f"no trial of this search sees {BASELINE_TEXT}; its leaderboard has that as a reference")
    else:
        notify(f"the leaderboard will have no score of {BASELINE_TEXT}: {error}")


def _will_be_tried(run: RunFolder, search: SearchRecord, notify: Notify) -> bool:
    """True if a first point, which has not ended yet, is on colour and intensity only."""
    fixed = search.request.fixed_params
    return any(
        is_baseline(flatten(point.settings) | dict(fixed)) and not run.has_record(number)
        for number, point in enumerate(read_points(run, search, notify))
    )


def _config() -> TrialConfig:
    return InitialPoint("reference", BASELINE).configure({}, epochs=1)


def _limit(search: SearchRecord, *, has_begun: bool) -> FillLimit | None:
    """When it must end: soon before the first trial, and after the last one of a search with a time limit."""
    minutes = search.request.minutes
    if has_begun and minutes is None:
        return None
    seconds = _SECONDS
    if minutes is not None and not has_begun:
        seconds = min(seconds, _SHARE_AT_FIRST * 60.0 * minutes)
    return FillLimit(time.monotonic() + seconds)


def _predictions(
    run: RunFolder, search: SearchRecord, config: TrialConfig, *, limit: FillLimit | None
) -> OutOfFold:
    training_data, runtime = open_baseline_data(run, search)
    validation = open_run_validation(
        search, config, training_data, replace(runtime, fill_limit=limit), isolated=False
    )
    validation.epoch()
    scored, best = training_data.scored, validation.best
    if best is None:
        raise RuntimeError("a closed-form head has predictions after its fit")
    every = OutOfFold(scored.rows, scored.labels, scored.folds, scored.groups, best.probabilities)
    return every.held_out()
