"""The end of a search before its budget, since its trials have left little to gain."""

from collections.abc import Callable, Sequence

from orchestrator.study.terminator import Terminator, reason_against
from orchestrator.study.trial_spec import StoredStudy, Study
from results.run.records import SearchRecord, Termination, TrialRecord
from results.scores.ranking import objectives_of


class EarlyEnd:
    """Asks the terminator of a search, if it has one, after each of its trials.

    Args:
        search: Request and facts of the search.
        ended: Trials that ended before.
        study: Study that proposes the trials, and may know of others that ended elsewhere.
        say: Function called with messages for the user.

    Attributes:
        termination: Why no further trial is handed out although there are more; None without a reason.
    """

    def __init__(
        self, search: SearchRecord, ended: Sequence[TrialRecord], study: Study, say: Callable[[str], None]
    ) -> None:
        self.termination: Termination | None = None
        self._study, self._say = study, say
        self._terminator = Terminator(objectives_of(search), ended) if search.request.terminator else None
        if self._terminator is not None and (reason := reason_against(search)):
            self._terminator = None
            say(f"--terminator does nothing for this search: {reason}")

    @property
    def is_all(self) -> bool:
        """True once the search is ended, and no trial that an interrupt left running is to be run again."""
        resumes = isinstance(self._study, StoredStudy) and self._study.has_interrupted()
        return self.termination is not None and not resumes

    def add(self, record: TrialRecord) -> None:
        """Take note of a trial that has ended."""
        if self._terminator is not None:
            self._terminator.add(record)

    def decide(self, recipes: Sequence[str]) -> None:
        """End the search if little is left to gain, unless a point to try first waits.

        Args:
            recipes: Recipes of the trial that ended last, and of all that run or are to run again.
        """
        if self._terminator is None or self.termination is not None:
            return
        if isinstance(self._study, StoredStudy):
            for other in self._study.ended_elsewhere():
                self._terminator.add(other)
            if self._study.has_points():
                return
        self.termination = self._terminator.verdict(recipes)
        if self.termination is not None:
            trials, reason = self.termination.trials, self.termination.message
            self._say(f"no further trial starts after {trials}: {reason}")
