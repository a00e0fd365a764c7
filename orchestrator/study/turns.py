"""Whose turn it is in a search with a time limit: the next point of the queue, or a proposal before it.

A point that would mostly wait for another worker's pass yields. And heads on what is computed, which take a
tenth of a second, come before each trial that takes long, so that a few slow trials do not take all of a
short search.
"""

from typing import Final

import optuna
from optuna.trial import TrialState

from orchestrator.study.allowance import Allowance
from orchestrator.study.optuna_private import draw_together, started_trial
from orchestrator.study.unrepeated import UnrepeatedSampler
from trainables.config.trial_config import TrialConfig, decode

_FIRST_COMPLETE: Final = 4  # trials before brief ones have a turn; beside fewer there is little to find


class Turns:
    """Starts the next trial of a study: a point of its queue, or what its sampler proposes.

    Without a time limit Optuna's own order holds: the queue, then proposals.

    Args:
        study: The study, which has its sampler.
        allowance: What a trial may cost.
        is_shared: Other searches may put points in the queue.
    """

    def __init__(self, study: optuna.Study, allowance: Allowance, *, is_shared: bool = False) -> None:
        self._study, self._allowance, self._is_shared = study, allowance, is_shared
        self._has_queue = True
        self._knows_enough = False
        self._brief = 0  # proposals that had to be brief since the last trial that was not

    def enqueued(self) -> None:
        """Take note that points were put in the queue."""
        self._has_queue = True

    def has_points(self) -> bool:
        """Tell whether a point of the queue waits."""
        return bool(self._waiting())

    def handed_out(self, config: TrialConfig) -> None:
        """Take note of the trial that was started, before the allowance does."""
        if self._allowance.is_limited and not self._allowance.is_brief(config):
            self._brief = 0

    def next_trial(self, left: int) -> optuna.Trial:
        """Start a trial.

        Args:
            left: Number of trials that are left, this one included; where they are as many as the points of
                the queue, these come.
        """
        if not self._allowance.is_limited:
            return self._study.ask()
        waiting = self._waiting()
        if waiting and len(waiting) < left:
            return self._before(waiting[0].user_attrs.get("settings"))
        if not waiting and self._is_time_for_brief_ones():
            return self._brief_one()
        return self._study.ask()

    def _before(self, settings: dict[str, object] | None) -> optuna.Trial:
        """Start the next point of the queue, or a proposal that comes before it."""
        point = None if settings is None else decode(settings)
        if point is not None and self._allowance.awaits(point):
            return started_trial(self._study, {}, passes_queue=True)
        if point is not None and not self._allowance.is_brief(point) and self._is_time_for_brief_ones():
            return self._brief_one()
        return self._study.ask()

    def _brief_one(self) -> optuna.Trial:
        self._brief += 1
        trial = started_trial(self._study, {}, passes_queue=True)
        with self._allowance.briefly():
            draw_together(trial)
        return trial

    def _waiting(self) -> list[optuna.trial.FrozenTrial]:
        if not self._has_queue:
            return []
        waiting = self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        self._has_queue = bool(waiting) or self._is_shared
        return waiting

    def _is_time_for_brief_ones(self) -> bool:
        sampler = self._study.sampler
        learns = isinstance(sampler, UnrepeatedSampler) and sampler.learns
        if not learns or self._brief >= self._allowance.brief_between:
            return False
        if not self._knows_enough:  # complete trials stay so, and looking through all of them takes time
            complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            self._knows_enough = len(complete) >= _FIRST_COMPLETE
        return self._knows_enough
