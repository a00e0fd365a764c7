"""The private parts of Optuna that we use, here and nowhere else: ids, a sampler's notes, its journal."""

import copy
import sys
from collections.abc import Container, Generator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers._tpe import sampler as tpe
from optuna.samplers._tpe.sampler import _RELATIVE_PARAMS_KEY
from optuna.search_space.group_decomposed import _GroupDecomposedSearchSpace, _SearchSpaceGroup
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import FrozenTrial, TrialState

OPERATION: Final = "op_code"  # key of the operation in a line of the journal
_OF_OUTCOME: Final = {"state", "cause", "recipe"}  # attributes of the user with few different values
ENDS_TRIAL: Final = int(JournalOperation.SET_TRIAL_STATE_VALUES)


class LongJournalFile(JournalFileBackend):
    """Optuna's journal file, which keeps no places of lines that have been read.

    Optuna keeps the place of every line, some nine for each trial, and asks for those after the last one.
    """

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Read the operations from a line on; the first has number 0."""
        places = self._log_number_offset
        self._log_number_offset = {
            number: place for number, place in places.items() if not 0 < number < log_number_from
        }
        yield from super().read_logs(log_number_from)


class LongStudyStorage(JournalStorage):
    """Optuna's storage in a journal, which looks at a trial that has ended once, and keeps little of it.

    Optuna asks for all trials several times at each proposal, and looks each time at every one of them. It
    keeps ranges and names of settings of each trial anew, and what TPE noted while the trial ran: 14 kB a
    trial, of which ranges and names that are equal are kept once, the notes not at all, and the rest packed.
    """

    def __init__(self, backend: BaseJournalBackend) -> None:
        super().__init__(backend)
        self._ended: dict[int, list[FrozenTrial]] = {}  # study -> its first trials, which have all ended
        self._ranges: dict[BaseDistribution, BaseDistribution] = {}
        self._spaces: dict[tuple[tuple[str, int], ...], dict[str, BaseDistribution]] = {}
        self._outcomes: dict[tuple[tuple[str, Any], ...], dict[str, Any]] = {}

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials of a study in some states, in order of their numbers."""
        with self._thread_lock:
            self._sync_with_backend()
            ended, later = self._split(study_id)
            if states is None:
                found = [*ended, *later]
            else:
                asks_for_ended = any(state in states for state in TrialState if state.is_finished())
                asked = [*ended, *later] if asks_for_ended else later
                found = [trial for trial in asked if trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def _split(self, study_id: int) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
        """The first trials of a study, which have ended and change no more, and all later ones."""
        replay = self._replay_result
        numbers, ended = replay._study_id_to_trial_ids[study_id], self._ended.setdefault(study_id, [])
        for number in numbers[len(ended) :]:
            trial = replay._trials[number]
            if not trial.state.is_finished():
                break
            replay._trials[number] = self._packed(trial)
            ended.append(replay._trials[number])
        return ended, [replay._trials[number] for number in numbers[len(ended) :]]

    def _packed(self, trial: FrozenTrial) -> FrozenTrial:
        """Let a trial that has ended share what is equal, and forget what only counted while it ran."""
        trial.params = {sys.intern(name): _shared(value) for name, value in trial.params.items()}
        space = {
            sys.intern(name): self._ranges.setdefault(own, own) for name, own in trial._distributions.items()
        }
        key = tuple((name, id(own)) for name, own in space.items())
        trial._distributions = self._spaces.setdefault(key, space)
        trial.system_attrs = _without_notes(trial)
        if trial.user_attrs.keys() <= _OF_OUTCOME:
            known = tuple(trial.user_attrs.items())
            trial.user_attrs = self._outcomes.setdefault(known, trial.user_attrs)
        return EndedTrial(trial) if [*trial.params] == [*trial.distributions] else trial


class EndedTrial(FrozenTrial):
    """A trial that has ended, in less than half of the memory; a copy of it is an ordinary one.

    A dict of settings takes 40 to 60 bytes for each, and a study of many thousands of trials reads those of
    all but a hundred once. So the values are a tuple here, in the order of the ranges, which trials share.

    Args:
        trial: The trial, whose settings have the order of its ranges.
    """

    __slots__ = (
        "_datetime_start",
        "_distributions",
        "_drawn",
        "_notes",
        "_number",
        "_reported",
        "_trial_id",
        "_user_attrs",
        "_values",
        "datetime_complete",
        "state",
    )

    def __init__(self, trial: FrozenTrial) -> None:
        self._number = trial.number
        self._trial_id = self._number if trial._trial_id == self._number else trial._trial_id
        self.state, self._values = trial.state, trial.values
        self._datetime_start, self.datetime_complete = trial.datetime_start, trial.datetime_complete
        self._distributions, self._drawn = trial.distributions, tuple(trial.params.values())
        self._user_attrs = trial.user_attrs
        self._notes, self._reported = trial.system_attrs or None, trial.intermediate_values or None

    @property
    def _params(self) -> dict[str, Any]:  # type: ignore[override]
        return dict(zip(self._distributions, self._drawn, strict=True))

    @property
    def _system_attrs(self) -> dict[str, Any]:  # type: ignore[override]
        return {} if self._notes is None else self._notes

    @property
    def intermediate_values(self) -> dict[int, float]:  # type: ignore[override]
        """Value of each epoch that was reported."""
        return {} if self._reported is None else self._reported

    def __copy__(self) -> FrozenTrial:
        return FrozenTrial(
            number=self._number,
            state=self.state,
            value=None,
            values=self._values,
            datetime_start=self._datetime_start,
            datetime_complete=self.datetime_complete,
            params=self._params,
            distributions=dict(self._distributions),
            user_attrs=dict(self._user_attrs),
            system_attrs=dict(self._system_attrs),
            intermediate_values=dict(self.intermediate_values),
            trial_id=self._trial_id,
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTrial:
        return copy.deepcopy(copy.copy(self), memo)

    def __reduce__(self) -> Any:
        return copy.copy, (copy.copy(self),)

    def __eq__(self, other: object) -> bool:
        return copy.copy(self) == (copy.copy(other) if isinstance(other, EndedTrial) else other)

    __hash__ = FrozenTrial.__hash__


def _shared(value: Any) -> Any:
    return sys.intern(value) if type(value) is str else value


def _without_notes(trial: FrozenTrial) -> dict[str, Any]:
    """System attributes of a trial without TPE's notes of what it drew, which repeat its settings."""
    return {
        name: own for name, own in trial.system_attrs.items() if not name.startswith(_RELATIVE_PARAMS_KEY)
    }


def open_trial(study: optuna.Study, frozen: FrozenTrial) -> optuna.Trial:
    """Return a stored trial as one that can be reported and told; Optuna has no public way back."""
    return optuna.Trial(study, frozen._trial_id)


def id_of(trial: FrozenTrial) -> int:
    """Return the id of a stored trial, by which its storage knows it."""
    return trial._trial_id


def begun_trial(attributes: Mapping[str, Any] = MappingProxyType({})) -> FrozenTrial:
    """Return a trial that starts now, as a storage makes it: it has no number yet, and no settings.

    Args:
        attributes: Attributes of the user.
    """
    return FrozenTrial(
        number=-1,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=datetime.now(),
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs=dict(attributes),
        system_attrs={},
        intermediate_values={},
        trial_id=-1,
    )


def started_trial(
    study: optuna.Study, attributes: Mapping[str, Any], *, passes_queue: bool = False
) -> optuna.Trial:
    """Start a trial, which has its attributes from its first moment: a waiting one, or one of the sampler.

    `Study.ask` makes the trial first and sets its attributes later, so that a search which is killed between
    the two would leave a trial that is nobody's. For a waiting one that moment cannot be avoided.

    Args:
        study: The study.
        attributes: Attributes of the user.
        passes_queue: The sampler proposes, although trials wait.
    """
    waiting = None if passes_queue else study._pop_waiting_trial_id()
    if waiting is None:
        made = study._storage.create_new_trial(study._study_id, begun_trial(attributes))
        return optuna.Trial(study, made)
    trial = optuna.Trial(study, waiting)
    for name, value in attributes.items():
        trial.set_user_attr(name, value)
    return trial


def draw_together(trial: optuna.Trial) -> Mapping[str, Any]:
    """Draw now what a sampler draws together, which Optuna leaves until the first setting is asked for."""
    drawn: Mapping[str, Any] = trial.relative_params
    return drawn


def set_sampler_attr(study: optuna.Study, trial: FrozenTrial, name: str, value: Any) -> None:
    """Write what a sampler must know about a trial when the search goes on, as Optuna's own samplers do."""
    study._storage.set_trial_system_attr(trial._trial_id, name, value)
    trial.system_attrs[name] = value


def sampler_attr(trial: optuna.Trial, name: str) -> Any:
    """Read what `set_sampler_attr` has written; None for nothing."""
    return trial.storage.get_trial(trial._trial_id).system_attrs.get(name)


def shown_as(
    trial: FrozenTrial,
    *,
    params: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
    values: Sequence[float] | None,
    constraints: Mapping[str, float],
) -> FrozenTrial:
    """Return a trial as a sampler is to see it: with other parameters, and complete if values are given."""
    return FrozenTrial(
        number=trial.number,
        state=trial.state if values is None else TrialState.COMPLETE,
        value=None,
        values=values,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        params=dict(params),
        distributions=dict(distributions),
        user_attrs=trial.user_attrs,
        system_attrs=trial.system_attrs
        | {f"constraints:{name}": value for name, value in constraints.items()},
        intermediate_values=trial.intermediate_values,
        trial_id=trial._trial_id,
    )


def as_read(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial as a sampler reads it fast: unpacked if it has ended, without TPE's notes while it runs.

    TPE decodes its notes of what it drew, which repeat the settings, of every running trial, for each group
    of settings again; with hundreds of workers that is a third of its time. They also hold settings that
    were drawn and then not asked for.
    """
    if isinstance(trial, EndedTrial):
        return copy.copy(trial)
    if trial.state is not TrialState.RUNNING:
        return trial
    if not any(name.startswith(_RELATIVE_PARAMS_KEY) for name in trial.system_attrs):
        return trial
    shown = copy.copy(trial)
    shown.system_attrs = _without_notes(trial)
    return shown


def quick_gp(*, seed: int, startup_trials: int) -> optuna.samplers.GPSampler:
    """Return Optuna's Gaussian process with fewer starts of its search for the next point.

    With some fifty settings, most of them choices, its ten starts take a second of a whole core.
    """
    sampler = optuna.samplers.GPSampler(
        seed=seed, n_startup_trials=startup_trials, warn_independent_sampling=False
    )
    sampler._n_preliminary_samples, sampler._n_local_search = 512, 3
    return sampler


class QuickTPESampler(optuna.samplers.TPESampler):
    """Optuna's estimator over a `StudyView`, with the same proposals in less time.

    For each group of settings Optuna sorts all trials into good and others, and asks what each of them drew;
    and a sampler that is made anew for each trial finds the groups from all trials again. Here trials are
    sorted once for a proposal, their settings are what the view shows, and trials with the same settings are
    looked at once for the groups.

    Args:
        seed: Seed.
        startup_trials: Number of trials that are drawn at random.
    """

    def __init__(self, *, seed: int, startup_trials: int) -> None:
        super().__init__(
            seed=seed,
            n_startup_trials=startup_trials,
            multivariate=True,
            group=True,
            constant_liar=True,
        )
        self._group_decomposed_search_space = _Groups(True)  # with those of pruned trials, as Optuna's own
        tpe._split_trials = _split_once

    def _get_internal_repr(
        self, trials: list[FrozenTrial], search_space: dict[str, BaseDistribution], study: optuna.Study
    ) -> dict[str, np.ndarray]:
        names = search_space.keys()
        drawn = [params for trial in trials if names <= (params := trial.params).keys()]
        return {
            name: np.asarray([own.to_internal_repr(params[name]) for params in drawn])
            for name, own in search_space.items()
        }


class _Groups(_GroupDecomposedSearchSpace):
    """Groups of settings that occur together; to add the same settings again changes none of them."""

    def calculate(self, study: optuna.Study, use_cache: bool = False) -> _SearchSpaceGroup:
        known = set[frozenset[str]]()
        states = (TrialState.COMPLETE, *((TrialState.PRUNED,) if self._include_pruned else ()))
        for trial in study._get_trials(deepcopy=False, states=states, use_cache=use_cache):
            names = frozenset(trial.distributions)
            if names not in known:
                known.add(names)
                self._search_space.add_distributions(trial.distributions)
        return self._search_space


_split_each_time = tpe._split_trials


def _split_once(
    study: Any, trials: list[FrozenTrial], n_below: int
) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
    """Sort trials into good ones and others, once for a view, which shows the same trials to all groups."""
    view = study if isinstance(study, StudyView) else None
    asked = n_below, len(trials)
    if view is not None and view.split is not None and view.split[0] == asked:
        return view.split[1]
    found = _split_each_time(study, trials, n_below)
    if view is not None:
        view.split = asked, found
    return found


class StudyView:
    """A study that shows some of its trials; everything else passes through to the study.

    TPE reads trials through Optuna's private `_get_trials`. Without a method of that name here the call would
    pass through to the study, and every proposal would read all trials again.

    Args:
        study: The study.
        trials: Trials that are shown, in order of their numbers.

    Attributes:
        split: Numbers of good trials and of all that TPE asked for, and what it was told; None before.
    """

    def __init__(self, study: optuna.Study, trials: Sequence[FrozenTrial]) -> None:
        self._study, self._trials = study, list(trials)
        self.split: tuple[tuple[int, int], tuple[list[FrozenTrial], list[FrozenTrial]]] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(self, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        """Return the shown trials in some states."""
        return [trial for trial in self._trials if states is None or trial.state in states]

    def _get_trials(
        self, deepcopy: bool = True, states: Any = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return self.get_trials(deepcopy, states)
