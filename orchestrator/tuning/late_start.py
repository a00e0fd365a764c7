"""A trial whose features were not computed in time: it is scored on those that are there.

Without that, a search whose first passes take longer than its time limit would end with nothing.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from orchestrator.study.trial_spec import TIME_WAS_UP
from results.run.run_store import RunStore
from trainables.common.errors import OutOfTimeError
from trainables.config.smaller_forms import smaller_forms
from trainables.config.trial_config import TrialConfig
from trainables.runtime.fill_limit import FillLimit
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.validation.factory import Validation

# After the deadline, for the only trial of a search to get a score; the manager ends it a little later.
LAST_SECONDS: Final = 45.0
_LOOK_SECONDS: Final = 5.0  # after which the speed of a pass tells whether it ends in time

# Opens a configuration with a runtime.
Begin = Callable[[TrialConfig, TrialRuntime], Validation]


@dataclass(frozen=True, slots=True)
class LateStart:
    """A trial that begins with less than it asked for.

    Attributes:
        config: What is trained in place of the trial's configuration.
        validation: Its cross-validation.
        remark: What happened, for the record.
    """

    config: TrialConfig
    validation: Validation
    remark: str


def fill_limit(run: RunStore, deadline: float | None) -> FillLimit | None:
    """Return the time limit of the passes of a trial; None for a search without one.

    Args:
        run: Run of the search.
        deadline: Reading of `time.monotonic()` at which the search is out of time; None for no limit.
    """
    if deadline is None:
        return None
    return FillLimit(deadline, LAST_SECONDS, functools.partial(_has_no_score, run))


def start_late(
    config: TrialConfig, runtime: TrialRuntime, begin: Begin, *, run: RunStore, error: OutOfTimeError
) -> LateStart:
    """Begin a trial with what is there of its features, if the search has no score yet.

    At first nothing is computed: a trained head makes do with plain images, a closed-form head with the taps
    of one net. If that is not there either, one such form is computed, as far as its speed lets it end soon.

    Args:
        config: Configuration of the trial.
        runtime: Its runtime, with its time limit.
        begin: Opens a configuration.
        run: Run of the search.
        error: Why the features are not there.

    Raises:
        OutOfTimeError: If the search has a score, or nothing can be had in time.
    """
    limit = runtime.fill_limit
    if limit is None or run.has_score():
        raise error
    forms = [*smaller_forms(config)] or [config]
    now = limit.clock()
    nothing = FillLimit(at=now, is_needed=limit.is_needed, clock=limit.clock)
    soon = replace(limit, at=now + _LOOK_SECONDS, grace_seconds=limit.at + LAST_SECONDS - now - _LOOK_SECONDS)
    for own in (nothing, soon):
        for form in forms:
            if own is soon and _is_hopeless(error, limit) and form.model.backbone == config.model.backbone:
                continue
            try:
                validation = begin(form, replace(runtime, fill_limit=own))
            except OutOfTimeError:
                continue
            return LateStart(form, validation, _remark(config, form))
    raise error


def _is_hopeless(error: OutOfTimeError, limit: FillLimit) -> bool:
    """True if the speed of the pass says that no view is whole in time."""
    seconds = error.view_seconds
    return seconds is not None and limit.clock() + seconds > limit.at + LAST_SECONDS


def _has_no_score(run: RunStore) -> bool:
    return not run.has_score()


def _remark(config: TrialConfig, form: TrialConfig) -> str:
    if form == config:
        return f"{TIME_WAS_UP} it began; no trial has a score, so it ran all the same"
    if config.classical.name != "none":
        return f"{TIME_WAS_UP} all features were there: fitted on those of {form.model.backbone} alone"
    return f"{TIME_WAS_UP} all views were there: trained on plain images, without augmentation"
