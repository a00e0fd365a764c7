"""The finalists of a search, trained again with other seeds and folds, which did not choose them.

A search ranks its trials on one cut into folds with one seed, and its winner owes a part of its score to
both. Each repeat is a run of its own in the run folder of the search, with its finalists as the only trials;
the features of all images lie in the store already.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from cluster.background import Connector
from orchestrator.nesting.within import record_within
from orchestrator.preflight.gpus_and_slots import slots_for
from orchestrator.tuning.reopen import DEFAULT_OPTIONS, RETRIED, ResumeOptions, checked_space, reopen_search
from orchestrator.tuning.session import Begin, run_each
from orchestrator.tuning.setup import Prepared, write_run
from orchestrator.tuning.surroundings import Surroundings
from results.errors import RunError
from results.run.damage import damaged_trials
from results.run.records import RepeatPlace, SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.scores.ranking import objectives_of
from results.scores.repeats import RepeatedTrial, Repeats, readable_repeats
from search_spaces.enqueue import InitialPoint
from search_spaces.registry import Space
from trainables.common.errors import ConfigError
from trainables.common.files import set_aside
from trainables.common.text import count_text, trials_text
from trainables.data.patches import select_rows
from trainables.data.repeated_splits import repeated_split
from trainables.data.split_record import Split, read_split
from trainables.data.units import with_units

DEFAULT_REPEATS: Final = 3
DEFAULT_FINALISTS: Final = 3


@dataclass(frozen=True, slots=True)
class _Repeat:
    """One repeat of the finalists.

    Attributes:
        run: Run folder of the search.
        record: Request and facts of the repeat.
        split: Its split.
        points: The finalists.
        space: Search space.
        options: What the user has said of code that is run, for one that goes on.
    """

    run: RunFolder
    record: SearchRecord
    split: Split
    points: tuple[InitialPoint, ...]
    space: Space
    options: ResumeOptions = DEFAULT_OPTIONS

    @property
    def is_there(self) -> bool:
        """True if it was begun before."""
        return self.run.search_file.is_file()

    @property
    def has_ended(self) -> bool:
        """True if nothing is left to run: a finalist that was lost to its machine is tried again."""
        return self.is_there and _has_ended(self.run, len(self.points))

    def begin(self, surroundings: Surroundings) -> Begin:
        """Return how it begins: anew, or where it was interrupted."""
        if not self.is_there:
            return Begin(self._prepare)

        def go_on(connect: Connector) -> Prepared:
            return reopen_search(self.run, connect, surroundings.notify, self.options)

        return Begin(go_on, self.run)

    def _prepare(self, connect: Connector) -> Prepared:
        study = write_run(self.run, self.record, self.split, self.points, self.space)
        slots = slots_for(self.record.request, self.record.gpus_per_trial, connect())
        return Prepared(self.run, self.record, study, slots)


@dataclass(frozen=True, slots=True)
class _Asked:
    """How many repeats of how many finalists are asked for."""

    repeats: int
    finalists: int


def repeat_finalists(
    run: RunFolder,
    surroundings: Surroundings,
    *,
    repeats: int | None = None,
    finalists: int | None = None,
    options: ResumeOptions = DEFAULT_OPTIONS,
    replaces: bool = False,
) -> Repeats | None:
    """Train the best trials of a search again, with other seeds and folds of the same patients.

    What is finished is kept: an interrupted call goes on where it was, and one whose result is there for the
    same finalists returns it. Finalists that were lost to their machine are tried again.

    Args:
        run: Run folder of the search.
        surroundings: What the repeats run on, and who follows them.
        repeats: Number of repeats, at least 1; None takes what an earlier call asked for whose repeats are
            there, then what the search asked for, then 3.
        finalists: Number of best trials, at least 1; None takes that of an earlier call likewise, then 3.
        options: What the user has said of code that is run: space, sampler and pruner.
        replaces: Repeats of finalists that are none any more are set aside, and not refused.

    Returns:
        Their scores, which are in the run folder, too; None where the user ended it.

    Raises:
        ConfigError: If there is to be no repeat or no finalist.
        RunError: If the search has no result, is itself within another one, builds on a trial that has seen
            patients of every fold, or has repeats of other finalists.
        OrchestrateError: If the run, its data, weights or space are not as they must be.
    """
    search = run.search()
    asked = _asked(run, search, repeats, finalists)
    chosen = _finalists(run, search, asked.finalists)
    numbers = tuple(record.number for record in chosen)
    known = readable_repeats(run)
    is_asked = known is not None and (known.repeats, known.numbers) == (asked.repeats, numbers)
    if known is not None and is_asked and _is_final(run, known):
        return known
    with run.exclusive():
        digests = _digests(run, numbers)
        ends = list(_repeats(run, search, chosen, asked, surroundings, options))
        faults = [fault for one in ends if (fault := _fault(one, numbers, digests)) is not None]
        if faults and not replaces:
            raise RunError(f"{faults[0]}; move {run.repeat_run(1).path.parent} away to repeat these")
        if faults:
            surroundings.notify(f"{faults[0]}; {_set_outdated_aside(run)}")
        if not _ran(ends, surroundings, search):
            return None
        result = Repeats(
            metric=search.metric,
            repeats=asked.repeats,
            trials=tuple(_scored(run, record, place, ends) for place, record in enumerate(chosen)),
            split=search.split_name,
            finished_at=datetime.now(UTC),
        )
        if known is None and run.repeats_file.exists():
            set_aside(run.repeats_file, "damaged")
        run.write_json(run.repeats_file, result.model_dump(mode="json"))
    return result


def _asked(run: RunFolder, search: SearchRecord, repeats: int | None, finalists: int | None) -> _Asked:
    """What the user asks for now; then what the repeats that are there were asked for, and the search."""
    begun = _begun(run)
    before = begun[-1].search().repeat if begun and None in (repeats, finalists) else None
    usual = search.request.repeats or DEFAULT_REPEATS
    asked = _Asked(usual, DEFAULT_FINALISTS)
    if before is not None:  # a run of an earlier version says neither
        asked = _Asked(before.repeats or usual, before.finalists or len(before.trials))
    if repeats is not None:
        asked = replace(asked, repeats=repeats)
    if finalists is not None:
        asked = replace(asked, finalists=finalists)
    for given, what in ((asked.repeats, "repeat"), (asked.finalists, "finalist")):
        if given < 1:
            raise ConfigError(f"repeats need at least 1 {what}, found {given}")
    return asked


def _begun(run: RunFolder) -> list[RunFolder]:
    """Run folders of the repeats that have begun, in order of their numbers."""
    found: list[RunFolder] = []
    while (one := run.repeat_run(len(found) + 1)).search_file.is_file():
        found.append(one)
    return found


def _finalists(run: RunFolder, search: SearchRecord, number: int) -> list[TrialRecord]:
    if search.outer is not None or search.repeat is not None:
        raise RunError(f"{run.path} lies within another search; name that one")
    if search.start_from is not None or search.type_from is not None:
        raise RunError(
            f"{run.path} builds on a trial of another search, which has seen patients of every fold but its "
            "own: with other folds it would have seen those that are scored"
        )
    complete = [record for record in run.records() if record.state == "complete"]
    if not complete:
        raise RunError(f"no trial of {run.path} was completed; go on with: {run.resume_command}")
    return objectives_of(search).rank(complete)[:number]


def _repeats(
    run: RunFolder,
    search: SearchRecord,
    chosen: list[TrialRecord],
    asked: _Asked,
    surroundings: Surroundings,
    options: ResumeOptions,
) -> Iterator[_Repeat]:
    space = checked_space(run, search, surroundings.notify, options)
    task, split = search.task_definition, read_split(run.split_file)
    patch_set = run.patch_set()
    rows = with_units(patch_set, select_rows(patch_set, task), search.request.unit, task)
    points = tuple(InitialPoint(f"trial {record.number}", record.config) for record in chosen)
    numbers = tuple(record.number for record in chosen)
    place = RepeatPlace(
        run=str(run.path.resolve()),
        repeat=1,
        trials=numbers,
        digests=_digests(run, numbers),
        repeats=asked.repeats,
        finalists=asked.finalists,
    )
    for repeat in range(1, asked.repeats + 1):
        cut = repeated_split(rows, split, task, repeat=repeat)
        record = record_within(
            search,
            f"repeats/{repeat}",
            request={
                "trials": len(points),
                "seed": search.request.seed + repeat,
                "split_seed": cut.seed,
                "minutes": None,
                "terminator": False,
                "comparisons": (),
                "keep_weights": 1,
            },
            recipes=tuple(point.recipe for point in points),
            split_digest=cut.digest,
            repeat=place.model_copy(update={"repeat": repeat}),
        )
        yield _Repeat(run.repeat_run(repeat), record, cut, points, space, options.for_inner)


def _digests(run: RunFolder, numbers: tuple[int, ...]) -> tuple[str, ...]:
    """Digests of the predictions of trials, by which they are known; none where one cannot be read."""
    found = [digest for number in numbers if (digest := run.predictions_digest(number)) is not None]
    return tuple(found) if len(found) == len(numbers) else ()


def _fault(one: _Repeat, trials: tuple[int, ...], digests: tuple[str, ...]) -> str | None:
    """Say what lies in the place of a repeat that is of other finalists; None if nothing does."""
    if not one.is_there:
        return None
    place = one.run.search().repeat
    if place is None or place.trials != trials:
        found = "another search" if place is None else trials_text(place.trials)
        return f"{one.run.path} holds {found}, and the finalists are {', '.join(map(str, trials))} now"
    if place.digests and digests and place.digests != digests:
        finalists = ", ".join(map(str, trials))
        return f"{one.run.path} holds the finalists {finalists} before one of them was run again"
    return None


def _set_outdated_aside(run: RunFolder) -> str:
    """Set the repeats of finalists that are none any more aside; returns a phrase that says where they are.

    Raises:
        RunError: If another process runs one of them.
    """
    for one in _begun(run):
        with one.exclusive():
            pass
    if run.repeats_file.exists():
        set_aside(run.repeats_file, "outdated")
    kept = set_aside(run.repeat_run(1).path.parent, "outdated")
    return f"what is there is kept as {kept.name}, and these are repeated"


def _ran(ends: list[_Repeat], surroundings: Surroundings, search: SearchRecord) -> bool:
    """Run the repeats that are not finished; False if interrupted."""
    waiting = [one for one in ends if not one.has_ended]
    if not waiting:
        return True

    def begun() -> Iterator[Begin]:
        for one in waiting:
            place, trials = one.record.repeat, count_text(len(one.points), "finalist")
            surroundings.notify(
                f"repeat {place.repeat if place else 0} of {len(ends)}: {trials} with seed "
                f"{one.record.request.seed} and folds of their own"
            )
            yield one.begin(surroundings)

    outcomes = run_each(begun(), surroundings, request=search.request)
    with closing(outcomes):
        return not any(outcome.is_interrupted for outcome in outcomes)


def _has_ended(repeat: RunFolder, trials: int) -> bool:
    """Tell whether nothing is left to run: what is damaged, or was lost to its machine, is run again."""
    damaged = damaged_trials(repeat)
    ended = [own for own in repeat.records() if own.state == "complete" or own.cause not in RETRIED]
    return sum(own.number not in damaged for own in ended) >= trials


def _is_final(run: RunFolder, known: Repeats) -> bool:
    """Tell whether scores are those of the repeats as they are, and no finalist is to be tried again."""
    for place, repeat in enumerate(map(run.repeat_run, range(1, known.repeats + 1))):
        values = [one.values[place] for one in known.trials]
        if not repeat.search_file.is_file():
            continue
        now = [_value(repeat, trial) for trial in range(len(values))]
        if not _has_ended(repeat, len(values)) or values != now:
            return False
    return True


def _value(repeat: RunFolder, trial: int) -> float | None:
    found = repeat.record(trial)
    return found.value if found is not None and found.state == "complete" else None


def _scored(run: RunFolder, record: TrialRecord, place: int, ends: list[_Repeat]) -> RepeatedTrial:
    """Scores of a finalist, which has this place, from 0, among them."""
    return RepeatedTrial(
        trial=record.number,
        searched=record.scored_value,
        values=tuple(_value(one.run, place) for one in ends),
        predictions_digest=run.predictions_digest(record.number),
    )
