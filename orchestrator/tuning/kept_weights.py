"""The weights of the best trials, which stay on the disk; those of losing trials go."""

import functools
from collections.abc import Sequence
from typing import Final

from orchestrator.study.patience import Patience, disk_reason
from orchestrator.tuning.disk_usage import disk_usage
from orchestrator.tuning.room import trials_of_ensembles
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.scores.ranking import objectives_of

FEWEST_KEPT: Final = 3  # best trials whose weights stay, however small the room: the choice needs runners-up


class KeptWeights:
    """The trials of a search that have weights.

    Args:
        run: Run folder of the search.
        search: Request and facts of the search.
        ended: Records of trials that have ended before.
        patience: How long a full disk is waited for.
    """

    def __init__(
        self, run: RunFolder, search: SearchRecord, ended: Sequence[TrialRecord], patience: Patience
    ) -> None:
        self._run, self._most, self._objectives = run, search.request.keep_weights, objectives_of(search)
        self._holders = [record for record in ended if record.has_weights]
        self._patience = patience

    def add(self, newest: TrialRecord) -> None:
        """Take a trial in, and remove the weights of the worst one if there are too many."""
        self._holders = self._objectives.rank([*self._holders, newest])
        while len(self._holders) > self._most:
            discard = functools.partial(self._run.discard_weights, self._holders.pop().number)
            self._patience.done(discard, disk_reason)

    def free(self, needed: int) -> int:
        """Remove weights of losing trials, the worst first; those of ensembles and of the few best stay.

        Args:
            needed: Bytes to free, if there are as many.

        Returns:
            The bytes that were freed.
        """
        freed, of_ensembles = 0, trials_of_ensembles(self._run)
        for record in reversed(self._objectives.rank(self._holders)[FEWEST_KEPT:]):
            if freed >= needed or record.number in of_ensembles:
                continue
            freed += disk_usage([self._run.weights_folder(record.number)])
            self._run.discard_weights(record.number)
            self._holders.remove(record)
        return freed
