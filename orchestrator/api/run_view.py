"""What a run folder says about its search: record, trials and how it ended."""

from pathlib import Path

from orchestrator.reporting.time_left import busy_seconds
from orchestrator.reporting.worker_time import TimeShares
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.run.search_request import SearchRequest
from results.scores.ranking import objectives_of


def silent(sentence: str) -> None:
    """Say nothing: what is told what goes on where nobody wants to know it."""


class RunView:
    """The records of one search; all are read from its run folder, so that they are there tomorrow, too.

    Args:
        run: Run folder of the search.
        is_interrupted: The user, a signal or `StopSearch` ended the search before its budget was used; None
            goes by what its record says of its end, or else by the number and the time of its trials.
        notes: Sentences that the search said while it ran.
        time_shares: What the time of the workers went into, in the session that has just ended.
        unfinished: Verbs that finish what the search asked for besides its trials, where the user ended that.
    """

    def __init__(
        self,
        run: RunFolder,
        *,
        is_interrupted: bool | None = None,
        notes: tuple[str, ...] = (),
        time_shares: TimeShares | None = None,
        unfinished: tuple[str, ...] = (),
    ) -> None:
        run.search()  # an error about the folder is said at once
        self._run, self._is_interrupted, self._notes = run, is_interrupted, notes
        self._time_shares, self._unfinished = time_shares or TimeShares(), unfinished

    @property
    def run(self) -> RunFolder:
        """Run folder of the search."""
        return self._run

    @property
    def path(self) -> Path:
        """Path of the run folder."""
        return self._run.path

    @property
    def record(self) -> SearchRecord:
        """Request and facts of the search."""
        return self._run.search()

    @property
    def request(self) -> SearchRequest:
        """Options of the search."""
        return self.record.request

    @property
    def records(self) -> list[TrialRecord]:
        """Records of all trials that have ended, in order of their numbers."""
        return self._run.records()

    @property
    def complete(self) -> list[TrialRecord]:
        """Records of the trials that ran to their end."""
        return [record for record in self.records if record.state == "complete"]

    @property
    def best(self) -> TrialRecord | None:
        """Record of the complete trial that ranks first by what the search optimises; None without one."""
        return objectives_of(self.record).best(self.complete)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that the search said while it ran: on data, machine and what was left out."""
        return self._notes

    @property
    def time_shares(self) -> TimeShares:
        """Seconds of all workers of the session that has just ended; 0 for a run that was opened."""
        return self._time_shares

    @property
    def unfinished(self) -> tuple[str, ...]:
        """`repeat` and `nest`, where the search asked for them and the user ended them in this session."""
        return self._unfinished

    @property
    def is_interrupted(self) -> bool:
        """True if the search ended before its budget was used, so that `resume_search` may go on with it."""
        if self._is_interrupted is not None:
            return self._is_interrupted
        if self.record.terminated is not None or self.record.ended is not None:
            return False
        records, minutes = self.records, self.request.minutes
        is_in_time = minutes is None or busy_seconds(records) < 60.0 * minutes
        return len(records) < self.request.most_trials and is_in_time
