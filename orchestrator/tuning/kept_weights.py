"""The weights of the best trials, which stay on the disk; those of losing trials go."""

import functools
from collections.abc import Sequence
from typing import Final

from orchestrator.study.patience import Patience, disk_reason
from orchestrator.tuning.disk_usage import disk_usage
from orchestrator.tuning.room import trials_of_ensembles
from results.errors import RunError
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.run.test_accesses import read_accesses
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
        """Take a trial in, and remove the weights of the worst one if there are too many.

        Those of built ensembles, and of models that have looked at the test part, stay beside the best.
        """
        ranked = self._objectives.rank([*self._holders, newest])
        self._holders, beyond = ranked[: self._most], ranked[self._most :]
        needed = self._still_needed() if beyond else set[int]()
        for record in beyond:
            if record.number in needed:
                self._holders.append(record)
                continue
            self._patience.done(functools.partial(self._run.discard_weights, record.number), disk_reason)

    def free(self, needed: int) -> int:
        """Remove weights of losing trials, the worst first.

        Those of built ensembles, of models that have looked at the test part, and of the few best stay.

        Args:
            needed: Bytes to free, if there are as many.

        Returns:
            The bytes that were freed.
        """
        freed, still_needed = 0, self._still_needed()
        for record in reversed(self._objectives.rank(self._holders)[FEWEST_KEPT:]):
            if freed >= needed or record.number in still_needed:
                continue
            freed += disk_usage([self._run.weights_folder(record.number)])
            self._run.discard_weights(record.number)
            self._holders.remove(record)
        return freed

    def _still_needed(self) -> set[int]:
        """Trials of models that were built or tested: what was judged can still be exported."""
        try:
            tested = {number for look in read_accesses(self._run) for number in look.trials}
        except RunError:  # a damaged log: `evaluate` and `export` say so
            tested = set[int]()
        return trials_of_ensembles(self._run) | tested
